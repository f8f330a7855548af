//! The files of a layout; all of it blocks.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, ImageManifest, MediaType};
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::super::RegistryError;
use super::super::oci::Document;

/// Largest blob that may be a manifest, bytes: registries take no larger ones.
const MAX_MANIFEST: u64 = 4 << 20;

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Files(PathBuf);

/// The folder, held by nobody else: blobs are added and deleted, and the list is changed, by one at a time.
pub(super) struct Locked<'a> {
    files: &'a Files,
    /// Held until this is dropped.
    _lock: File,
}

impl Files {
    pub(super) fn open(root: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(root.join("blobs/sha256"))?;
        std::fs::write(root.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
        let files = Self(root);
        let locked = files.lock()?;
        if !files.index().exists() {
            locked.set_list(&files.unlisted()?)?;
        }
        drop(locked);
        Ok(files)
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    pub(super) fn lock(&self) -> std::io::Result<Locked<'_>> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.0.join("lock"))?;
        lock.lock()?;
        Ok(Locked { files: self, _lock: lock })
    }

    fn index(&self) -> PathBuf {
        self.0.join("index.json")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest)
    }

    pub(super) fn open_blob(&self, reference: &str, digest: &str) -> Result<File, RegistryError> {
        match File::open(self.blob(digest)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(RegistryError::NotFound(reference.to_owned())),
            other => Ok(other?),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, reference: &str, digest: &str) -> Result<T, RegistryError> {
        let mut file = self.open_blob(reference, digest)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| RegistryError::Damaged { reference: reference.to_owned(), detail: e.to_string() })
    }

    /// The images of a version that kept no list.
    fn unlisted(&self) -> std::io::Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.0.join("blobs/sha256"))? {
            let entry = entry?;
            if entry.metadata()?.len() > MAX_MANIFEST {
                continue;
            }
            let bytes = std::fs::read(entry.path())?;
            let manifest = serde_json::from_slice::<ImageManifest>(&bytes).ok();
            if manifest.is_some_and(|manifest| manifest.media_type() == &Some(MediaType::ImageManifest)) {
                found.push(Document::new(MediaType::ImageManifest, bytes)?.descriptor);
            }
        }
        Ok(found)
    }
}

impl Locked<'_> {
    /// Stores a document.
    pub(super) fn put(&self, document: &Document) -> std::io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.files.0)?;
        file.write_all(&document.bytes)?;
        self.put_file(file, document.descriptor.digest().digest()).map(drop)
    }

    /// Stores a file under its digest; returns how many bytes that cost.
    pub(super) fn put_file(&self, file: NamedTempFile, digest: &str) -> std::io::Result<u64> {
        let path = self.files.blob(digest);
        if path.exists() {
            return Ok(0);
        }
        let size = file.as_file().metadata()?.len();
        file.persist(path)?;
        Ok(size)
    }

    /// Deletes a blob; one that is not there is no error.
    pub(super) fn delete(&self, digest: &str) -> std::io::Result<()> {
        match std::fs::remove_file(self.files.blob(digest)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// A manifest, unless its blob is gone.
    pub(super) fn manifest(&self, digest: &str) -> Result<Option<ImageManifest>, RegistryError> {
        match self.files.read(digest, digest) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(RegistryError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The manifests of the layout.
    pub(super) fn listed(&self) -> Result<Vec<Descriptor>, RegistryError> {
        let damaged =
            |e: serde_json::Error| RegistryError::Damaged { reference: "index.json".to_owned(), detail: e.to_string() };
        let index: ImageIndex = serde_json::from_slice(&std::fs::read(self.files.index())?).map_err(damaged)?;
        Ok(index.manifests().clone())
    }

    /// Adds manifests to the list; those that are there stay as they are.
    pub(super) fn list(&self, new: impl IntoIterator<Item = Descriptor>) -> Result<(), RegistryError> {
        let mut all = self.listed()?;
        for descriptor in new {
            if !all.iter().any(|listed| listed.digest() == descriptor.digest()) {
                all.push(descriptor);
            }
        }
        Ok(self.set_list(&all)?)
    }

    pub(super) fn set_list(&self, manifests: &[Descriptor]) -> std::io::Result<()> {
        let index = ImageIndexBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageIndex)
            .manifests(manifests)
            .build()
            .map_err(std::io::Error::other)?;
        let mut file = NamedTempFile::new_in(&self.files.0)?;
        file.write_all(&Document::json(MediaType::ImageIndex, &index)?.bytes)?;
        file.persist(self.files.index())?;
        Ok(())
    }
}

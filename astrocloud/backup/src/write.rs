//! Writing a backup.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::blob::ObjectStore;
use common::secret::Secret;
use common::time::Timestamp;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::error::BackupError;
use crate::files;
use crate::manifest::{Entry, FORMAT, Manifest, Objects};
use crate::secrets::{self, Secrets};

/// What temporary files of the platform begin with: who writes one has not stored it yet.
const TEMPORARY: &str = ".tmp";

/// A backup that is being written, in a folder beside its place. Dropped before [`finish`](Self::finish), it is gone.
pub struct Writer {
    place: PathBuf,
    folder: TempDir,
    manifest: Manifest,
}

impl Writer {
    /// Begins a backup that is to be at `place`.
    ///
    /// # Errors
    /// When something is there, or no folder can be made beside it.
    pub fn begin(place: &Path, version: &str) -> Result<Self, BackupError> {
        let place = std::path::absolute(place).map_err(BackupError::io(place))?;
        if place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(place));
        }
        let parent = place.parent().unwrap_or(&place);
        std::fs::create_dir_all(parent).map_err(BackupError::io(parent))?;
        // Nobody else can look into it (mode 0700).
        let folder = tempfile::Builder::new().prefix(".backup-").tempdir_in(parent).map_err(BackupError::io(parent))?;
        let manifest = Manifest {
            format: FORMAT,
            version: version.to_owned(),
            made_at: Timestamp::now(),
            files: Vec::new(),
            objects: Objects::default(),
        };
        Ok(Self { place, folder, manifest })
    }

    /// Where the snapshot of the database is to be written, before anything else is added.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join(crate::read::DATABASE)
    }

    /// Adds all files of a folder, under a name. One that is not there is empty; files that go meanwhile are left out.
    ///
    /// # Errors
    /// When one can't be read or copied.
    pub fn add_folder(&mut self, name: &str, folder: &Path) -> Result<(), BackupError> {
        let hidden = |entry: &walkdir::DirEntry| entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        for entry in WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(|entry| !hidden(entry)) {
            let entry = match entry {
                Err(e) if e.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => continue,
                Err(e) => {
                    let path = e.path().unwrap_or(folder).to_owned();
                    return Err(BackupError::Io { path, source: e.into() });
                }
                Ok(entry) if entry.file_type().is_file() => entry,
                Ok(_) => continue,
            };
            let within = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            let Some(within) = within.to_str() else {
                let source = std::io::Error::other("its name is not UTF-8");
                return Err(BackupError::Io { path: entry.path().to_owned(), source });
            };
            let name = format!("{}/{name}/{within}", crate::read::FOLDERS);
            let to = self.folder.path().join(&name);
            match files::copy(name, entry.path(), Some(&to)) {
                Err(BackupError::Io { path, source })
                    if path == entry.path() && source.kind() == std::io::ErrorKind::NotFound => {}
                copied => self.manifest.files.push(copied?),
            }
        }
        Ok(())
    }

    /// Adds every object of a store: its name, size and digest, and with `bytes` what it holds. Objects that go meanwhile
    /// are left out.
    ///
    /// # Errors
    /// When the store fails or a copy can't be written.
    pub async fn add_objects(&mut self, store: &ObjectStore, bytes: bool) -> Result<(), BackupError> {
        self.manifest.objects.included = bytes;
        let mut listed: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await?;
        listed.sort();
        for key in listed {
            let got = match store.get(&key).await {
                Err(object_store::Error::NotFound { .. }) => continue,
                other => other?,
            };
            let to = self.folder.path().join(crate::read::OBJECTS).join(key.as_ref());
            let mut file = if bytes { Some(files::create(&to)?) } else { None };
            let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
            let mut chunks = got.into_stream();
            while let Some(chunk) = chunks.try_next().await? {
                hasher.update(&chunk);
                size += chunk.len() as u64;
                if let Some(file) = &mut file {
                    file.write_all(&chunk).map_err(BackupError::io(&to))?;
                }
            }
            if let Some(file) = file {
                file.sync_all().map_err(BackupError::io(&to))?;
            }
            let blake3 = hasher.finalize().to_hex().to_string();
            self.manifest.objects.each.push(Entry { name: key.to_string(), size, blake3 });
        }
        Ok(())
    }

    /// Seals the secrets and puts the backup in its place.
    ///
    /// # Errors
    /// When there is no snapshot of the database, the passphrase is too short, or something is at the place by now.
    pub fn finish(mut self, secrets: &Secrets, passphrase: &Secret) -> Result<Manifest, BackupError> {
        let database = files::copy(crate::read::DATABASE.to_owned(), &self.database(), None)?;
        self.manifest.files.push(database);
        let text = serde_json::to_vec_pretty(&self.manifest).map_err(|e| BackupError::Seal(e.to_string()))?;
        let sealed = secrets::seal(secrets, &text, passphrase)?;
        for (name, bytes) in [(crate::read::MANIFEST, text.as_slice()), (crate::read::SECRETS, sealed.as_bytes())] {
            let path = self.folder.path().join(name);
            let mut file = files::create(&path)?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(BackupError::io(&path))?;
        }
        // An empty folder could be renamed over; anything else refuses.
        if self.place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(self.place));
        }
        let folder = self.folder.keep();
        std::fs::rename(&folder, &self.place).map_err(BackupError::io(&self.place))?;
        Ok(self.manifest)
    }
}

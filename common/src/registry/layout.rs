//! The embedded registry: an OCI image layout in a local folder
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageConfiguration, ImageManifest};

use super::oci::{self, Compression, Layer, Tree};
use super::{ImageRegistry, NewImage, Origin, Pushed, RegistryError, Start};

mod files;

use files::{Files, Locked};

/// The embedded adapter.
pub struct OciLayout {
    files: Files,
}

impl OciLayout {
    /// A layout below `root`, which is created when absent.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn new(root: PathBuf) -> std::io::Result<Self> {
        Ok(Self { files: Files::open(root)? })
    }
}

fn push(files: &Files, image: &NewImage<'_>) -> Result<Pushed, RegistryError> {
    let tree = Tree::read(image.root)?;
    let layers: Vec<Layer> =
        tree.parts().map(|part| oci::pack(&tree, part, Compression::Zstd, files.root())).collect::<Result<_, _>>()?;
    let described: Vec<(Descriptor, String)> =
        layers.iter().map(|layer| (layer.descriptor.clone(), layer.diff_id.clone())).collect();
    let assembled = oci::assemble(image, None, &described)?;
    let artifacts = oci::artifacts(image, &tree, None, &assembled)?;
    let size = layers.iter().map(|layer| layer.descriptor.size()).sum();

    let locked = files.lock()?;
    let mut sent = 0;
    for layer in layers {
        sent += locked.put_file(layer.file, layer.descriptor.digest().digest())?;
    }
    let about = artifacts.iter().flat_map(|artifact| [&artifact.config, &artifact.payload, &artifact.manifest]);
    for document in [&assembled.config, &assembled.manifest].into_iter().chain(about) {
        locked.put(document)?;
    }
    let mut listed = assembled.manifest.descriptor.clone();
    let name = format!("{}-{}", image.name, listed.digest().digest());
    listed.set_annotations(Some([(ANNOTATION_REF_NAME.to_owned(), name)].into()));
    locked.list(std::iter::once(listed).chain(artifacts.into_iter().map(|artifact| artifact.listed)))?;
    let reference = format!("{}@{}", image.name, assembled.manifest.digest());
    Ok(Pushed { reference, size, sent, left_out: tree.left_out })
}

fn pull(files: &Files, reference: &str, into: &Path) -> Result<Start, RegistryError> {
    let manifest: ImageManifest = files.read(reference, digest_of(reference)?)?;
    let config: ImageConfiguration = files.read(reference, manifest.config().digest().digest())?;
    for layer in oci::own_layers(&manifest) {
        oci::unpack(layer, files.open_blob(reference, layer.digest().digest())?, into)?;
    }
    oci::start(reference, &config)
}

/// Takes an image and what refers to it off the list, and deletes the blobs that nothing on the list needs.
fn remove(files: &Files, reference: &str) -> Result<(), RegistryError> {
    let digest = digest_of(reference)?;
    let locked = files.lock()?;
    let (gone, kept): (Vec<Descriptor>, Vec<Descriptor>) = locked.listed()?.into_iter().partition(|listed| {
        listed.digest().digest() == digest || subject(&locked, listed).is_some_and(|subject| subject == digest)
    });
    if gone.is_empty() {
        return Ok(());
    }
    locked.set_list(&kept)?;
    let mut needed = HashSet::new();
    for listed in &kept {
        needed.extend(blobs(&locked, listed)?);
    }
    for listed in &gone {
        for blob in blobs(&locked, listed)?.into_iter().filter(|blob| !needed.contains(blob)) {
            locked.delete(&blob)?;
        }
    }
    Ok(())
}

fn subject(locked: &Locked<'_>, listed: &Descriptor) -> Option<String> {
    let manifest: ImageManifest = locked.manifest(listed.digest().digest()).ok()??;
    manifest.subject().as_ref().map(|subject| subject.digest().digest().to_owned())
}

/// Digests of a manifest and of all that it names.
fn blobs(locked: &Locked<'_>, listed: &Descriptor) -> Result<Vec<String>, RegistryError> {
    let own = listed.digest().digest().to_owned();
    let manifest: Option<ImageManifest> = locked.manifest(&own)?;
    let named = manifest.iter().flat_map(|manifest| manifest.layers().iter().chain([manifest.config()]));
    Ok(named.map(|named| named.digest().digest().to_owned()).chain([own.clone()]).collect())
}

fn digest_of(reference: &str) -> Result<&str, RegistryError> {
    let digest = reference.rsplit_once("@sha256:").map(|(_, d)| d);
    digest
        .filter(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| RegistryError::NotFound(reference.to_owned()))
}

#[async_trait]
impl ImageRegistry for OciLayout {
    async fn push(&self, image: NewImage<'_>) -> Result<Pushed, RegistryError> {
        let (files, name, root) = (self.files.clone(), image.name.to_owned(), image.root.to_owned());
        let (start, origin): (Start, Origin) = (image.start.clone(), image.origin.clone());
        blocking(move || push(&files, &NewImage { name: &name, root: &root, start: &start, origin: &origin })).await
    }

    async fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError> {
        let (files, reference, into) = (self.files.clone(), reference.to_owned(), into.to_owned());
        blocking(move || pull(&files, &reference, &into)).await
    }

    async fn remove(&self, reference: &str) -> Result<(), RegistryError> {
        let (files, reference) = (self.files.clone(), reference.to_owned());
        blocking(move || remove(&files, &reference)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| RegistryError::Io(std::io::Error::other(e)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::id::DeploymentId;
    use crate::registry::{Registry, conformance};

    #[tokio::test]
    async fn the_oci_layout_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let registry: Registry = Arc::new(OciLayout::new(folder.path().to_owned()).unwrap());
        conformance(&registry).await.unwrap();
    }

    /// One image of one file.
    async fn image(registry: &OciLayout, content: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("app")).unwrap();
        std::fs::write(root.path().join("app/server.js"), content).unwrap();
        let start = Start { command: "x".to_owned(), working_dir: "app".to_owned(), node: "20.1.0".to_owned() };
        let origin = Origin::new(DeploymentId::new());
        let new = NewImage { name: "shop", root: root.path(), start: &start, origin: &origin };
        registry.push(new).await.unwrap().reference
    }

    #[tokio::test]
    async fn nothing_stays_of_images_that_were_removed() {
        let folder = tempfile::tempdir().unwrap();
        let registry = OciLayout::new(folder.path().to_owned()).unwrap();
        for reference in [image(&registry, "a").await, image(&registry, "b").await] {
            registry.remove(&reference).await.unwrap();
        }
        let left = std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn images_of_a_version_that_kept_no_list_are_listed_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let old = OciLayout::new(folder.path().to_owned()).unwrap();
        let (kept, gone) = (image(&old, "a").await, image(&old, "b").await);
        std::fs::remove_file(folder.path().join("index.json")).unwrap();
        let registry = OciLayout::new(folder.path().to_owned()).unwrap();
        registry.remove(&gone).await.unwrap();
        let into = tempfile::tempdir().unwrap();
        registry.pull(&kept, into.path()).await.unwrap();
        assert!(matches!(registry.pull(&gone, into.path()).await, Err(RegistryError::NotFound(_))));
    }
}

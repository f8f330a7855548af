//! One image into the registry: what it has of it is neither packed nor sent.

use std::collections::HashMap;
use std::sync::Arc;

use common::registry::oci::{self, Compression, Part, Tree};
use common::registry::{NewImage, Pushed, RegistryError};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use crate::failure::Failure;
use crate::manifests::digest;
use crate::registry::Inner;
use crate::upload::Content;

/// The tag of a project's newest image.
const NEWEST: &str = "latest";

/// Layers that a repository has, by part and digest of the archive.
type Known = HashMap<(String, String), Descriptor>;

/// Pushes an image.
pub(crate) async fn push(registry: &Inner, image: NewImage<'_>) -> Result<Pushed, RegistryError> {
    let repository = registry.address.repository(image.name);
    let told = |failure: Failure| failure.told(registry.address.host(), &format!("pushing to {repository}"));
    let root = image.root.to_owned();
    let tree = Arc::new(blocking(move || Tree::read(&root)).await?);
    let found = registry.bases.find(&image.start.node).await?;
    let known = known(registry, &repository).await.map_err(told)?;
    let mut layers = Vec::new();
    let mut sent = 0;
    for part in tree.parts() {
        let (layer, new) = layer(registry, &repository, &tree, part, &known).await.map_err(told)?;
        layers.push(layer);
        sent += new;
    }
    registry.bases.give(&found, &repository).await.map_err(told)?;
    let assembled = oci::assemble(&image, Some(&found.base), &layers)?;
    let artifacts = oci::artifacts(&image, &tree, Some(&found.base), &assembled)?;
    let subject = assembled.manifest.digest();
    let written = async {
        let (client, config) = (&registry.client, &assembled.config);
        client.put_blob(&repository, &config.descriptor, &Content::from(config)).await?;
        // Under a tag each: some registries delete what has none.
        for tag in [image.origin.deployment.as_str(), NEWEST] {
            client.put_manifest(&repository, tag, &assembled.manifest).await?;
        }
        for artifact in &artifacts {
            client.attach(&repository, &subject, artifact).await?;
        }
        Ok(())
    };
    written.await.map_err(told)?;
    let reference = format!("{}/{repository}@{subject}", registry.address.host());
    let size = layers.iter().map(|(layer, _)| layer.size()).sum();
    Ok(Pushed { reference, size, sent, left_out: tree.left_out.clone() })
}

/// One layer: found, or packed and sent. With it comes the digest of its archive, and how many bytes were sent.
async fn layer(
    registry: &Inner,
    repository: &str,
    tree: &Arc<Tree>,
    part: Part,
    known: &Known,
) -> Result<((Descriptor, String), u64), Failure> {
    let client = &registry.client;
    let read = tree.clone();
    let diff_id = blocking(move || Ok(oci::diff_id(&read, part)?)).await?;
    if let Some(there) = known.get(&(part.as_str().to_owned(), diff_id.clone()))
        && client.has_blob(repository, &digest(there)).await?
    {
        return Ok(((there.clone(), diff_id), 0));
    }
    let (tree, scratch) = (tree.clone(), registry.bases.scratch.clone());
    // Gzip: there is no container runtime that does not read it.
    let packed = blocking(move || Ok(oci::pack(&tree, part, Compression::Gzip, &scratch)?)).await?;
    let content = Content::File(packed.file.path().to_owned());
    let sent = client.put_blob(repository, &packed.descriptor, &content).await?;
    Ok(((packed.descriptor, packed.diff_id), sent))
}

/// The own layers of a repository's newest image.
async fn known(registry: &Inner, repository: &str) -> Result<Known, Failure> {
    let client = &registry.client;
    let manifest = match client.manifest(repository, NEWEST).await {
        Ok(document) => serde_json::from_slice::<ImageManifest>(&document.bytes).ok(),
        Err(Failure::Missing(_)) => None,
        Err(e) => return Err(e),
    };
    let Some(manifest) = manifest else { return Ok(Known::new()) };
    let config = match client.document(repository, manifest.config()).await {
        Ok(bytes) => serde_json::from_slice::<ImageConfiguration>(&bytes).ok(),
        Err(Failure::Missing(_)) => None,
        Err(e) => return Err(e),
    };
    let Some(config) = config else { return Ok(Known::new()) };
    let layers = manifest.layers().iter().zip(config.rootfs().diff_ids());
    let named = layers.filter_map(|(layer, diff_id)| {
        let part = layer.annotations().as_ref()?.get(oci::PART)?;
        Some(((part.clone(), diff_id.clone()), layer.clone()))
    });
    Ok(named.collect())
}

/// Runs what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| RegistryError::Io(std::io::Error::other(e)))?
}

//! The image that apps lie on: found by its name, and its layers given to each repository without passing through here
//! where that is possible.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::registry::RegistryError;
use common::registry::oci::{Base, Document};
use oci_spec::distribution::Reference;
use oci_spec::image::{
    Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType, Os, ToDockerV2S2 as _,
};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use crate::address::Address;
use crate::auth::Login;
use crate::client::{Client, Patience};
use crate::download::damaged;
use crate::failure::Failure;
use crate::manifests::digest;
use crate::upload::Content;

/// Stands for the major version of Node in the name of the base image.
const MAJOR: &str = "{major}";
/// Repository in which base images of other registries are kept. No project's name has a dot.
const KEPT: &str = "base.images";
/// How long it is believed which image a tag names.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// For another registry that is away: what it had is kept.
const ELSEWHERE: Duration = Duration::from_secs(20);

/// The base images of one registry's apps.
#[derive(Debug)]
pub(crate) struct Bases {
    /// Name of the base image, with [`MAJOR`] in it.
    pub(crate) template: String,
    pub(crate) target: Arc<Client>,
    pub(crate) address: Address,
    pub(crate) patience: Patience,
    /// For files on their way.
    pub(crate) scratch: PathBuf,
    pub(crate) found: Mutex<HashMap<String, Arc<Found>>>,
}

/// A base image and where it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) base: Base,
    manifest: Document,
    config: Document,
    client: Arc<Client>,
    repository: String,
    at: Instant,
    /// It is in a repository of the target, under this name, once this is set.
    kept: OnceCell<String>,
}

impl Bases {
    /// The base of an app for this version of Node.
    pub(crate) async fn find(&self, node: &str) -> Result<Arc<Found>, RegistryError> {
        let major =
            node.split('.').next().filter(|major| !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit()));
        let name = match major {
            Some(major) => self.template.replace(MAJOR, major),
            None if self.template.contains(MAJOR) => {
                return Err(RegistryError::Refused(format!("`{node}` is no version of Node")));
            }
            None => self.template.clone(),
        };
        // Held while it is looked up: others wait for the same.
        let mut all = self.found.lock().await;
        let known = all.get(&name).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known.clone());
        }
        let image: Reference = name.parse().map_err(|e| {
            RegistryError::Refused(format!("`{name}` (registry.base_image) is no name of an image: {e}"))
        })?;
        let found = match self.look_up(&image).await {
            Ok(found) => Arc::new(found),
            Err(failure) => {
                let error = failure.told(image.resolve_registry(), &format!("reading the base image {name}"));
                match (known, self.kept(&image).await) {
                    (Some(known), _) => {
                        tracing::warn!(name, %error, "the base image is taken as it was last seen");
                        known
                    }
                    (None, Ok(kept)) => {
                        tracing::warn!(name, %error, "the base image is taken as this registry keeps it");
                        Arc::new(kept)
                    }
                    (None, Err(_)) => return Err(error),
                }
            }
        };
        all.insert(name, found.clone());
        Ok(found)
    }

    async fn look_up(&self, image: &Reference) -> Result<Found, Failure> {
        let url = self.address.url_of(image).map_err(|e| RegistryError::Refused(e.to_string()))?;
        let client = if url == *self.address.url() {
            self.target.clone()
        } else {
            let away = self.patience.away.min(ELSEWHERE);
            // The login is for the registry of the apps alone.
            Arc::new(Client::new(url, Arc::new(Login::Anonymous), Patience { away, ..self.patience })?)
        };
        let reference = image.digest().or(image.tag()).unwrap_or("latest").to_owned();
        let found = read(client, image.repository(), &reference, image.whole()).await?;
        if Arc::ptr_eq(&found.client, &self.target) {
            let _ = found.kept.set(image.repository().to_owned());
        }
        Ok(found)
    }

    /// The base image as it was last kept in the target.
    async fn kept(&self, image: &Reference) -> Result<Found, Failure> {
        let repository = self.address.repository(KEPT);
        let found = read(self.target.clone(), &repository, &tag(image), image.whole()).await?;
        let _ = found.kept.set(repository);
        Ok(found)
    }

    /// Sees to it that a repository has the base's layers.
    pub(crate) async fn give(&self, found: &Found, repository: &str) -> Result<(), Failure> {
        for layer in &found.base.layers {
            let blob = digest(layer);
            if self.target.has_blob(repository, &blob).await? {
                continue;
            }
            let kept = found.kept.get_or_try_init(|| self.keep(found)).await?;
            if !self.target.mount(repository, &blob, kept).await? {
                self.copy(&self.target, kept, layer, repository).await?;
            }
        }
        Ok(())
    }

    /// Copies a base image of another registry into the target, where it is mounted from and outlives the other's outages.
    async fn keep(&self, found: &Found) -> Result<String, Failure> {
        let repository = self.address.repository(KEPT);
        for layer in &found.base.layers {
            if !self.target.has_blob(&repository, &digest(layer)).await? {
                self.copy(&found.client, &found.repository, layer, &repository).await?;
            }
        }
        let (config, manifest) = (&found.config, &found.manifest);
        self.target.put_blob(&repository, &config.descriptor, &Content::from(config)).await?;
        let name: Option<Reference> = found.base.name.parse().ok();
        let reference = name.as_ref().map_or_else(|| manifest.digest(), tag);
        self.target.put_manifest(&repository, &reference, manifest).await?;
        Ok(repository)
    }

    async fn copy(&self, from: &Client, there: &str, layer: &Descriptor, here: &str) -> Result<(), Failure> {
        let file = from.blob(there, layer, &self.scratch).await?;
        self.target.put_blob(here, layer, &Content::File(file.path().to_owned())).await?;
        Ok(())
    }
}

async fn read(client: Arc<Client>, repository: &str, reference: &str, name: String) -> Result<Found, Failure> {
    let mut document = client.manifest(repository, reference).await?;
    if is(&document, &MediaType::ImageIndex) {
        let index: ImageIndex = parse(&name, &document.bytes)?;
        let (arch, os) = (host_arch(), Os::Linux);
        let here = |listed: &&Descriptor| {
            listed.platform().as_ref().is_some_and(|for_| *for_.architecture() == arch && *for_.os() == os)
        };
        let listed = index.manifests().iter().find(here);
        let listed = listed.ok_or_else(|| damaged(&name, "it has no image for this machine's architecture"))?;
        document = client.manifest(repository, &digest(listed)).await?;
    }
    let manifest: ImageManifest = parse(&name, &document.bytes)?;
    let config = client.document(repository, manifest.config()).await?;
    let configuration: ImageConfiguration = parse(&name, &config)?;
    let layers: Vec<Descriptor> = manifest.layers().iter().map(plain).collect();
    if configuration.rootfs().diff_ids().len() != layers.len() {
        return Err(damaged(&name, "its configuration names other layers than its manifest"));
    }
    Ok(Found {
        base: Base { name, digest: document.digest(), layers, config: configuration },
        config: Document::new(manifest.config().media_type().clone(), config)?,
        manifest: document,
        client,
        repository: repository.to_owned(),
        at: Instant::now(),
        kept: OnceCell::new(),
    })
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| damaged(name, &e.to_string()))
}

/// Whether a document is of a kind, in OCI's or Docker's words.
fn is(document: &Document, kind: &MediaType) -> bool {
    let found = document.descriptor.media_type();
    found == kind || kind.to_docker_v2s2().is_ok_and(|docker| found.as_ref() == docker)
}

/// A layer as OCI names it: Docker has another word for the same bytes.
fn plain(layer: &Descriptor) -> Descriptor {
    let docker = MediaType::ImageLayerGzip.to_docker_v2s2().is_ok_and(|docker| layer.media_type().as_ref() == docker);
    let kind = if docker { MediaType::ImageLayerGzip } else { layer.media_type().clone() };
    Descriptor::new(kind, layer.size(), layer.digest().clone())
}

/// The tag under which a base image is kept.
fn tag(image: &Reference) -> String {
    let name = image.whole();
    // A tag has at most 128 characters; the end of a name tells most.
    let skip = name.chars().count().saturating_sub(120);
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("k-{}", name.chars().skip(skip).map(word).collect::<String>())
}

fn host_arch() -> Arch {
    if cfg!(target_arch = "aarch64") { Arch::ARM64 } else { Arch::Amd64 }
}

//! The adapter.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::registry::oci;
use common::registry::{ImageRegistry, NewImage, Pushed, RegistryError, Start};
use oci_spec::image::{ImageConfiguration, ImageManifest};
use tokio::sync::Mutex;

use crate::address::Address;
use crate::auth::Login;
use crate::base::Bases;
use crate::client::{Client, Patience};
use crate::failure::Failure;
use crate::push::{blocking, push};

/// For one answer, unless something else is set: a chunk over a slow line.
const ANSWER: Duration = Duration::from_secs(120);
/// For a registry that is away: as long as one restarts.
const AWAY: Duration = Duration::from_secs(300);

/// Age of a layer that is on its way no more: no push takes so long.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);

/// What the adapter needs to know.
#[derive(Debug)]
pub struct Config {
    /// The registry.
    pub address: Address,
    /// Who asks it.
    pub login: Login,
    /// Name of the image that apps lie on; `{major}` in it is the major version of Node.
    pub base_image: String,
    /// A folder for layers on their way.
    pub scratch: PathBuf,
    /// For one answer, or the next bytes of one.
    pub answer: Duration,
    /// For a registry that is away or asks to wait, while nothing goes on.
    pub away: Duration,
}

impl Config {
    /// A registry with the usual patience.
    #[must_use]
    pub const fn new(address: Address, login: Login, base_image: String, scratch: PathBuf) -> Self {
        Self { address, login, base_image, scratch, answer: ANSWER, away: AWAY }
    }
}

/// Images in a registry.
#[derive(Debug)]
pub struct OciRegistry(Inner);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) address: Address,
    pub(crate) client: Arc<Client>,
    pub(crate) bases: Bases,
}

impl OciRegistry {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// When the folder can't be made, or the system's certificates can't be read.
    pub fn new(config: Config) -> Result<Self, RegistryError> {
        std::fs::create_dir_all(&config.scratch)?;
        tidy(&config.scratch)?;
        let patience = Patience { answer: config.answer, away: config.away };
        let client = Client::new(config.address.url().clone(), Arc::new(config.login), patience);
        let client = Arc::new(client.map_err(|e| RegistryError::Refused(e.to_string()))?);
        let bases = Bases {
            template: config.base_image,
            target: client.clone(),
            address: config.address.clone(),
            patience,
            scratch: config.scratch,
            found: Mutex::default(),
        };
        Ok(Self(Inner { address: config.address, client, bases }))
    }
}

/// Deletes layers that a killed process left on their way. A young file may be another process's.
fn tidy(scratch: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(scratch)? {
        let entry = entry?;
        let data = entry.metadata()?;
        let is_old = data.modified()?.elapsed().is_ok_and(|age| age > LEFT);
        if data.is_file() && is_old {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[async_trait]
impl ImageRegistry for OciRegistry {
    async fn push(&self, image: NewImage<'_>) -> Result<Pushed, RegistryError> {
        push(&self.0, image).await
    }

    async fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError> {
        let missing = || RegistryError::NotFound(reference.to_owned());
        let (repository, digest) = self.0.address.parse(reference).ok_or_else(missing)?;
        let (client, scratch) = (&self.0.client, &self.0.bases.scratch);
        let pulled = async {
            let manifest = client.manifest(repository, digest).await?;
            let manifest: ImageManifest = parse(reference, &manifest.bytes)?;
            let config: ImageConfiguration = parse(reference, &client.document(repository, manifest.config()).await?)?;
            for layer in oci::own_layers(&manifest) {
                let file = client.blob(repository, layer, scratch).await?;
                let (layer, into) = (layer.clone(), into.to_owned());
                blocking(move || Ok(oci::unpack(&layer, file.reopen()?, &into)?)).await?;
            }
            Ok(oci::start(reference, &config)?)
        };
        pulled.await.map_err(|failure: Failure| match failure {
            Failure::Missing(_) => missing(),
            other => other.told(self.0.address.host(), &format!("pulling from {repository}")),
        })
    }

    async fn remove(&self, reference: &str) -> Result<(), RegistryError> {
        // What is not here is not this registry's to delete.
        let Some((repository, digest)) = self.0.address.parse(reference) else { return Ok(()) };
        let client = &self.0.client;
        let removed = async {
            // First: once the image is gone nobody tries again.
            client.detach(repository, digest).await?;
            client.delete_manifest(repository, digest).await
        };
        removed.await.map_err(|failure| failure.told(self.0.address.host(), &format!("deleting from {repository}")))
    }
}

fn parse<T: serde::de::DeserializeOwned>(reference: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| crate::download::damaged(reference, &e.to_string()))
}

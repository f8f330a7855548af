//! The adapter behind each port, as the settings name it: by a URL, or the embedded one.

use std::sync::Arc;

use anyhow::Context as _;
use azure_blob::{Address, AzureBlob};
use common::blob::{DirectUploads, ObjectStore};
use common::bus::Bus;
use common::bus::file::FileBus;
use common::bus::shared::SharedFileBus;
use common::ledger::DynLedger;
use common::queue::Queue;
use common::queue::memory::MemoryQueue;
use common::registry::Registry;
use common::registry::layout::OciLayout;
use common::runtime::DynRuntime;
use kafka_bus::{KafkaBus, Reading};
use kubernetes::KubernetesRuntime;
use oci_registry::OciRegistry;
use redis_queue::RedisQueue;

use crate::exit::Usage;
use crate::settings::{Kind, Settings, StoreUrl};
use crate::up::DataFolder;

/// Refuses settings with which processes of several would each have sites, logs or images of their own.
///
/// # Errors
/// Says what to set.
pub fn check_shared(settings: &Settings) -> Result<(), Usage> {
    if settings.shared_dir.0.is_some() {
        return Ok(());
    }
    Err(Usage::new(
        "sites, logs and images must be where all parts of the platform reach them: set ASTROCLOUD_SHARED_DIR (shared_dir) \
         to a folder that they share",
    ))
}

/// Where sites, uploads and sources are kept.
pub struct Objects {
    /// The port.
    pub store: ObjectStore,
    /// Lets uploads go straight to the store, where it can.
    pub uploads: Option<Arc<dyn DirectUploads>>,
}

/// The object store of a platform; a folder of its own when the settings name none.
///
/// # Errors
/// When it can't be opened.
pub fn objects(settings: &Settings, data: &DataFolder) -> anyhow::Result<Objects> {
    match &settings.objects.url.0 {
        Some(url) => objects_at(settings, url),
        None => objects_at(settings, &StoreUrl::Folder(data.objects_url()?)),
    }
}

/// The object store at an address.
///
/// # Errors
/// When it can't be opened.
pub fn objects_at(settings: &Settings, url: &StoreUrl) -> anyhow::Result<Objects> {
    Ok(match url {
        StoreUrl::Folder(url) => Objects { store: common::blob::open(url)?, uploads: None },
        StoreUrl::Azure(address) => {
            let blob = azure(settings, address)?;
            Objects { store: blob.port(), uploads: blob.uploads() }
        }
    })
}

/// A container.
///
/// # Errors
/// When its credential can't be used.
pub fn azure(settings: &Settings, address: &Address) -> anyhow::Result<AzureBlob> {
    Ok(AzureBlob::open(settings.objects.azure(address, |name| std::env::var(name).ok())?)?)
}

/// What a process does with logs, besides writing them.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// It shows them, as a control plane does.
    Reads,
    /// Nothing.
    Writes,
}

/// What carries logs.
///
/// # Errors
/// When it can't be opened.
pub fn bus(settings: &Settings, data: &DataFolder, side: Side) -> anyhow::Result<Bus> {
    if let Some(address) = &settings.logs.url.0 {
        let reading = match side {
            Side::Reads => Some(Reading {
                store: objects(settings, data)?.store,
                keep: settings.logs.keep(),
                copy: settings.logs.copy.0,
            }),
            Side::Writes => None,
        };
        let on_kafka = settings.logs.on_kafka(address, data.private("kafka")?)?;
        return Ok(Arc::new(KafkaBus::open(on_kafka, reading)?));
    }
    let (folder, cannot) = (data.shared("logs")?, "the folder of logs can't be used");
    Ok(match data.is_shared() {
        true => Arc::new(SharedFileBus::new(folder).context(cannot)?),
        false => Arc::new(FileBus::new(folder).context(cannot)?),
    })
}

/// What wakes deployers.
///
/// # Errors
/// When its address can't be used.
pub fn queue(settings: &Settings) -> anyhow::Result<Queue> {
    Ok(match &settings.queue.url.0 {
        Some(address) => Arc::new(RedisQueue::new(address.clone(), settings.queue.on_redis()?)?),
        None => Arc::new(MemoryQueue::new()),
    })
}

/// Where apps' images are kept.
///
/// # Errors
/// When it can't be opened.
pub fn registry(settings: &Settings, data: &DataFolder) -> anyhow::Result<Registry> {
    // Layers on their way to a registry lie with whom sends them.
    let unfinished = || data.private("unfinished-images");
    Ok(match settings.registry.config(unfinished, |name| std::env::var(name).ok())? {
        Some(config) => Arc::new(OciRegistry::new(config)?),
        None => Arc::new(OciLayout::new(data.shared("images")?).context("the folder of images can't be used")?),
    })
}

/// What runs apps; nothing when they are processes of this machine. `deployer` is what no other deployer is called.
///
/// # Errors
/// When what is known of the cluster can't be meant so.
pub async fn runtime(
    settings: &Settings,
    bus: &Bus,
    ledger: &DynLedger,
    deployer: &str,
) -> anyhow::Result<Option<DynRuntime>> {
    if settings.runtime.kind == Kind::Processes {
        return Ok(None);
    }
    let how = settings.runtime.on_kubernetes(&settings.apps)?;
    let client = settings.runtime.connection().client().await?;
    Ok(Some(Arc::new(KubernetesRuntime::new(client, bus.clone(), ledger.clone(), how, deployer))))
}

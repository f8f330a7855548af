//! The adapter behind each port, as the settings name it: by a URL, or the embedded one.

use std::sync::Arc;

use anyhow::Context as _;
use common::blob::ObjectStore;
use common::bus::Bus;
use common::bus::file::FileBus;
use common::bus::shared::SharedFileBus;
use common::queue::Queue;
use common::queue::memory::MemoryQueue;
use common::registry::Registry;
use common::registry::layout::OciLayout;
use kafka_bus::{KafkaBus, Reading};
use oci_registry::OciRegistry;
use redis_queue::RedisQueue;

use crate::exit::Usage;
use crate::settings::Settings;
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

/// Where sites, uploads and archives are kept.
///
/// # Errors
/// When it can't be opened.
pub fn objects(data: &DataFolder) -> anyhow::Result<ObjectStore> {
    Ok(common::blob::open(&data.objects_url()?)?)
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
            Side::Reads => {
                Some(Reading { store: objects(data)?, keep: settings.logs.keep(), copy: settings.logs.copy.0 })
            }
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

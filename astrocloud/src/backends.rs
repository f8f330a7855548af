//! The adapter behind each port, as the settings name it: by a URL, or the embedded one.

use std::sync::Arc;

use anyhow::Context as _;
use common::blob::ObjectStore;
use common::bus::Bus;
use common::bus::file::FileBus;
use common::queue::Queue;
use common::queue::memory::MemoryQueue;
use common::registry::Registry;
use common::registry::layout::OciLayout;
use redis_queue::RedisQueue;

use crate::settings::Settings;
use crate::up::state::State;

/// Where sites, uploads and archives are kept.
///
/// # Errors
/// When it can't be opened.
pub fn objects(state: &State) -> anyhow::Result<ObjectStore> {
    Ok(common::blob::open(&state.objects_url()?)?)
}

/// What carries logs.
///
/// # Errors
/// When it can't be opened.
pub fn bus(state: &State) -> anyhow::Result<Bus> {
    Ok(Arc::new(FileBus::new(state.private("logs")?).context("the folder of logs can't be used")?))
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
pub fn registry(state: &State) -> anyhow::Result<Registry> {
    Ok(Arc::new(OciLayout::new(state.private("images")?).context("the folder of images can't be used")?))
}

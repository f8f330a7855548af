//! Moves what is complete from the local copy into the archive, and deletes what is too old there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::api::LogKind;
use common::bus::Topic;
use common::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::local::Local;

/// How old a line gets before its log is archived though it is short: less than any sensible retention in Kafka.
const AGE: Duration = Duration::from_secs(12 * 60 * 60);
/// How often it is looked for such lines.
const LOOK_EVERY: Duration = Duration::from_secs(10 * 60);
/// How often old pieces are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// First pause after the object store failed; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How archives are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Build logs, from their archiving on.
    pub build: Duration,
    /// Runtime logs.
    pub runtime: Duration,
    /// Before something is archived, up to this time passes, by chance: so one control plane finds what another did.
    pub spread: Duration,
}

impl Keep {
    fn of(&self, kind: LogKind) -> Duration {
        match kind {
            LogKind::Build => self.build,
            LogKind::Runtime => self.runtime,
        }
    }
}

/// Logs with something to do.
#[derive(Default)]
pub(crate) struct Due {
    topics: Mutex<HashSet<Topic>>,
    more: Notify,
}

impl Due {
    pub fn add(&self, topics: HashSet<Topic>) {
        if !topics.is_empty() {
            self.lock().extend(topics);
            self.more.notify_one();
        }
    }

    /// It is to be looked again: something fills up.
    pub fn again(&self) {
        self.more.notify_one();
    }

    fn take(&self) -> HashSet<Topic> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Archives until `stop`. Beyond `full` bytes the local copy gives up everything that it can.
pub(crate) async fn run(
    local: Arc<Local>,
    archive: Arc<Archive>,
    due: Arc<Due>,
    keep: Keep,
    full: u64,
    stop: CancellationToken,
) {
    // At once: what an earlier process left.
    let mut look = tokio::time::interval(LOOK_EVERY);
    // Not all control planes at the same time of day.
    let first = Instant::now() + EXPIRE_EVERY.mul_f64(rand::random::<f64>());
    let mut expire = tokio::time::interval_at(first, EXPIRE_EVERY);
    let mut pause = PAUSE_FIRST;
    loop {
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            () = due.more.notified() => {
                tokio::time::sleep(keep.spread.mul_f64(rand::random::<f64>())).await;
                carry_out(&local, &archive, &due, full).await
            }
            _ = look.tick() => look_for(&local, &due, Timestamp::now().before(AGE)).await,
            _ = expire.tick() => {
                archive.expire(Timestamp::now(), |kind| keep.of(kind)).await.map_err(|e| e.to_string()).map(|pieces| {
                    tracing::info!(pieces, "old logs were deleted from the archive");
                })
            }
        };
        match ended {
            Ok(()) => pause = PAUSE_FIRST,
            Err(e) => {
                let retry_at = Timestamp::now().after(pause);
                tracing::warn!(error = e, %retry_at, "logs can't be archived; they are kept on this machine");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
                pause = (pause * 2).min(PAUSE_MAX);
                due.again();
            }
        }
    }
}

async fn look_for(local: &Arc<Local>, due: &Due, before: Timestamp) -> Result<(), String> {
    let local = local.clone();
    let found =
        tokio::task::spawn_blocking(move || local.due(before, Timestamp::now())).await.map_err(|e| e.to_string())?;
    due.add(found.map_err(|e| e.to_string())?);
    Ok(())
}

async fn carry_out(local: &Arc<Local>, archive: &Archive, due: &Due, full: u64) -> Result<(), String> {
    if local.bytes().map_err(|e| e.to_string())? > full {
        look_for(local, due, Timestamp::now()).await?;
    }
    let topics = due.take();
    let mut failed = HashSet::new();
    let mut why = None;
    for topic in topics {
        if let Err(e) = settle(local, archive, &topic).await {
            why = Some(e);
            failed.insert(topic);
        }
    }
    due.lock().extend(failed);
    why.map_or(Ok(()), Err)
}

/// Does all that is due of one log.
async fn settle(local: &Arc<Local>, archive: &Archive, topic: &Topic) -> Result<(), String> {
    loop {
        let (from, name) = (local.clone(), topic.clone());
        let next = tokio::task::spawn_blocking(move || from.to_archive(&name)).await.map_err(|e| e.to_string())?;
        let Some((partition, cut, records)) = next.map_err(|e| e.to_string())? else { break };
        let stream = local.stream().map_err(|e| e.to_string())?.unwrap_or_default();
        archive.put(topic, &stream, partition, &cut, records).await.map_err(|e| e.to_string())?;
        let (from, name) = (local.clone(), topic.clone());
        let noted = tokio::task::spawn_blocking(move || from.archived(&name, &cut)).await.map_err(|e| e.to_string())?;
        noted.map_err(|e| e.to_string())?;
    }
    let state = local.state(topic).map_err(|e| e.to_string())?;
    if state.is_some_and(|state| state.removed && !state.purged) {
        archive.remove(topic).await.map_err(|e| e.to_string())?;
        local.purged(topic).map_err(|e| e.to_string())?;
    }
    Ok(())
}

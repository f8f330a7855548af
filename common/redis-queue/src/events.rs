//! Follows the stream of events: wakes who waits for a job, and tells who works on one that it is canceled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::AsyncTypedCommands as _;
use redis::streams::{StreamReadOptions, StreamReadReply};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::connect::Connector;

/// How long one read waits for an event. Less than the time in which an answer must come.
const BLOCK: Duration = Duration::from_secs(5);
/// The time in which an answer must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);
/// Pause before the stream is read again after that failed.
const AWAY: Duration = Duration::from_millis(500);
/// Events that are read at once.
const BATCH: usize = 256;

/// What this client waits for and works on.
#[derive(Default)]
pub(crate) struct Ears {
    /// Notified when there may be a job.
    pub offered: Notify,
    /// Leases of this client by their entry.
    held: Mutex<HashMap<String, CancellationToken>>,
}

impl Ears {
    /// Hears of a lease from now on.
    pub fn hold(&self, entry: &str) -> CancellationToken {
        let canceled = CancellationToken::new();
        self.lock().insert(entry.to_owned(), canceled.clone());
        canceled
    }

    /// A lease is over.
    pub fn release(&self, entry: &str) {
        self.lock().remove(entry);
    }

    /// A lease was lost or its job canceled.
    pub fn cancel(&self, entry: &str) {
        if let Some(canceled) = self.lock().get(entry) {
            canceled.cancel();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows until `stop`.
pub(crate) async fn follow(connector: Arc<Connector>, stream: String, ears: Arc<Ears>, stop: CancellationToken) {
    let mut after: Option<String> = None;
    while !stop.is_cancelled() {
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = read(&connector, &stream, &mut after, &ears) => read,
        };
        connector.used(&read).await;
        if let Err(e) = read {
            tracing::warn!(error = %e, "the queue's events can't be read");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AWAY) => {}
            }
        }
        // What was missed meanwhile is found by looking.
        ears.offered.notify_waiters();
    }
}

async fn read(connector: &Connector, stream: &str, after: &mut Option<String>, ears: &Ears) -> redis::RedisResult<()> {
    let mut connection = connector.get().await?;
    let from = match after {
        Some(id) => id.clone(),
        None => {
            let last = connection.xrevrange_count(stream, "+", "-", 1).await?;
            let id = last.ids.first().map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone());
            after.insert(id).clone()
        }
    };
    let block = usize::try_from(BLOCK.as_millis()).unwrap_or(usize::MAX);
    let options = StreamReadOptions::default().block(block).count(BATCH);
    let reply: Option<StreamReadReply> = connection.xread_options(&[stream], &[from], &options).await?;
    for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
        let (kind, subject): (Option<String>, Option<String>) = (entry.get("kind"), entry.get("job"));
        if let (Some("canceled" | "lost"), Some(lease)) = (kind.as_deref(), subject) {
            ears.cancel(&lease);
        }
        *after = Some(entry.id);
    }
    Ok(())
}

//! Edges that are connected, and what of them is known to every control plane: which challenges they show.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::route::FeedMessage;
use common::secret::Secret;
use common::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Hub;
use crate::store::StoreError;

/// Messages that wait for a slow edge; one that lags further is cut off and starts with a snapshot.
const BACKLOG: usize = 256;
/// How long an edge may be behind and still count as one that authorities are kept waiting for.
const LAG: Duration = Duration::from_secs(15);
/// Longest time in which a new edge is noted; it gets its routes all the same.
const NOTE: Duration = Duration::from_secs(2);
/// Wait after a report could not be stored.
const RETRY: Duration = Duration::from_secs(1);

/// A connected edge, on the control plane's side.
pub(super) struct Edge {
    name: String,
    pub(super) messages: mpsc::Sender<FeedMessage>,
    pub(super) applied: watch::Receiver<u64>,
    /// The version that it was seen to be behind of, and since when.
    behind: Mutex<(u64, Instant)>,
}

/// One edge's connection; disconnects when dropped.
pub struct Connection {
    hub: Hub,
    id: u64,
    name: String,
    /// What the edge is to be told, in order. Ends when the edge lags too far behind.
    pub messages: mpsc::Receiver<FeedMessage>,
    applied: watch::Sender<u64>,
}

impl Connection {
    /// The edge said that it applied this version.
    pub fn applied(&self, version: u64) {
        self.applied.send_if_modified(|v| {
            let newer = version > *v;
            *v = version.max(*v);
            newer
        });
    }

    /// The edge took its leave: nobody waits for it to come back.
    pub async fn left(&self) {
        if let Err(error) = self.hub.0.store.remove_edge(&self.name).await {
            tracing::warn!(%error, "an edge that ended may be waited for");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.edges().remove(&self.id);
    }
}

impl Edge {
    /// Whether it is up to date, or has not been behind for long.
    fn is_fresh(&self, version: u64) -> bool {
        let applied = *self.applied.borrow();
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if applied >= behind.0 {
            *behind = (version, Instant::now());
        }
        applied > 0 && behind.1.elapsed() < LAG
    }
}

impl Hub {
    /// Connects an edge, known by the name of its process; the first message is the snapshot.
    pub async fn connect(&self, name: Option<String>) -> Connection {
        let name = name.unwrap_or_else(|| Secret::random("edge-").reveal().to_owned());
        // Noted before it is told anything, so that nobody takes it for one that shows what it does not.
        match tokio::time::timeout(NOTE, self.0.store.add_edge(&name, Timestamp::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an edge that connected can't be noted yet"),
            Err(_) => tracing::warn!("an edge that connected can't be noted yet: the database is slow"),
        }
        let table = self.0.table.lock().await;
        let (sender, messages) = mpsc::channel(BACKLOG);
        // The channel is new and empty, so this fits.
        let _ = sender.try_send(FeedMessage::Snapshot(table.snapshot()));
        let (applied, seen) = watch::channel(0);
        let id = self.0.next_edge.fetch_add(1, Ordering::Relaxed);
        let behind = Mutex::new((table.version, Instant::now()));
        self.edges().insert(id, Edge { name: name.clone(), messages: sender, applied: seen.clone(), behind });
        tokio::spawn(report(self.clone(), name.clone(), seen));
        Connection { hub: self.clone(), id, name, messages, applied }
    }

    /// Notes in the database which of the connected edges are up to date.
    pub async fn note_edges(&self) -> Result<(), StoreError> {
        let version = self.0.table.lock().await.version;
        let fresh: Vec<String> =
            self.edges().values().filter(|edge| edge.is_fresh(version)).map(|edge| edge.name.clone()).collect();
        self.0.store.edges_seen(&fresh, Timestamp::now()).await
    }
}

/// Stores which challenges an edge shows, until it disconnects.
async fn report(hub: Hub, name: String, mut applied: watch::Receiver<u64>) {
    let mut challenged = hub.0.challenged.subscribe();
    let mut reported = None;
    loop {
        let version = *applied.borrow_and_update();
        challenged.borrow_and_update();
        let change = hub.0.table.lock().await.challenges_at(version);
        if change > reported {
            match hub.0.store.edge_shows(&name, change.unwrap_or_default(), Timestamp::now()).await {
                Ok(()) => {
                    reported = change;
                    hub.0.shown.notify_one();
                }
                Err(error) => {
                    tracing::warn!(%error, "what an edge shows can't be stored");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
        }
        let is_over = tokio::select! {
            changed = applied.changed() => changed.is_err(),
            changed = challenged.changed() => changed.is_err(),
        };
        if is_over {
            return;
        }
    }
}

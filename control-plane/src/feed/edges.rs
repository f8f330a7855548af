//! Edges that are connected, and what of them is known to every control plane: which challenges they show.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::id::EdgeId;
use common::route::FeedMessage;
use common::secret::Secret;
use common::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Hub;
use super::known::Kept;
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
    /// Which edge it is, whichever process runs it.
    pub(super) id: EdgeId,
    pub(super) messages: mpsc::Sender<FeedMessage>,
    applied: watch::Receiver<u64>,
    /// The version that it was seen to be behind of, and since when.
    behind: Mutex<(u64, Instant)>,
}

/// One edge's connection; disconnects when dropped.
pub struct Connection {
    hub: Hub,
    id: u64,
    name: String,
    edge: EdgeId,
    /// Whether the edge serves nobody any more.
    is_gone: bool,
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
        let is_first = self.hub.known().applied(&self.edge, self.id, version);
        if is_first {
            // Not before: until it has what was told here, another control plane may wait for it.
            self.hub.keep(self.edge.clone());
        }
    }

    /// The edge's process took its leave: nobody waits for it to come back; nor for the edge when it `is_gone` itself.
    pub async fn left(&mut self, is_gone: bool) {
        self.is_gone = is_gone;
        if let Err(error) = self.hub.0.store.remove_edge(&self.name).await {
            tracing::warn!(%error, "an edge that ended may be waited for");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.edges().remove(&self.id);
        self.hub.known().disconnect(&self.edge, self.id, self.is_gone);
        self.hub.keep(self.edge.clone());
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
    /// Connects an edge, known by the name of its process, and by its own id; the first message is the snapshot. One that
    /// does not say who it is is not waited for once it leaves.
    pub async fn connect(&self, name: Option<String>, edge: Option<EdgeId>) -> Connection {
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
        let (is_named, edge) = (edge.is_some(), edge.unwrap_or_else(EdgeId::new));
        let connected = Edge { name: name.clone(), id: edge.clone(), messages: sender, applied: seen.clone(), behind };
        self.edges().insert(id, connected);
        self.known().connect(edge.clone(), is_named, id);
        drop(table);
        tokio::spawn(report(self.clone(), name.clone(), seen));
        Connection { hub: self.clone(), id, name, edge, is_gone: false, messages, applied }
    }

    /// Has the database remember how it stands with an edge, without a wait: edges are told routes also when the
    /// database is away. What it does not learn costs at most a wait after the next start.
    pub(super) fn keep(&self, edge: EdgeId) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let this = self.clone();
        runtime.spawn(async move {
            let _turn = this.0.keeping.lock().await;
            let kept = this.known().kept(&edge);
            let (store, name) = (&this.0.store, &this.0.name);
            let done = match kept {
                Kept::Connected => store.put_known_edge(&edge, name).await,
                Kept::Silent => Ok(()),
                Kept::Left(at) => store.known_edge_left(&edge, name, at).await,
                Kept::Unknown => store.forget_known_edge(&edge, name).await,
            };
            if let Err(error) = done {
                tracing::warn!(%edge, %error, "how it stands with an edge is not remembered");
            }
        });
    }

    /// Forgets edges that left long ago.
    pub(crate) fn forget_edges(&self) {
        let gone = self.known().forget(Timestamp::now());
        gone.into_iter().for_each(|edge| self.keep(edge));
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

//! The route feed: the table of all routes, and the edges that follow it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::deployment::Kind;
use common::id::ProjectId;
use common::revision::RevisionStatus;
use common::route::{Change, Earlier, FeedMessage, Route, Snapshot, Target, default_policy};
use common::time::Timestamp;
use tokio::sync::{Mutex, mpsc, watch};

use crate::store::deployments::DeploymentRow;
use crate::store::{Store, StoreError};

/// How long an earlier deployment's fingerprinted files stay reachable under the project's address: a
/// visitor with the old page open still gets its chunks.
const EARLIER_ASSETS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most earlier deployments a route names; more than one flip an hour for a day.
const MAX_EARLIER: usize = 32;
/// Messages that wait for a slow edge; one that lags further is cut off and starts with a snapshot.
const EDGE_BACKLOG: usize = 256;
/// How long a flip waits for an edge to say that it applied it. A slower edge is told in the log.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes routes to the connected edges.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: Store,
    base_domain: String,
    table: Mutex<Table>,
    edges: std::sync::Mutex<HashMap<u64, Edge>>,
    next_edge: AtomicU64,
}

struct Table {
    version: u64,
    /// Routes by project, then host.
    projects: HashMap<ProjectId, BTreeMap<String, Route>>,
}

struct Edge {
    messages: mpsc::Sender<FeedMessage>,
    applied: watch::Receiver<u64>,
}

/// One edge's connection; disconnects when dropped.
pub struct Connection {
    hub: Hub,
    id: u64,
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
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hub.edges().remove(&self.id);
    }
}

impl Hub {
    /// The table as the database has it.
    pub async fn load(store: Store, base_domain: String) -> Result<Self, StoreError> {
        let version = store.next_route_version().await?;
        let mut by_project: HashMap<ProjectId, Vec<DeploymentRow>> = HashMap::new();
        for row in store.ready_deployments(None).await? {
            by_project.entry(row.project.clone()).or_default().push(row);
        }
        let projects = by_project.into_iter().map(|(id, rows)| (id, routes(&base_domain, &rows))).collect();
        Ok(Self(Arc::new(Inner {
            store,
            base_domain,
            table: Mutex::new(Table { version, projects }),
            edges: std::sync::Mutex::default(),
            next_edge: AtomicU64::new(1),
        })))
    }

    fn edges(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Edge>> {
        self.0.edges.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Connects an edge; the first message is the snapshot.
    pub async fn connect(&self) -> Connection {
        let table = self.0.table.lock().await;
        let routes = table.projects.values().flat_map(|p| p.values().cloned()).collect();
        let (sender, messages) = mpsc::channel(EDGE_BACKLOG);
        // The channel is new and empty, so this fits.
        let _ = sender.try_send(FeedMessage::Snapshot(Snapshot { version: table.version, routes, ..Snapshot::default() }));
        let (applied, seen) = watch::channel(0);
        let id = self.0.next_edge.fetch_add(1, Ordering::Relaxed);
        self.edges().insert(id, Edge { messages: sender, applied: seen });
        Connection { hub: self.clone(), id, messages, applied }
    }

    /// Reads a project's routes anew, tells the edges what changed, and returns when every connected
    /// edge has applied it.
    pub async fn refresh(&self, project: &ProjectId) -> Result<(), StoreError> {
        let mut table = self.0.table.lock().await;
        let new = routes(&self.0.base_domain, &self.0.store.ready_deployments(Some(project)).await?);
        let old = table.projects.get(project);
        let is_old = |route: &&Route| old.and_then(|o| o.get(&route.host)) == Some(route);
        let upsert: Vec<Route> = new.values().filter(|r| !is_old(r)).cloned().collect();
        let gone = old.into_iter().flat_map(BTreeMap::keys).filter(|host| !new.contains_key(*host));
        let remove: Vec<String> = gone.cloned().collect();
        if upsert.is_empty() && remove.is_empty() {
            return Ok(());
        }
        let version = self.0.store.next_route_version().await?;
        // Versions follow one another without gaps, or an edge asks for a new snapshot.
        table.version = version;
        if new.is_empty() {
            table.projects.remove(project);
        } else {
            table.projects.insert(project.clone(), new);
        }
        let message = FeedMessage::Delta { version, change: Change { upsert, remove, ..Change::default() } };
        let mut waits = Vec::new();
        self.edges().retain(|id, edge| match edge.messages.try_send(message.clone()) {
            Ok(()) => {
                waits.push((*id, edge.applied.clone()));
                true
            }
            Err(_) => {
                tracing::warn!(edge = id, version, "an edge lags too far behind and is disconnected");
                false
            }
        });
        drop(table);
        let all = futures::future::join_all(waits.into_iter().map(|(id, mut applied)| async move {
            let wait = applied.wait_for(|v| *v >= version);
            if tokio::time::timeout(APPLY_TIMEOUT, wait).await.is_err() {
                tracing::warn!(edge = id, version, "an edge did not apply new routes in time");
            }
        }));
        all.await;
        Ok(())
    }

    /// Every project that has routes.
    pub async fn projects(&self) -> Vec<ProjectId> {
        self.0.table.lock().await.projects.keys().cloned().collect()
    }
}

/// The routes of one project: its own address, and each ready deployment's.
fn routes(base_domain: &str, ready: &[DeploymentRow]) -> BTreeMap<String, Route> {
    let mut routes = BTreeMap::new();
    let now = Timestamp::now();
    for row in ready {
        let mut add = |label: &str, production: bool, target: Target| {
            let host = format!("{label}.{base_domain}");
            let project = row.project_name.to_string();
            routes.insert(host.clone(), Route { host, project, deployment: row.id.clone(), production, target, policy: default_policy() });
        };
        match row.kind {
            Some(Kind::Node) => {
                add(&row.label, false, app(row));
                if row.live {
                    add(row.project_name.as_str(), true, app(row));
                }
            }
            _ => {
                add(&row.label, false, Target::Static { earlier: Vec::new() });
                if row.live {
                    add(row.project_name.as_str(), true, Target::Static { earlier: earlier(row, ready, now) });
                }
            }
        }
    }
    routes
}

/// Static deployments that were live within the last days, newest first.
fn earlier(live: &DeploymentRow, ready: &[DeploymentRow], now: Timestamp) -> Vec<Earlier> {
    let was_live = |row: &DeploymentRow| {
        let until = row.live_until?.after(EARLIER_ASSETS);
        (row.id != live.id && row.kind == Some(Kind::Static) && until > now)
            .then(|| Earlier { deployment: row.id.clone(), until })
    };
    let mut found: Vec<Earlier> = ready.iter().filter_map(was_live).collect();
    found.sort_by_key(|e| std::cmp::Reverse(e.until));
    found.truncate(MAX_EARLIER);
    found
}

fn app(row: &DeploymentRow) -> Target {
    let (unavailable, wakes) = match &row.revision {
        Some(RevisionStatus::Running { endpoint, .. }) => {
            return Target::App { upstreams: vec![*endpoint], unavailable: None, wakes: false };
        }
        Some(RevisionStatus::Restarting { .. }) => ("The app ended unexpectedly and is being restarted.", false),
        Some(RevisionStatus::Starting | RevisionStatus::Stopped) | None => ("The app is starting.", true),
    };
    Target::App { upstreams: Vec::new(), unavailable: Some(unavailable.to_owned()), wakes }
}

//! The route feed: the table of everything that edges are told, and the edges that follow it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use common::certificate::{Challenge, TicketKey};
use common::id::ProjectId;
use common::route::{Change, FeedMessage, Purge};
use common::time::Timestamp;
use tokio::sync::{Mutex, Notify, watch};

use crate::certificates::Certificates;
use crate::policies::Policies;
use crate::store::deployments::DeploymentRow;
use crate::store::{Store, StoreError};

mod edges;
mod routes;
mod table;

use edges::Edge;
use table::Table;

/// Bits of a version that count changes since the start; those above count starts.
const CHANGES: u32 = 32;
/// How long a change waits for an edge to say that it applied it. A slower edge is told in the log.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Publishes routes, certificates, challenges and keys to the connected edges.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    store: Store,
    base_domain: String,
    policies: Policies,
    certificates: Certificates,
    table: Mutex<Table>,
    edges: std::sync::Mutex<HashMap<u64, Edge>>,
    next_edge: AtomicU64,
    /// The last change of challenges that edges were told.
    challenged: watch::Sender<i64>,
    /// Hears that an edge shows more challenges.
    shown: Arc<Notify>,
}

/// How a change arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Edges that applied it.
    pub edges: usize,
    /// Edges that did not in time, or lagged too far behind to be told: they get it with a later snapshot.
    pub late: usize,
}

/// A change that edges were told.
#[derive(Default)]
struct Told {
    version: u64,
    waits: Vec<(u64, watch::Receiver<u64>)>,
    /// Edges that lagged too far behind to be told.
    lost: usize,
}

impl Told {
    /// Waits until every edge that was told has applied it.
    async fn arrived(self) -> Arrived {
        let version = self.version;
        let all = futures::future::join_all(self.waits.into_iter().map(|(id, mut applied)| async move {
            let applied = tokio::time::timeout(APPLY_TIMEOUT, applied.wait_for(|v| *v >= version)).await;
            if applied.is_err() {
                tracing::warn!(edge = id, version, "an edge did not apply a change in time");
            }
            matches!(applied, Ok(Ok(_)))
        }));
        let all = all.await;
        let edges = all.iter().filter(|applied| **applied).count();
        Arrived { edges, late: self.lost + all.len() - edges }
    }
}

impl Hub {
    /// The table as the database has it, without what authorities ask for and issue: [`crate::issuing`] tells that.
    pub async fn load(
        store: Store,
        base_domain: String,
        policies: Policies,
        certificates: Certificates,
        ticket_keys: Vec<TicketKey>,
        shown: Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let mut table = Table::default();
        // Greater than all before, without a gap from here on, and without a write for each change.
        table.version = store.next_start().await? << CHANGES;
        table.ticket_keys = ticket_keys;
        let mut by_project: HashMap<ProjectId, Vec<DeploymentRow>> = HashMap::new();
        for row in store.ready_deployments(None).await? {
            by_project.entry(row.project.clone()).or_default().push(row);
        }
        let mut said = store.policies().await?;
        let now = Timestamp::now();
        for (id, rows) in by_project {
            let policy = policies.effective(said.remove(&id).as_deref())?;
            // Nobody is told: whoever connects gets the snapshot.
            table.replace(&id, routes::routes(&base_domain, &rows, &policy), |host| certificates.id(host, now));
        }
        let table = Mutex::new(table);
        let (edges, next_edge) = (std::sync::Mutex::default(), AtomicU64::new(1));
        let challenged = watch::channel(0).0;
        Ok(Self(Arc::new(Inner {
            store,
            base_domain,
            policies,
            certificates,
            table,
            edges,
            next_edge,
            challenged,
            shown,
        })))
    }

    fn edges(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Edge>> {
        self.0.edges.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the table and tells the edges what changed; nothing when nothing changed.
    fn tell(&self, table: &mut Table, change: impl FnOnce(&mut Table) -> Change) -> Told {
        let change = change(table);
        if change == Change::default() {
            return Told { version: table.version, ..Told::default() };
        }
        table.version += 1;
        let version = table.version;
        let mut told = Told { version, ..Told::default() };
        let message = FeedMessage::Delta { version, change };
        self.edges().retain(|id, edge| match edge.messages.try_send(message.clone()) {
            Ok(()) => {
                told.waits.push((*id, edge.applied.clone()));
                true
            }
            Err(_) => {
                tracing::warn!(edge = id, version, "an edge lags too far behind and is disconnected");
                told.lost += 1;
                false
            }
        });
        told
    }

    /// Changes the table, tells the edges what changed, and returns when every connected edge has applied it.
    async fn publish(&self, change: impl FnOnce(&mut Table) -> Change) -> Arrived {
        let told = self.tell(&mut *self.0.table.lock().await, change);
        told.arrived().await
    }

    /// Reads a project's routes anew, tells the edges what changed, and returns when every connected
    /// edge has applied it.
    pub async fn refresh(&self, project: &ProjectId) -> Result<(), StoreError> {
        let inner = &self.0;
        // Locked before the rows are read, so that older rows never replace newer ones.
        let mut table = inner.table.lock().await;
        let ready = inner.store.ready_deployments(Some(project)).await?;
        let policy = inner.policies.effective(inner.store.policy(project).await?.as_deref())?;
        let new = routes::routes(&inner.base_domain, &ready, &policy);
        let now = Timestamp::now();
        let told = self.tell(&mut table, |table| table.replace(project, new, |host| inner.certificates.id(host, now)));
        drop(table);
        told.arrived().await;
        Ok(())
    }

    /// Sets which proofs of control edges show, which is the change `change` of them. Edges report by themselves when
    /// they show them.
    pub async fn set_challenges(&self, change: i64, challenges: Vec<Challenge>) {
        let mut table = self.0.table.lock().await;
        self.tell(&mut table, |table| Change { challenges: table.challenge(challenges), ..Change::default() });
        table.mark_challenges(change);
        drop(table);
        self.0.challenged.send_replace(change);
    }

    /// Gives names other certificates of ACME authorities, or none.
    pub async fn issue(&self, news: Vec<(String, Option<String>)>, now: Timestamp) {
        let mut table = self.0.table.lock().await;
        self.tell(&mut table, |table| table.issue(news, |host| self.0.certificates.id(host, now)));
    }

    /// Sets the keys of session tickets.
    pub async fn set_ticket_keys(&self, keys: Vec<TicketKey>) -> Arrived {
        self.publish(|table| {
            if table.ticket_keys == keys {
                return Change::default();
            }
            table.ticket_keys.clone_from(&keys);
            Change { ticket_keys: Some(keys), ..Change::default() }
        })
        .await
    }

    /// Gives every host the certificate that it should have now.
    pub async fn renew_certificates(&self, now: Timestamp) -> Arrived {
        self.publish(|table| {
            let certificates = table.certify_all(|host| self.0.certificates.id(host, now));
            Change { certificates, ..Change::default() }
        })
        .await
    }

    /// Makes edges forget kept answers, and returns when every connected edge has.
    pub async fn purge(&self, purge: Purge) -> Arrived {
        self.publish(|_| Change { purges: vec![purge], ..Change::default() }).await
    }

    /// The host that a certificate is for now.
    pub async fn host_of(&self, certificate: &str) -> Option<String> {
        self.0.table.lock().await.host_of(certificate).map(str::to_owned)
    }

    /// Every project that has routes.
    pub async fn projects(&self) -> Vec<ProjectId> {
        self.0.table.lock().await.projects().cloned().collect()
    }

    /// Whether a host is a project's.
    pub async fn has_host(&self, project: &ProjectId, host: &str) -> bool {
        self.0.table.lock().await.hosts(project).any(|known| known == host)
    }
}

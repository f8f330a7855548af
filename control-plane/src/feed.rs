//! The route feed: the table of everything that edges are told, and the edges that follow it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::certificate::{Challenge, TicketKey};
use common::id::{EdgeId, ProjectId};
use common::route::{Change, FeedMessage, Purge};
use common::time::Timestamp;
use tokio::sync::{Mutex, Notify, watch};

use crate::certificates::Certificates;
use crate::policies::Policies;
use crate::store::control_planes::ControlPlaneRow;
use crate::store::deployments::DeploymentRow;
use crate::store::domains::DomainRow;
use crate::store::edges::LateEdges;
use crate::store::{Store, StoreError};

mod edges;
mod follow;
mod known;
mod others;
mod routes;
mod table;

use edges::Edge;
use follow::Followed;
pub(crate) use known::LONGEST_WAIT;
use known::{Known, Wait};
use others::{Elsewhere, Others};
use table::Table;

/// Bits of a version that count changes since the start; those above count starts.
const CHANGES: u32 = 32;

/// Publishes routes, certificates, challenges and keys to the connected edges.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    /// Which control plane this is.
    name: String,
    store: Store,
    base_domain: String,
    policies: Policies,
    certificates: Certificates,
    table: Mutex<Table>,
    edges: std::sync::Mutex<HashMap<u64, Edge>>,
    next_edge: AtomicU64,
    /// Edges by what they say they are, also those that have left.
    known: std::sync::Mutex<Known>,
    followed: Followed,
    others: Others,
    /// Taken while the database is told how it stands with an edge, so that the last word is the newest.
    keeping: Mutex<()>,
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
    /// Edges that did not in time, are away, or lagged too far behind to be told: they get it with a later snapshot.
    pub late: usize,
}

/// A version that edges were told.
struct Told {
    version: u64,
    waits: Vec<Wait>,
    /// Edges that lagged too far behind to be told, and are not known any more.
    lost: usize,
}

impl Told {
    /// Waits until every edge that hangs here has applied it, or is late; gives which are.
    async fn arrived_here(self) -> (Arrived, Vec<EdgeId>) {
        let version = self.version;
        let each = self.waits.into_iter().map(async |wait| (wait.edge.clone(), wait.applied(version).await));
        let (mut edges, mut late) = (0, Vec::new());
        for (edge, applied) in futures::future::join_all(each).await {
            match applied {
                Some(true) => edges += 1,
                Some(false) => late.push(edge),
                None => {}
            }
        }
        (Arrived { edges, late: self.lost + late.len() }, late)
    }
}

impl Hub {
    /// The table as the database has it, without what authorities ask for and issue: [`crate::issuing`] tells that.
    pub async fn load(
        name: String,
        store: Store,
        base_domain: String,
        policies: Policies,
        certificates: Certificates,
        ticket_keys: Vec<TicketKey>,
        shown: Arc<Notify>,
    ) -> Result<Self, StoreError> {
        let now = Timestamp::now();
        let known = others::known(&store, &name, now).await?;
        // Said before anything is read: what changes from then on is told to this one.
        let change = store.numbers().await?.routes;
        let row = ControlPlaneRow { id: name.clone(), seen_at: now, edges: 0, told: change, behind: Vec::new() };
        store.put_control_plane(&row).await?;
        let change = store.numbers().await?.routes;
        let mut table = Table::default();
        // Greater than all before, without a gap from here on, and without a write for each change.
        table.version = store.next_start().await? << CHANGES;
        table.ticket_keys = ticket_keys;
        let mut by_project: HashMap<ProjectId, Vec<DeploymentRow>> = HashMap::new();
        for row in store.ready_deployments(None).await? {
            by_project.entry(row.project.clone()).or_default().push(row);
        }
        let mut domains: HashMap<ProjectId, Vec<DomainRow>> = HashMap::new();
        for row in store.served_domains(None).await? {
            domains.entry(row.project.clone()).or_default().push(row);
        }
        let mut said = store.policies().await?;
        for (id, rows) in by_project {
            let policy = policies.effective(said.remove(&id).as_deref())?;
            // Nobody is told: whoever connects gets the snapshot.
            let domains = domains.remove(&id).unwrap_or_default();
            table.replace(&id, routes::routes(&base_domain, &rows, &domains, &policy), |host| {
                certificates.id(host, now)
            });
        }
        table.mark_routes(change);
        let (followed, others) = (Followed::new(change, table.version), Others::new(change));
        let table = Mutex::new(table);
        let (edges, next_edge) = (std::sync::Mutex::default(), AtomicU64::new(1));
        let known = std::sync::Mutex::new(known);
        let challenged = watch::channel(0).0;
        Ok(Self(Arc::new(Inner {
            name,
            store,
            base_domain,
            policies,
            certificates,
            table,
            edges,
            next_edge,
            known,
            followed,
            others,
            keeping: Mutex::default(),
            challenged,
            shown,
        })))
    }

    fn edges(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Edge>> {
        self.0.edges.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What a project's routes wait for, when not every edge has applied them.
    pub(crate) async fn waits_for(&self, project: &ProjectId) -> Option<String> {
        let version = self.0.table.lock().await.told(project);
        self.known().behind(version, None)
    }

    /// Which of the edges that were late with a change are behind it still.
    pub(crate) async fn still_late(&self, late: &LateEdges) -> Result<Option<String>, StoreError> {
        let version = {
            let table = self.0.table.lock().await;
            let is_own = table.version >> CHANGES == late.version >> CHANGES;
            if is_own { late.version } else { table.version_with(late.change) }
        };
        let here = self.known().behind(version, Some(&late.edges));
        if here.is_some() || !self.has_others() {
            return Ok(here);
        }
        let elsewhere = self.others().await?.into_iter().flat_map(|row| row.behind);
        let mut behind = elsewhere.filter(|edge| edge.applied < late.change && late.edges.contains(&edge.edge));
        Ok(behind.next().map(|edge| known::late(&edge.edge, edge.left)))
    }

    /// Changes the table and tells the edges what changed; nothing when nothing changed.
    fn tell(&self, table: &mut Table, change: impl FnOnce(&mut Table) -> Change) -> Told {
        let change = change(table);
        let mut lost = 0;
        if change != Change::default() {
            table.version += 1;
            let version = table.version;
            let message = FeedMessage::Delta { version, change };
            self.edges().retain(|line, edge| {
                let is_told = edge.messages.try_send(message.clone()).is_ok();
                if !is_told {
                    tracing::warn!(edge = %edge.id, version, "an edge lags too far behind and is disconnected");
                    lost += usize::from(!self.known().disconnect(&edge.id, *line, false));
                }
                is_told
            });
        }
        // Also when nothing changed: edges may not have applied yet what they were told before.
        Told { version: table.version, waits: self.known().waits(), lost }
    }

    /// Changes the table, tells the edges that hang here what changed, and returns when every one has applied it, or is
    /// late.
    async fn publish(&self, change: impl FnOnce(&mut Table) -> Change) -> Arrived {
        let told = self.tell(&mut *self.0.table.lock().await, change);
        told.arrived_here().await.0
    }

    /// Reads a project's routes anew, tells the edges what changed, and returns when every edge has applied it, or is
    /// late; gives which are.
    pub async fn refresh(&self, project: &ProjectId) -> Result<LateEdges, StoreError> {
        let ((), change, told) = self.told_after(&[project], std::future::ready(Ok(()))).await?;
        Ok(self.arrived(change, told).await?.1)
    }

    /// The same for several projects in one change of the table, after what `write` changes of their rows. A host that
    /// moves from one to another always has a route, when the one that loses it comes first.
    pub async fn refresh_after<T>(
        &self,
        projects: &[&ProjectId],
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let (written, change, told) = self.told_after(projects, write).await?;
        self.arrived(change, told).await?;
        Ok(written)
    }

    /// Reads a project's routes anew and tells the edges that hang here what changed, without a wait until they have
    /// applied it. Others hear nothing: they know by themselves what the time or another one changed.
    pub async fn announce(&self, project: &ProjectId) -> Result<(), StoreError> {
        let mut table = self.0.table.lock().await;
        self.read_again(&mut table, &[project]).await.map(drop)
    }

    /// Waits until every edge has a change, or is late; gives which are.
    async fn arrived(&self, change: i64, told: Told) -> Result<(Arrived, LateEdges), StoreError> {
        let version = told.version;
        let ((mut arrived, mut edges), elsewhere) = tokio::join!(told.arrived_here(), self.arrived_elsewhere(change));
        let Elsewhere { arrived: theirs, late, is_one_lost } = elsewhere?;
        if is_one_lost {
            // Its edges are this control plane's to wait for, or another's that says of them that they are behind.
            self.inherit().await?;
            let waits = self.known().waits();
            (arrived, edges) = Told { version, waits, lost: 0 }.arrived_here().await;
        }
        arrived.edges += theirs.edges;
        arrived.late += theirs.late;
        edges.extend(late);
        Ok((arrived, LateEdges { version, change, edges }))
    }

    /// Notes a change of projects' routes, tells it to the edges that hang here, and gives its number.
    async fn told_after<T>(
        &self,
        projects: &[&ProjectId],
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(T, i64, Told), StoreError> {
        let inner = &self.0;
        // Locked before the rows are written and read, so that older rows never replace newer ones, and nobody else
        // reads the rows of one project before those of the other.
        let mut table = inner.table.lock().await;
        let written = write.await?;
        // Before they are read: whoever reads them after this number reads at least this.
        let change = inner.store.note_routes(projects).await?;
        let told = self.read_again(&mut table, projects).await?;
        inner.followed.made(change);
        Ok((written, change, told))
    }

    /// Reads projects' routes anew, and tells the edges that hang here what changed.
    async fn read_again(&self, table: &mut Table, projects: &[&ProjectId]) -> Result<Told, StoreError> {
        let inner = &self.0;
        let mut new = Vec::with_capacity(projects.len());
        for project in projects {
            let ready = inner.store.ready_deployments(Some(project)).await?;
            let policy = inner.policies.effective(inner.store.policy(project).await?.as_deref())?;
            let domains = inner.store.served_domains(Some(project)).await?;
            new.push((*project, routes::routes(&inner.base_domain, &ready, &domains, &policy)));
        }
        let now = Timestamp::now();
        let told = self.tell(table, |table| {
            let changes = new
                .into_iter()
                .map(|(project, routes)| table.replace(project, routes, |host| inner.certificates.id(host, now)));
            changes.reduce(table::joined).unwrap_or_default()
        });
        for project in projects {
            table.set_told(project, told.version);
        }
        Ok(told)
    }

    /// Id of the certificate that edges serve for a name.
    pub async fn certificate_of(&self, name: &str) -> Option<String> {
        self.0.table.lock().await.served_for(name).cloned()
    }

    /// Whether hosts without a certificate of an ACME authority have one of the development authority.
    pub fn certifies(&self) -> bool {
        self.0.certificates.authority_pem().is_some()
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

    /// Makes edges forget kept answers, and returns when every edge has, or is late.
    pub async fn purge(&self, purge: Purge) -> Result<Arrived, StoreError> {
        let mut table = self.0.table.lock().await;
        let change = self.0.store.note_purge(&purge, Timestamp::now()).await?;
        let told = self.tell(&mut table, |_| Change { purges: vec![purge], ..Change::default() });
        self.0.followed.made(change);
        drop(table);
        Ok(self.arrived(change, told).await?.0)
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
        let covers = |known: &str| {
            known.strip_prefix('*').is_some_and(|domain| {
                host.strip_suffix(domain).is_some_and(|label| !label.is_empty() && !label.contains('.'))
            })
        };
        self.0.table.lock().await.hosts(project).any(|known| known == host || covers(known))
    }
}

//! Other control planes of the installation: each says in the database how far its edges are, so that a change can wait
//! for all edges, on whichever they hang. Edges of one that is gone are waited for by another.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::api;
use common::id::EdgeId;
use common::time::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::known::{Known, LONGEST_WAIT as FOR_AN_EDGE};
use super::{Arrived, Hub};
use crate::store::StoreError;
use crate::store::control_planes::{Behind, ControlPlaneRow};

/// Pause between two words of a control plane.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// How long one that says nothing is believed to be there: three words may be lost, and a short wait for the database.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Pause between two looks at how far others are, for whoever waits.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for others: each waits for its edges, and one that dies meanwhile leaves them to another.
const LONGEST_WAIT: Duration = Duration::from_secs(FOR_AN_EDGE.as_secs() + 2 * GONE_AFTER.as_secs());

/// What is known of other control planes.
pub(super) struct Others {
    /// Whether there are some, as far as is known.
    are_there: AtomicBool,
    /// The change up to which all edges that hang here have everything, or are behind.
    arrived: AtomicI64,
    said: Mutex<Option<Instant>>,
}

impl Others {
    pub(super) fn new(arrived: i64) -> Self {
        Self { are_there: AtomicBool::new(false), arrived: AtomicI64::new(arrived), said: Mutex::default() }
    }
}

/// How a change arrived at the edges of others.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    pub(super) arrived: Arrived,
    pub(super) late: Vec<EdgeId>,
    /// Whether a control plane died before its edges had the change.
    pub(super) is_one_lost: bool,
}

impl Hub {
    /// Whether there are other control planes.
    pub(crate) fn has_others(&self) -> bool {
        self.0.others.are_there.load(Ordering::Acquire)
    }

    /// All control planes that are there, this one among them.
    async fn all(&self) -> Result<Vec<ControlPlaneRow>, StoreError> {
        let mut all = self.0.store.control_planes().await?;
        let since = Timestamp::now().before(GONE_AFTER);
        all.retain(|row| row.seen_at >= since);
        Ok(all)
    }

    /// All control planes, for people.
    pub(crate) async fn company(&self) -> Result<Vec<api::ControlPlane>, StoreError> {
        let show =
            |row: ControlPlaneRow| api::ControlPlane { name: row.id, edges: row.edges, behind: row.behind.len() };
        Ok(self.all().await?.into_iter().map(show).collect())
    }

    /// The other control planes.
    pub(super) async fn others(&self) -> Result<Vec<ControlPlaneRow>, StoreError> {
        let mut all = self.all().await?;
        all.retain(|row| row.id != self.0.name);
        Ok(all)
    }

    /// Returns once the edges of every other control plane have a change, or are late.
    pub(super) async fn arrived_elsewhere(&self, change: i64) -> Result<Elsewhere, StoreError> {
        let until = Instant::now() + LONGEST_WAIT;
        let mut waited_for: Option<Vec<String>> = None;
        let mut is_one_lost = false;
        loop {
            // Read after the change was written: one that is not there yet begins with the change.
            let mut others = self.0.store.control_planes().await?;
            others.retain(|row| row.id != self.0.name);
            let since = Timestamp::now().before(GONE_AFTER);
            let waited_for = waited_for.get_or_insert_with(|| others.iter().map(|row| row.id.clone()).collect());
            is_one_lost |= others.iter().any(|row| row.seen_at < since);
            is_one_lost |= waited_for.iter().any(|id| !others.iter().any(|row| row.id == *id));
            others.retain(|row| row.seen_at >= since);
            if others.iter().all(|row| row.told >= change) || Instant::now() > until {
                let mut all = Elsewhere { is_one_lost, ..Elsewhere::default() };
                for row in others {
                    let before = all.late.len();
                    let late = row.behind.into_iter().filter(|edge| edge.applied < change).map(|edge| edge.edge);
                    all.late.extend(late);
                    all.arrived.edges += row.edges.saturating_sub(all.late.len() - before);
                }
                all.arrived.late = all.late.len();
                return Ok(all);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes over the edges of control planes that are gone.
    pub(super) async fn inherit(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let inherited = self.0.store.inherit_edges(&self.0.name, now.before(GONE_AFTER), now).await?;
        if !inherited.is_empty() {
            self.known().inherit(inherited);
            self.say().await?;
        }
        Ok(())
    }

    /// Says how this control plane's edges are.
    async fn say(&self) -> Result<(), StoreError> {
        let (behind, edges) = {
            let table = self.0.table.lock().await;
            let known = self.known();
            let behind = known.behind_of(table.version).into_iter().map(|(edge, version, left)| Behind {
                edge,
                applied: table.routes_at(version).unwrap_or_default(),
                left,
            });
            (behind.collect(), known.connected())
        };
        let told = self.0.others.arrived.load(Ordering::Acquire);
        let row = ControlPlaneRow { id: self.0.name.clone(), seen_at: Timestamp::now(), edges, told, behind };
        self.0.store.put_control_plane(&row).await
    }

    /// Looks who else is there, and says that this one is; to be called again and again.
    pub(crate) async fn keep_company(&self) -> Result<(), StoreError> {
        let are_there = !self.others().await?.is_empty();
        // One that has just come waits for what is told here.
        let is_news = !self.0.others.are_there.swap(are_there, Ordering::AcqRel) && are_there;
        let since = {
            let said = self.0.others.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.map(|at| at.elapsed())
        };
        if !is_news && since.is_some_and(|since| since < SAY_EVERY) {
            return self.part_with_edges().await;
        }
        self.say().await?;
        *self.0.others.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if since.is_some_and(|since| since > GONE_AFTER) {
            // It was taken for dead, and its edges are another's to wait for.
            let here = self.known().named();
            here.into_iter().for_each(|edge| self.keep(edge));
        }
        self.inherit().await?;
        self.part_with_edges().await
    }

    /// Edges that left and hang on another control plane by now are its to wait for.
    async fn part_with_edges(&self) -> Result<(), StoreError> {
        if self.has_others() && self.known().has_left() {
            let theirs = self.0.store.edges_of_others(&self.0.name).await?;
            self.known().part_with(&theirs);
        }
        Ok(())
    }

    /// Tells others how far this control plane's edges are, whenever that changes, until `stop`.
    pub(crate) async fn say_what_arrived(self, stop: CancellationToken) {
        let mut told = self.0.followed.told.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = told.changed() => if changed.is_err() { return },
            }
            let (change, version) = *told.borrow_and_update();
            let waits = self.known().waits();
            tokio::select! {
                () = stop.cancelled() => return,
                _ = futures::future::join_all(waits.into_iter().map(|wait| wait.applied(version))) => {}
            }
            self.0.others.arrived.store(change, Ordering::Release);
            if self.has_others()
                && let Err(error) = self.say().await
            {
                tracing::warn!(%error, "others wait for this control plane's edges until the database is back");
            }
        }
    }

    /// Takes leave of the other control planes.
    pub(crate) async fn leave_company(&self) {
        if let Err(error) = self.0.store.control_plane_leaves(&self.0.name).await {
            tracing::warn!(%error, "others wait for this control plane's edges for a while");
        }
    }
}

/// The edges that a control plane knows when it starts: its own of before, and those of control planes that are gone.
pub(super) async fn known(store: &crate::store::Store, name: &str, now: Timestamp) -> Result<Known, StoreError> {
    store.inherit_edges(name, now.before(GONE_AFTER), now).await?;
    Ok(Known::remembered(store.known_edges(name).await?, now))
}

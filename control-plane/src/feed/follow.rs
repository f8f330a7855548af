//! What other control planes changed of routes, told to the edges that hang on this one.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::route::Change;
use tokio::sync::watch;

use super::Hub;
use crate::store::StoreError;

/// How far this control plane's edges were told of changes of routes.
pub(super) struct Followed {
    /// Changes that this control plane made itself, and told.
    own: Mutex<BTreeSet<i64>>,
    /// The change up to which everything was told, and the version that has it.
    pub(super) told: watch::Sender<(i64, u64)>,
}

impl Followed {
    /// Everything is told up to a change, at a version.
    pub(super) fn new(change: i64, version: u64) -> Self {
        Self { own: Mutex::default(), told: watch::Sender::new((change, version)) }
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change that this control plane makes itself. It may be told twice when this comes late.
    pub(super) fn made(&self, change: i64) {
        self.own().insert(change);
    }
}

impl Hub {
    /// Tells edges what has changed up to this change, whoever changed it.
    pub(crate) async fn catch_up(&self, newest: i64) -> Result<(), StoreError> {
        let (inner, followed) = (&self.0, &self.0.followed);
        let (told, _) = *followed.told.borrow();
        if newest == told {
            return Ok(());
        }
        let is_own = |change: &i64| followed.own().contains(change);
        for (project, _) in inner.store.changed_routes(told).await?.into_iter().filter(|(_, change)| !is_own(change)) {
            self.announce(&project).await?;
        }
        for (purge, _) in inner.store.purges(told).await?.into_iter().filter(|(_, change)| !is_own(change)) {
            let mut table = inner.table.lock().await;
            self.tell(&mut table, |_| Change { purges: vec![purge], ..Change::default() });
        }
        // Whoever makes a change of its own holds this lock from before it has its number until it is told.
        let mut table = inner.table.lock().await;
        table.mark_routes(newest);
        let version = table.version;
        drop(table);
        followed.own().retain(|change| *change > newest);
        followed.told.send_replace((newest, version));
        Ok(())
    }
}

//! Leases: who works on an entry, and how it is changed by others.

use std::time::Duration;

use common::secret::Secret;

use super::{Manager, ManagerError};
use crate::entry::Entry;
use crate::store::{Lease, StoreError};

/// How long a lease counts without being extended, unless it is said. So long a dead process's order rests.
pub const LEASE: Duration = Duration::from_secs(30);
/// A lease is extended so many times before it would end, while its name is worked on: all but one may fail.
const EXTENSIONS: u32 = 3;

/// How an entry that is changed is held meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nobody may be working on it.
    Free,
    /// Whatever is worked on is of no use any more.
    Seized,
}

impl Manager {
    /// Gives back what this process holds, so that the next need not wait for it. Nothing may be worked on any more.
    ///
    /// # Errors
    /// When the store failed; what is held is free in half a minute then.
    pub async fn release(&self) -> Result<(), ManagerError> {
        Ok(self.store.release_all(&self.holder).await?)
    }

    /// Extends the lease on a name again and again; ends when it is lost. While the store is away the work goes on: at the
    /// worst another does the same step too.
    pub(super) async fn keep_lease(&self, name: &str) -> StoreError {
        loop {
            tokio::time::sleep(self.lease / EXTENSIONS).await;
            match self.lease(name).await {
                Ok(true) => {}
                Ok(false) => return StoreError::LeaseLost(name.to_owned()),
                Err(error) => tracing::warn!(name, %error, "the lease on a certificate's order can't be extended"),
            }
        }
    }

    pub(super) fn lease_on<'a>(&'a self, name: &'a str) -> Lease<'a> {
        let now = self.clock.now();
        Lease { name, holder: &self.holder, now, until: now.after(self.lease) }
    }

    pub(super) async fn lease(&self, name: &str) -> Result<bool, StoreError> {
        self.store.lease(&self.lease_on(name)).await
    }

    pub(super) async fn save(&self, entry: &Entry) -> Result<(), StoreError> {
        self.store.save(entry, &self.lease_on(entry.name())).await
    }

    /// Changes an entry, whose order is given up for that.
    pub(super) async fn change(
        &self,
        name: &str,
        hold: Hold,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), ManagerError> {
        if self.store.entry(name).await?.is_none() {
            return Err(ManagerError::Unknown(name.to_owned()));
        }
        // Not our own lease: a change must not slip under work that goes on in this process.
        let holder = Secret::random("change-");
        let now = self.clock.now();
        let lease = Lease { name, holder: holder.reveal(), now, until: now.after(self.lease) };
        let has_it = match hold {
            Hold::Free => self.store.lease(&lease).await?,
            Hold::Seized => self.store.seize(&lease).await?,
        };
        if !has_it {
            return Err(ManagerError::Busy(name.to_owned()));
        }
        let changed = async {
            let entry = self.store.entry(name).await?;
            let mut entry = entry.ok_or_else(|| ManagerError::Unknown(name.to_owned()))?;
            // An order for other names than are wanted is of no use.
            if let Some(order) = entry.order.take()
                && let Some(issuer) = self.issuer(&order.authority, order.rehearsal)
                && let Err(error) = issuer.give_up(&order).await
            {
                tracing::warn!(name, %error, "proofs of an order that was given up may still be shown");
            }
            change(&mut entry);
            Ok(self.store.save(&entry, &lease).await?)
        };
        let changed = changed.await;
        self.store.release(name, holder.reveal()).await?;
        changed
    }
}

//! The engine: brings every wanted certificate about, keeps it good, and says how it stands.
//!
//! What it knows is in the [`Store`], so any number of managers may run, in any number of processes; a lease lets one
//! of them work on a name at a time. The order of a process that died is taken up by the next when its lease is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::secret::{KeyRing, Secret, SecretError};
use common::time::Timestamp;
use futures::StreamExt as _;
use tokio::sync::{Notify, broadcast};

use crate::challenge::Method;
use crate::clock::Clock;
use crate::entry::{Entry, MAX_NAMES, Order, Revocation, RevocationReason, Track};
use crate::failure::Failure;
use crate::issuer::{Advance, Issuer, Wanted};
use crate::limits::Limits;
use crate::store::{Store, StoreError};

mod choice;
mod hold;
mod names;
mod outcome;
mod reseal;

use hold::Hold;
pub use hold::LEASE;

/// Longest time of one step of an order, with the wait for every edge in it.
pub const STEP_LIMIT: Duration = Duration::from_secs(90);
/// Names that are worked on at once in a process: an order mostly waits.
const AT_ONCE: usize = 32;
/// Names that are fetched at once.
const BATCH: usize = 256;
/// Longest sleep, should nobody wake us: another process may have added names.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// Wait after the store failed.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// Most steps in one go, against an authority that leads us in circles.
const MAX_STEPS: u32 = 64;
/// News that may wait for a slow listener, who is told when some are lost.
const NEWS: usize = 1024;

/// One authority in order: who issues, and within which limits.
pub struct Line {
    /// The authority's id.
    pub authority: String,
    /// Who issues.
    pub issuer: Arc<dyn Issuer>,
    /// What it limits.
    pub limits: Limits,
    /// Its staging side, where an attempt is rehearsed after failures.
    pub rehearsal: Option<Arc<dyn Issuer>>,
}

/// A certificate that was stored, as listeners hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The entry's name.
    pub name: String,
    /// The certificate's id.
    pub id: String,
}

/// Why something asked of the manager can't be done.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key can't be opened.
    #[error(transparent)]
    Sealed(#[from] SecretError),
    /// No certificate can have these names.
    #[error("a certificate needs 1 to {MAX_NAMES} names in lower case, each once, and a way to prove each: {0}")]
    Names(String),
    /// There is no such entry.
    #[error("no certificate is wanted for {0}")]
    Unknown(String),
    /// It is being worked on: try again in some seconds.
    #[error("the certificate of {0} is being worked on; try again in some seconds")]
    Busy(String),
}

/// The engine.
pub struct Manager {
    store: Arc<dyn Store>,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
    lines: Vec<Line>,
    /// Another text for each process, so that leases tell them apart.
    holder: String,
    lease: Duration,
    /// Authorities that are out of order, and until when they are not asked.
    down: Mutex<HashMap<String, choice::Outage>>,
    /// Held while buckets are changed: within a process nobody need try twice.
    buckets: tokio::sync::Mutex<()>,
    wake: Notify,
    news: broadcast::Sender<News>,
}

impl Manager {
    /// An engine that asks the authorities in the order of `lines`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, keys: KeyRing, clock: Arc<dyn Clock>, lines: Vec<Line>) -> Self {
        Self {
            store,
            keys,
            clock,
            lines,
            holder: Secret::random("manager-").reveal().to_owned(),
            lease: LEASE,
            down: Mutex::default(),
            buckets: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            news: broadcast::channel(NEWS).0,
        }
    }

    /// This engine, whose leases count for so long without being extended: so long an order rests whose process died.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Hears of each certificate once it is stored. A listener that falls behind is told so, and reads the store.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Wants a certificate from now on. The names must be the caller's, in lower case (A-labels), and be in no other
    /// entry; the first is the entry's name. Wanting the same again changes nothing; other names or methods under the
    /// same first name are taken over, and a certificate that does not cover them is replaced.
    ///
    /// # Errors
    /// When no certificate can have these names, the entry is being worked on, or the store failed.
    pub async fn want(&self, names: Vec<String>, methods: Vec<Method>) -> Result<(), ManagerError> {
        names::check(&names, &methods).map_err(ManagerError::Names)?;
        let now = self.clock.now();
        let new = Entry::new(names, methods, now);
        if !self.store.add(&new).await? {
            let same = |entry: &Entry| entry.names == new.names && entry.methods == new.methods && entry.is_wanted();
            let there = self.store.entry(new.name()).await?;
            if there.as_ref().is_some_and(same) {
                return Ok(());
            }
            // What is being revoked is not waited for: it goes on beside the new order.
            let how = match there.is_some_and(|entry| !entry.is_wanted()) {
                true => Hold::Seized,
                false => Hold::Free,
            };
            self.change(new.name(), how, |entry| {
                if !entry.is_wanted() {
                    entry.track = Track::None;
                    entry.failures = 0;
                }
                entry.names.clone_from(&new.names);
                entry.methods.clone_from(&new.methods);
                entry.next = now;
            })
            .await?;
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Wants a certificate no longer. Those that were issued stay in the store until they end.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn forget(&self, name: &str) -> Result<(), ManagerError> {
        if let Some(entry) = self.store.entry(name).await?
            && let Some(order) = &entry.order
            && let Some(issuer) = self.issuer(&order.authority, order.rehearsal)
            && let Err(error) = issuer.give_up(order).await
        {
            tracing::warn!(name, %error, "proofs of a forgotten name may still be shown");
        }
        Ok(self.store.remove(name).await?)
    }

    /// Wants a certificate no longer. It is served no more at once, and what was issued is revoked in the background,
    /// again and again until it is, or has ended (RFC 8555 section 7.6). That none was wanted is no error.
    ///
    /// # Errors
    /// When the store failed; it is wanted on then.
    pub async fn retire(&self, name: &str, reason: RevocationReason) -> Result<(), ManagerError> {
        let now = self.clock.now();
        match self.change(name, Hold::Seized, |entry| entry.retire(reason, now)).await {
            Err(ManagerError::Unknown(_)) => return Ok(()),
            changed => changed?,
        }
        self.wake.notify_one();
        Ok(())
    }

    /// How a certificate stands.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn entry(&self, name: &str) -> Result<Option<Entry>, ManagerError> {
        Ok(self.store.entry(name).await?)
    }

    /// A certificate by its id, opened.
    ///
    /// # Errors
    /// When the store failed or the key was sealed with an unknown master key.
    pub async fn certificate(&self, id: &str) -> Result<Option<common::certificate::Certificate>, ManagerError> {
        let Some(kept) = self.store.certificate(id).await? else { return Ok(None) };
        Ok(Some(common::certificate::Certificate {
            key_pem: self.keys.open(&kept.sealed_key)?,
            id: kept.id,
            chain_pem: kept.chain_pem,
            not_after: kept.not_after,
            ocsp: None,
        }))
    }

    /// Tries at once what waits: a person mended something.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn check_now(&self, name: &str) -> Result<(), ManagerError> {
        let now = self.clock.now();
        self.store.look_at(name, now, now).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Replaces a certificate now, and revokes the old one once the new one is stored.
    ///
    /// # Errors
    /// When there is no such entry, it is being worked on, or the store failed.
    pub async fn replace(&self, name: &str, reason: RevocationReason) -> Result<(), ManagerError> {
        let now = self.clock.now();
        self.change(name, Hold::Free, |entry| {
            if let Some(current) = &mut entry.current {
                let (id, authority) = (current.id.clone(), current.authority.clone());
                entry.revoke.retain(|revocation| revocation.id != id);
                entry.revoke.push(Revocation { id, authority, reason });
                entry.next = now;
            }
        })
        .await?;
        self.wake.notify_one();
        Ok(())
    }

    /// Works for ever. Dropping it is safe at any time.
    pub async fn run(&self) {
        loop {
            let woken = self.wake.notified();
            let sleep = match self.work().await {
                Ok(Some(next)) => next.since(self.clock.now()).min(LONGEST_SLEEP),
                Ok(None) => LONGEST_SLEEP,
                Err(error) => {
                    tracing::warn!(%error, "certificates wait for their store");
                    STORE_RETRY
                }
            };
            let _ = tokio::time::timeout(sleep, woken).await;
        }
    }

    /// Works on everything whose time has come, and says when the next comes.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn work(&self) -> Result<Option<Timestamp>, ManagerError> {
        loop {
            let now = self.clock.now();
            let due = self.store.due(now, BATCH).await?;
            if due.is_empty() {
                return Ok(self.store.next(now).await?);
            }
            let mut work = futures::stream::iter(due).map(|name| self.work_on(name)).buffer_unordered(AT_ONCE);
            let mut done = 0;
            let mut failed = None;
            while let Some(worked) = work.next().await {
                match worked {
                    Ok(worked) => done += u32::from(worked),
                    // One row that can't be read holds up nobody else.
                    Err((name, error)) => {
                        tracing::warn!(name, %error, "a certificate can't be worked on");
                        failed = Some(error);
                    }
                }
            }
            if done == 0 {
                return match failed {
                    Some(error) => Err(error.into()),
                    None => Ok(self.store.next(now).await?),
                };
            }
        }
    }

    /// Works on one name; false when another does.
    async fn work_on(&self, name: String) -> Result<bool, (String, StoreError)> {
        if !self.lease(&name).await.map_err(|e| (name.clone(), e))? {
            return Ok(false);
        }
        let worked = tokio::select! {
            worked = Box::pin(self.work_leased(&name)) => worked,
            lost = self.keep_lease(&name) => Err(lost),
        };
        let released = self.store.release(&name, &self.holder).await;
        match worked.and(released) {
            // Another took over: it goes on from what was saved.
            Err(StoreError::LeaseLost(_)) => Ok(true),
            Err(error) => Err((name, error)),
            Ok(()) => Ok(true),
        }
    }

    async fn work_leased(&self, name: &str) -> Result<(), StoreError> {
        let Some(mut entry) = self.store.entry(name).await? else { return Ok(()) };
        if !entry.is_wanted() {
            return self.revoke_retired(entry).await;
        }
        for _ in 0..MAX_STEPS {
            if entry.next > self.clock.now() {
                return Ok(());
            }
            match entry.order.take() {
                None => self.begin(&mut entry).await?,
                Some(order) => self.go_on(&mut entry, order).await?,
            }
            self.save(&entry).await?;
        }
        tracing::warn!(name, "an order went in circles, and is left for a while");
        entry.next = self.clock.now().after(self.lease);
        self.save(&entry).await
    }

    /// Carries out one step of an order.
    async fn go_on(&self, entry: &mut Entry, order: Order) -> Result<(), StoreError> {
        let Some(issuer) = self.issuer(&order.authority, order.rehearsal) else {
            // The settings changed since.
            return self.begin(entry).await;
        };
        let wanted = Wanted { names: &entry.names, methods: &entry.methods };
        let advanced = match tokio::time::timeout(STEP_LIMIT, issuer.advance(&order, wanted)).await {
            Ok(advanced) => advanced,
            Err(_) => Err(Failure::Unreachable { detail: format!("no step within {} s", STEP_LIMIT.as_secs()) }),
        };
        match advanced {
            Ok(Advance::Next(next)) => {
                entry.order = Some(next);
                Ok(())
            }
            Ok(Advance::Wait(wait)) => self.wait(entry, order, wait).await,
            Ok(Advance::Done { certificate, facts }) => self.done(entry, order, certificate, facts).await,
            Err(failure) => self.failed(entry, order, failure).await,
        }
    }

    fn line(&self, authority: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.authority == authority)
    }

    fn issuer(&self, authority: &str, rehearsal: bool) -> Option<&Arc<dyn Issuer>> {
        let line = self.line(authority)?;
        if rehearsal { line.rehearsal.as_ref() } else { Some(&line.issuer) }
    }
}

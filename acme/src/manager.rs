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
use crate::entry::{Entry, MAX_NAMES, Order, Revocation, RevocationReason};
use crate::failure::Failure;
use crate::issuer::{Advance, Issuer, Wanted};
use crate::limits::Limits;
use crate::store::{Lease, Store, StoreError};

mod choice;
mod names;
mod outcome;

/// Longest time of one step of an order, with the wait for every edge in it.
pub const STEP_LIMIT: Duration = Duration::from_secs(90);
/// How long a lease counts without being extended. So long a dead process's order rests.
const LEASE: Duration = Duration::from_secs(30);
/// Time between two extensions of a lease while its name is worked on: two may fail.
const EXTEND: Duration = Duration::from_secs(10);
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
/// Certificates that are fetched at once when keys are sealed anew.
const RESEAL_BATCH: usize = 256;

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
    /// The authority did not revoke it.
    #[error("the certificate of {name} is not revoked: {failure}")]
    NotRevoked {
        /// The entry's name.
        name: String,
        /// Why.
        failure: Failure,
    },
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
            down: Mutex::default(),
            buckets: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            news: broadcast::channel(NEWS).0,
        }
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
            let same = |entry: &Entry| entry.names == new.names && entry.methods == new.methods;
            if self.store.entry(new.name()).await?.as_ref().is_some_and(same) {
                return Ok(());
            }
            self.change(new.name(), |entry| {
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

    /// Wants a certificate no longer, and has the one that is there revoked first: its name's owner asks for that.
    ///
    /// # Errors
    /// When the authority did not revoke it, or the store failed; it is wanted on then.
    pub async fn forget_revoked(&self, name: &str, reason: RevocationReason) -> Result<(), ManagerError> {
        if let Some(current) = self.store.entry(name).await?.and_then(|entry| entry.current)
            && let Some(certificate) = self.store.certificate(&current.id).await?
        {
            let refused = |failure: Failure| ManagerError::NotRevoked { name: name.to_owned(), failure };
            let gone = || Failure::Internal { detail: format!("the authority {} is set no longer", current.authority) };
            let line = self.line(&current.authority).ok_or_else(|| refused(gone()))?;
            let revoked = tokio::time::timeout(STEP_LIMIT, line.issuer.revoke(&certificate, reason)).await;
            let late = || Failure::Unreachable { detail: format!("no answer within {} s", STEP_LIMIT.as_secs()) };
            revoked.unwrap_or_else(|_| Err(late())).map_err(refused)?;
            tracing::info!(name, id = current.id, "revoked a certificate");
        }
        self.forget(name).await
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
        self.change(name, |entry| {
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

    /// Seals with the newest master key what an older one sealed; afterwards the older is needed no longer. Accounts
    /// are sealed anew when they are next used. Gives how many certificates it was.
    ///
    /// # Errors
    /// When the store failed or a key can't be opened.
    pub async fn reseal(&self) -> Result<u64, ManagerError> {
        let (mut after, mut done) = (String::new(), 0);
        loop {
            let ids = self.store.certificate_ids(&after, RESEAL_BATCH).await?;
            let Some(last) = ids.last() else { return Ok(done) };
            last.clone_into(&mut after);
            for id in ids {
                let Some(kept) = self.store.certificate(&id).await? else { continue };
                if let Some(anew) = self.keys.reseal(&kept.sealed_key)? {
                    self.store.reseal(&id, &kept.sealed_key, &anew).await?;
                    done += 1;
                }
            }
        }
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

    /// Extends the lease on a name again and again; ends when it is lost. While the store is away the work goes on: at the
    /// worst another does the same step too.
    async fn keep_lease(&self, name: &str) -> StoreError {
        loop {
            tokio::time::sleep(EXTEND).await;
            match self.lease(name).await {
                Ok(true) => {}
                Ok(false) => return StoreError::LeaseLost(name.to_owned()),
                Err(error) => tracing::warn!(name, %error, "the lease on a certificate's order can't be extended"),
            }
        }
    }

    async fn work_leased(&self, name: &str) -> Result<(), StoreError> {
        let Some(mut entry) = self.store.entry(name).await? else { return Ok(()) };
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
        entry.next = self.clock.now().after(LEASE);
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

    async fn lease(&self, name: &str) -> Result<bool, StoreError> {
        let now = self.clock.now();
        self.store.lease(&Lease { name, holder: &self.holder, now, until: now.after(LEASE) }).await
    }

    async fn save(&self, entry: &Entry) -> Result<(), StoreError> {
        let now = self.clock.now();
        let lease = Lease { name: entry.name(), holder: &self.holder, now, until: now.after(LEASE) };
        self.store.save(entry, &lease).await
    }

    async fn change(&self, name: &str, change: impl FnOnce(&mut Entry)) -> Result<(), ManagerError> {
        if self.store.entry(name).await?.is_none() {
            return Err(ManagerError::Unknown(name.to_owned()));
        }
        // Not our own lease: a change must not slip under work that goes on in this process.
        let holder = Secret::random("change-");
        let now = self.clock.now();
        let lease = Lease { name, holder: holder.reveal(), now, until: now.after(LEASE) };
        if !self.store.lease(&lease).await? {
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

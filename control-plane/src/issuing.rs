//! Certificates of ACME authorities for this installation's names: wanted here, brought about by the engine of the
//! crate `acme`, told to the edges.
//!
//! Everything is in the database, so any number of control planes work together: the engine's leases see to it that one
//! of them works on a name at a time, and each tells its own edges what any of them changed ([`follow`]).

use std::sync::Arc;
use std::time::Duration;

use acme::authority::Authority;
use acme::challenge::{ChallengeError, Challenges, Method};
use acme::client::Client;
use acme::clock::System;
use acme::entry::{Entry, RevocationReason, Track};
use acme::manager::{Line, Manager, ManagerError};
use acme::transport::TransportError;
use async_trait::async_trait;
use common::secret::KeyRing;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::feed::Hub;
use crate::store::acme::Entries;
use crate::store::{Store, StoreError};

mod base;
mod caa;
mod follow;
mod proofs;
mod show;

pub use base::wildcard;
pub use show::show;

use caa::Asked;
use follow::Follower;
use proofs::Proofs;

/// An authority that issues, and the one to rehearse with.
#[derive(Clone, Debug)]
pub struct IssuingAuthority {
    /// Whose certificates are served.
    pub authority: Authority,
    /// Its staging side, where an attempt is rehearsed after failures.
    pub rehearsal: Option<Authority>,
}

/// Who sets TXT records, for DNS-01: the zones served here, or a provider of DNS.
#[async_trait]
pub trait TxtRecords: Send + Sync {
    /// Whether it can set records at this name, which has no final dot.
    async fn serves(&self, record: &str) -> bool;
    /// What its owner has to do so that it can, in a sentence; none when there is nothing.
    fn remedy(&self, _record: &str) -> Option<String> {
        None
    }
    /// Sets a record beside others of the same name; returns once every name server answers it. One that is set already
    /// is no error.
    async fn set(&self, record: &str, value: &str) -> Result<(), ChallengeError>;
    /// Removes a record; one that is not there is no error.
    async fn remove(&self, record: &str, value: &str) -> Result<(), ChallengeError>;
}

/// Why a certificate can't be asked for.
#[derive(Debug, thiserror::Error)]
pub enum IssuingError {
    /// The engine can't do it.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The certificates that are wanted. Cheap to clone.
#[derive(Clone)]
pub struct Issuing(Arc<Inner>);

struct Inner {
    manager: Manager,
    entries: Entries,
    authorities: Vec<String>,
    asked: Vec<Asked>,
    proofs: Arc<Proofs>,
    follower: Follower,
}

impl Issuing {
    /// Wanted certificates, asked for from `authorities` in this order. DNS-01 is answered by the first of `records` that
    /// serves the name. What a control plane that died left open is taken up once its lease is over.
    ///
    /// # Errors
    /// When the roots that an authority's API is to be trusted by can't be used, or the database failed.
    pub(crate) async fn new(
        store: Store,
        keys: KeyRing,
        authorities: Vec<IssuingAuthority>,
        lease: Duration,
        records: Vec<Arc<dyn TxtRecords>>,
        hub: Hub,
        changed: Arc<Notify>,
    ) -> Result<Self, StartError> {
        let rows = Entries::new(store.clone(), Arc::clone(&changed));
        let entries: Arc<dyn acme::store::Store> = Arc::new(rows.clone());
        let follower = Follower::start(store.clone(), keys.clone(), hub, Arc::clone(&changed)).await?;
        let proofs = Arc::new(Proofs::new(store, keys.clone(), records, changed, follower.shown()));
        let client = |authority: Authority| -> Result<Arc<Client>, StartError> {
            let id = authority.id.clone();
            let proofs: Arc<dyn Challenges> = proofs.clone();
            Client::new(authority, Arc::clone(&entries), proofs, keys.clone(), Arc::new(System))
                .map(Arc::new)
                .map_err(|source| StartError::Authority { id, source })
        };
        let mut lines = Vec::with_capacity(authorities.len());
        let mut asked = Vec::with_capacity(authorities.len());
        for IssuingAuthority { authority, rehearsal } in authorities {
            let issuer = client(authority.clone())?;
            asked.push(Asked::new(&authority, Arc::clone(&issuer)));
            lines.push(Line {
                authority: authority.id,
                limits: authority.limits,
                issuer,
                rehearsal: match rehearsal {
                    Some(authority) => Some(client(authority)?),
                    None => None,
                },
            });
        }
        let authorities = lines.iter().map(|line| line.authority.clone()).collect();
        let manager = Manager::new(entries, keys, Arc::new(System), lines).with_lease(lease);
        Ok(Self(Arc::new(Inner { manager, entries: rows, authorities, asked, proofs, follower })))
    }

    /// Works until `stop`: what is open then is taken up by the next process, where it was left.
    pub(crate) async fn run(self, base_domain: String, stop: CancellationToken) {
        let work = async {
            if self.0.authorities.is_empty() {
                // What is wanted is kept for when there are some.
                std::future::pending::<()>().await;
            }
            tokio::join!(Box::pin(self.0.manager.run()), base::want(&self, &base_domain));
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
            () = self.0.follower.run() => {}
        }
        if let Err(error) = self.0.manager.release().await {
            tracing::warn!(%error, "orders that are open rest for half a minute: their leases can't be given back");
        }
    }

    /// Ids of the authorities that are asked, in order; without any, hosts have the development authority's certificates.
    #[must_use]
    pub fn authorities(&self) -> &[String] {
        &self.0.authorities
    }

    /// Who shows proofs of control to authorities.
    #[must_use]
    pub fn proofs(&self) -> Arc<dyn Challenges> {
        self.0.proofs.clone()
    }

    /// A certificate for this host, or `*.` and a domain, is wanted from now on. The name is in lower case and A-labels.
    /// Of the methods the first counts that the authority offers.
    ///
    /// # Errors
    /// When no certificate can have this name or be proven so, it is being worked on and other methods are given, or the
    /// database failed.
    pub async fn want(&self, host: &str, methods: Vec<Method>) -> Result<(), IssuingError> {
        Ok(self.0.manager.want(vec![host.to_owned()], methods).await?)
    }

    /// It is wanted no longer, and no longer told to edges. That none was is no error.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget(&self, host: &str) -> Result<(), IssuingError> {
        Ok(self.0.manager.forget(host).await?)
    }

    /// How it stands: state, cause, next try. None when none is wanted.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn track(&self, host: &str) -> Result<Option<Track>, IssuingError> {
        Ok(self.entry(host).await?.filter(Entry::is_wanted).map(|entry| entry.track))
    }

    /// All that is known of it, also while one that is wanted no longer is being revoked.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn entry(&self, host: &str) -> Result<Option<Entry>, IssuingError> {
        Ok(self.0.manager.entry(host).await?)
    }

    /// The certificates that are wanted, by name, after the name `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Entry>, IssuingError> {
        Ok(self.0.entries.list(after, limit).await?)
    }

    /// As [`Self::forget`], and what was issued is revoked in the background (RFC 5280 section 5.3.1,
    /// `cessationOfOperation`).
    ///
    /// # Errors
    /// When the database failed; it is wanted on then.
    pub async fn retire(&self, host: &str) -> Result<(), IssuingError> {
        Ok(self.0.manager.retire(host, RevocationReason::CessationOfOperation).await?)
    }

    /// The certificate that is there is replaced now, and revoked once another one has taken its place: its key may be
    /// known to others.
    ///
    /// # Errors
    /// When none is wanted for this host, it is being worked on, or the database failed.
    pub async fn replace(&self, host: &str) -> Result<(), IssuingError> {
        Ok(self.0.manager.replace(host, RevocationReason::KeyCompromise).await?)
    }

    /// What waits is tried at once.
    ///
    /// # Errors
    /// When none is wanted for this host, or the database failed.
    pub async fn retry_now(&self, host: &str) -> Result<(), IssuingError> {
        if self.entry(host).await?.is_none() {
            return Err(ManagerError::Unknown(host.to_owned()).into());
        }
        Ok(self.0.manager.check_now(host).await?)
    }
}

/// Why certificates can't be asked for at all.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An authority can't be reached the way it is set.
    #[error("the certificate authority `{id}` can't be used: {source}")]
    Authority {
        /// Its id.
        id: String,
        /// Why.
        source: TransportError,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! Who is in charge of a zone, and the delegations from the root that are remembered.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::rr::{Name, RecordType};
use moka::{Expiry, sync::Cache};

use crate::{judge::Referral, settings::Settings};

/// Top-level domains that are remembered; there are about 1,500.
const DELEGATIONS_MAX: u64 = 2048;
/// The longest that one is remembered, whatever its time to live says (the root's are two days).
const DELEGATION_MAX: Duration = Duration::from_secs(3600);

/// A zone and the servers that are in charge of it.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    pub zone: Name,
    pub hosts: Vec<Host>,
}

/// A name server, with its addresses as far as they came with the delegation.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub name: Name,
    pub addresses: Vec<IpAddr>,
}

impl From<&Referral> for Authority {
    fn from(referral: &Referral) -> Self {
        let host = |(name, addresses): &(Name, Vec<IpAddr>)| Host { name: name.clone(), addresses: addresses.clone() };
        Self { zone: referral.zone.clone(), hosts: referral.servers.iter().map(host).collect() }
    }
}

/// The root, and the top-level domains that it delegated lately. Nothing below is remembered: a delegation that a
/// registrant changed must be seen at once.
#[derive(Debug)]
pub(crate) struct Delegations {
    root: Arc<Authority>,
    known: Cache<Name, (Arc<Authority>, Instant)>,
}

struct Until;

impl Expiry<Name, (Arc<Authority>, Instant)> for Until {
    fn expire_after_create(&self, _: &Name, value: &(Arc<Authority>, Instant), now: Instant) -> Option<Duration> {
        Some(value.1.saturating_duration_since(now))
    }
}

impl Delegations {
    pub(crate) fn new(settings: &Settings) -> Self {
        let addresses = settings.roots.iter().map(|root| root.0.ip()).collect();
        let root = Authority { zone: Name::root(), hosts: vec![Host { name: Name::root(), addresses }] };
        Self { root: Arc::new(root), known: Cache::builder().max_capacity(DELEGATIONS_MAX).expire_after(Until).build() }
    }

    /// Where the walk to a name begins.
    pub(crate) fn nearest(&self, name: &Name, kind: RecordType) -> Arc<Authority> {
        let top = name.trim_to(1);
        let own = name.iter().len() > 1 || kind != RecordType::DS;
        let known = if own { self.known.get(&top) } else { None };
        known.map_or_else(|| Arc::clone(&self.root), |(authority, _)| authority)
    }

    /// Remembers a delegation, when it is the root's.
    pub(crate) fn learn(&self, referral: &Referral, authority: &Arc<Authority>) {
        if referral.zone.iter().len() == 1 {
            let until = Instant::now() + referral.ttl.min(DELEGATION_MAX);
            self.known.insert(referral.zone.clone(), (Arc::clone(authority), until));
        }
    }

    /// Forgets a top-level domain whose remembered servers do not answer.
    pub(crate) fn forget(&self, zone: &Name) {
        self.known.invalidate(zone);
    }
}

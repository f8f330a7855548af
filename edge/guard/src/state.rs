//! What is counted for a project and its visitors. It outlives changes of the project's policy.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::policy::{CountBy, Limit};

use crate::keyed::{Keyed, Room, State};
use crate::rate::{Arrival, Bandwidth, Nanos, Rate};

/// An address as it is counted: an IPv6 visitor is its /64, which is what one customer has.
pub(crate) fn client_key(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

/// What is counted for whoever has a [`Limit`].
#[derive(Debug, Default)]
pub(crate) struct Counted {
    requests: Arrival,
    bytes: Arrival,
    concurrent: AtomicU32,
}

impl Counted {
    /// Lets a request pass, or says how long it should have waited.
    pub(crate) fn take(&self, now: Nanos, rate: Option<Rate>) -> Result<(), std::time::Duration> {
        rate.map_or(Ok(()), |rate| self.requests.take(now, rate))
    }

    /// Counts a request that is answered, unless `most` are. [`Counted::leave`] ends it.
    pub(crate) fn enter(&self, most: u32) -> bool {
        let step = |count: u32| (count < most).then_some(count + 1);
        self.concurrent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).is_ok()
    }

    pub(crate) fn leave(&self) {
        self.concurrent.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn pace(&self, now: Nanos, bandwidth: Bandwidth, bytes: usize) -> std::time::Duration {
        self.bytes.pace(now, bandwidth, bytes)
    }
}

impl State for Counted {
    fn is_idle(&self, now: Nanos) -> bool {
        self.requests.is_idle(now) && self.bytes.is_idle(now) && self.concurrent.load(Ordering::Relaxed) == 0
    }
}

impl State for Arrival {
    fn is_idle(&self, now: Nanos) -> bool {
        Self::is_idle(self, now)
    }
}

/// A [`Limit`], ready to be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rate: Option<Rate>,
    pub(crate) concurrent: Option<u32>,
    pub(crate) bandwidth: Option<Bandwidth>,
}

impl Bounds {
    /// `None` when nothing is bounded.
    pub(crate) fn of(limit: &Limit) -> Option<Self> {
        let bounds = Self { rate: Rate::of(limit), concurrent: limit.concurrent, bandwidth: Bandwidth::of(limit) };
        (*limit != Limit::default()).then_some(bounds)
    }
}

/// A rule's rate limit, with what it counted.
#[derive(Debug)]
pub(crate) struct Quota {
    rate: Rate,
    by: CountBy,
    counted: Keyed<Arrival>,
    hasher: RandomState,
}

impl Quota {
    /// Lets a request pass, or says how long it should have waited. Requests without the field that is counted
    /// by count together.
    pub(crate) fn take(
        &self,
        now: Nanos,
        client: IpAddr,
        headers: &http::HeaderMap,
    ) -> Result<(), std::time::Duration> {
        let key = match &self.by {
            CountBy::Client => client_key(client),
            CountBy::Header(name) => {
                let value = headers.get(name.as_str()).map(http::HeaderValue::as_bytes);
                // Two hashes, so that nobody finds another's key.
                u128::from(self.hasher.hash_one((0, value))) << 64 | u128::from(self.hasher.hash_one((1, value)))
            }
            CountBy::Project => 0,
        };
        self.counted.get(key, now).take(now, self.rate)
    }
}

/// What is counted for one project.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) whole: Counted,
    pub(crate) clients: Keyed<Counted>,
    quotas: Mutex<Vec<(QuotaId, Arc<Quota>)>>,
    room: Room,
}

/// A rule's name and what it says: a rule that says something else counts anew.
type QuotaId = (Box<str>, u32, u32, CountBy);

impl Project {
    pub(crate) fn new(room: &Room) -> Self {
        Self { whole: Counted::default(), clients: Keyed::new(room), quotas: Mutex::default(), room: room.clone() }
    }

    /// A rule's rate limit; the same as long as the rule says the same.
    pub(crate) fn quota(&self, rule: &str, requests: u32, per_s: u32, by: &CountBy) -> Arc<Quota> {
        let mut quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of rules that are gone.
        quotas.retain(|(id, quota)| *id.0 == *rule || Arc::strong_count(quota) > 1);
        let id = (rule.into(), requests, per_s, by.clone());
        if let Some((_, quota)) = quotas.iter().find(|(known, _)| *known == id) {
            return Arc::clone(quota);
        }
        let quota = Arc::new(Quota {
            rate: Rate::quota(requests, per_s),
            by: by.clone(),
            counted: Keyed::new(&self.room),
            hasher: RandomState::new(),
        });
        quotas.push((id, Arc::clone(&quota)));
        quota
    }

    /// Forgets what says nothing any more.
    pub(crate) fn sweep(&self, now: Nanos) {
        self.clients.sweep(now);
        let quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, quota) in quotas.iter() {
            quota.counted.sweep(now);
        }
    }
}

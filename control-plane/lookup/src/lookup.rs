//! The questions that are asked from outside.

use std::{sync::Arc, time::Duration};

use hickory_proto::rr::{Name, RecordType};
use tokio::time::timeout;

use crate::{
    found::{Existence, Found, LookupError},
    judge::{cname, negative_ttl, records, zone_of},
    settings::Settings,
    walk::{Path, Reply, Shared, Walk},
};

/// CNAME records that are followed; resolvers stop between 8 and 16.
pub(crate) const CNAMES_MAX: usize = 12;
/// Queries that one question may cost. A name of a deep zone behind a long chain costs about 40.
pub(crate) const QUERIES_MAX: usize = 120;

/// Asks the DNS's authoritative servers. Cheap to clone; clones share the bound of queries on their way.
#[derive(Clone, Debug)]
pub struct Lookup {
    pub(crate) shared: Arc<Shared>,
}

impl Lookup {
    /// Nothing is sent until something is asked.
    pub fn new(settings: Settings) -> Self {
        Self { shared: Arc::new(Shared::new(settings)) }
    }

    /// What the zone's own servers say of a name, with CNAME records followed, each of them asked of its own zone.
    ///
    /// # Errors
    /// When nobody in charge answers, or the name leads nowhere. That there are no records, or no name, is no error.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Found, LookupError> {
        self.ask_until(name, kind, |_| false).await
    }

    /// The same, but a CNAME to a name of which `is_end` is true is the end: what stands there is not asked for.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_until(
        &self,
        name: &Name,
        kind: RecordType,
        is_end: impl Fn(&Name) -> bool,
    ) -> Result<Found, LookupError> {
        let walk = Walk::new(Arc::clone(&self.shared), false, QUERIES_MAX);
        self.limited(name, Box::pin(follow(&walk, name, kind, is_end))).await
    }

    /// Holds a question to the time that one may take.
    pub(crate) async fn limited<T>(
        &self,
        name: &Name,
        question: impl Future<Output = Result<T, LookupError>>,
    ) -> Result<T, LookupError> {
        let after = self.shared.settings.timeout;
        match timeout(after, question).await {
            Ok(answer) => answer,
            Err(_) => Err(LookupError::Timeout { name: name.clone(), after }),
        }
    }
}

async fn follow(
    walk: &Walk,
    name: &Name,
    kind: RecordType,
    is_end: impl Fn(&Name) -> bool,
) -> Result<Found, LookupError> {
    let mut chain = vec![absolute(name)];
    let mut name = absolute(name);
    let mut ttl = u32::MAX;
    loop {
        let reply = walk.resolve(&name, kind, &Path::START).await?;
        let found = records(&reply.message, &name, kind);
        if found.is_empty()
            && let Some((target, cname_ttl)) = cname(&reply.message, &name)
        {
            ttl = ttl.min(cname_ttl);
            let circle = chain.contains(&target);
            chain.push(target.clone());
            if circle {
                return Err(LookupError::Loop(chain));
            }
            if chain.len() > CNAMES_MAX + 1 {
                return Err(LookupError::TooLong { names: chain, max: CNAMES_MAX });
            }
            if !is_end(&target) {
                name = target;
                continue;
            }
        }
        let zone = zone(walk, &reply, &name, kind).await?;
        chain.remove(0);
        return Ok(finish(&reply, found, chain, zone, ttl));
    }
}

fn finish(
    reply: &Reply,
    records: Vec<hickory_proto::rr::Record>,
    cnames: Vec<Name>,
    zone: Name,
    chain_ttl: u32,
) -> Found {
    let existence = reply.nothing.unwrap_or(Existence::Name);
    let own = match existence {
        Existence::Name => records.iter().map(|record| record.ttl).min().unwrap_or(0),
        Existence::NoData | Existence::NoName => negative_ttl(&reply.message),
    };
    Found { cnames, records, existence, zone, ttl: Duration::from_secs(own.min(chain_ttl).into()) }
}

/// The name without letters of either case, and absolute, as messages have it.
pub(crate) fn absolute(name: &Name) -> Name {
    let mut name = name.to_lowercase();
    name.set_fqdn(true);
    name
}

/// The zone that a name lies in. The message often says; else the server that answered is asked for the SOA of the
/// name and of the names above it.
///
/// # Errors
/// When the walk's queries are used up.
pub(crate) async fn zone(walk: &Walk, reply: &Reply, name: &Name, kind: RecordType) -> Result<Name, LookupError> {
    let delegated = &reply.authority.zone;
    if let Some(zone) = zone_of(&reply.message, name, delegated) {
        return Ok(zone);
    }
    // The DS records of a zone are its parent's.
    let mut at = if kind == RecordType::DS && !name.is_root() { name.base_name() } else { name.clone() };
    while at != *delegated && delegated.zone_of(&at) {
        if let Ok(message) = walk.ask_one(reply.server, &at, RecordType::SOA).await?
            && message.authoritative
            && let Some(zone) = zone_of(&message, &at, delegated)
        {
            return Ok(zone);
        }
        // A CNAME hides the SOA of its own name.
        at = at.base_name();
    }
    Ok(delegated.clone())
}

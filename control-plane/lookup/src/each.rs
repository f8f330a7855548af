//! Each name server of a zone by itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::{
    authority::Authority,
    found::{Existence, Found, Listed, LookupError, Server, ServerFault},
    judge::{Judged, cname, judge, negative_ttl, records, zone_of},
    lookup::{Lookup, QUERIES_MAX, absolute},
    walk::{Families, Path, Walk},
};

/// Servers that are asked at once.
const AT_ONCE: usize = 8;

impl Lookup {
    /// What each server of the name's zone says of a name, at each of its addresses; those that the parent names and
    /// those that the zone itself names. A CNAME is not followed: it is `cnames`' only element then.
    ///
    /// # Errors
    /// When the zone's delegation cannot be found.
    pub async fn ask_each(
        &self,
        name: &Name,
        kind: RecordType,
    ) -> Result<Vec<(Server, Result<Found, ServerFault>)>, LookupError> {
        let walk = Walk::new(Arc::clone(&self.shared), false, QUERIES_MAX);
        let name = absolute(name);
        self.limited(&name, Box::pin(each(&walk, &name, kind))).await
    }
}

async fn each(
    walk: &Walk,
    name: &Name,
    kind: RecordType,
) -> Result<Vec<(Server, Result<Found, ServerFault>)>, LookupError> {
    let (zone, servers) = servers(walk, name).await?;
    let zone = &zone;
    let answers = stream::iter(servers).map(async |server| {
        let answer = match server.address {
            None => Err(ServerFault::NoAddress),
            Some(address) => match walk.ask_one(address, name, kind).await? {
                Err(fault) => Err(fault),
                Ok(message) => match judge(&message, name, kind, zone) {
                    Judged::Fault(fault) => Err(fault),
                    // It sends on to others what it should answer itself.
                    Judged::Referral(referral) if referral.zone == *zone => Err(ServerFault::NotAuthoritative),
                    Judged::Referral(_) => Ok(found(&message, name, kind, zone, Existence::NoData)),
                    Judged::Nothing(existence) => Ok(found(&message, name, kind, zone, existence)),
                    Judged::Answer => Ok(found(&message, name, kind, zone, Existence::Name)),
                },
            },
        };
        Ok((server, answer))
    });
    let mut answers: Vec<_> = answers.buffer_unordered(AT_ONCE).try_collect().await?;
    answers.sort_by(|one: &(Server, _), other| one.0.cmp(&other.0));
    Ok(answers)
}

fn found(
    message: &hickory_proto::op::Message,
    name: &Name,
    kind: RecordType,
    zone: &Name,
    existence: Existence,
) -> Found {
    let mut found = records(message, name, kind);
    let (mut cnames, mut ttl) = (Vec::new(), found.iter().map(|record| record.ttl).min());
    if found.is_empty()
        && let Some((target, cname_ttl)) = cname(message, name)
    {
        (cnames, ttl) = (vec![target], Some(cname_ttl));
    }
    found.sort_by_cached_key(|record| record.data.to_string());
    let ttl = ttl.unwrap_or_else(|| negative_ttl(message));
    let zone = zone_of(message, name, zone).unwrap_or_else(|| zone.clone());
    Found { cnames, records: found, existence, zone, ttl: Duration::from_secs(ttl.into()) }
}

/// The zone of a name and all its servers, those of the parent's delegation and those of the zone's own NS records.
async fn servers(walk: &Walk, name: &Name) -> Result<(Name, Vec<Server>), LookupError> {
    let delegation = walk.delegation(name).await?;
    let zone = own_zone(walk, name, &delegation).await?;
    let mut listed: BTreeMap<Name, Listed> = BTreeMap::new();
    let mut known = BTreeMap::new();
    if zone == delegation.zone {
        for host in &delegation.hosts {
            listed.insert(host.name.clone(), Listed::Parent);
            known.insert(host.name.clone(), host.addresses.clone());
        }
    }
    match walk.resolve(&zone, RecordType::NS, &Path::START).await {
        Ok(reply) => {
            for record in records(&reply.message, &zone, RecordType::NS) {
                if let RData::NS(host) = record.data {
                    let both = |listed: &mut Listed| *listed = Listed::Both;
                    listed.entry(host.0).and_modify(both).or_insert(Listed::Zone);
                }
            }
        }
        // All servers of the parent's list are out: each of them is shown with its fault.
        Err(LookupError::Unanswered { .. }) => {}
        Err(error) => return Err(error),
    }
    let mut servers = Vec::new();
    for (name, listed) in listed {
        let addresses = match known.remove(&name) {
            Some(addresses) if !addresses.is_empty() => addresses,
            _ => walk.addresses(&name, &Path::START, Families::All).await?,
        };
        if addresses.is_empty() {
            servers.push(Server { name, address: None, listed });
        } else {
            let at = |address| Server { name: name.clone(), address: Some(address), listed };
            servers.extend(addresses.into_iter().map(at));
        }
    }
    Ok((zone, servers))
}

/// The zone of a name: the delegated one, or one below it on the same servers.
async fn own_zone(walk: &Walk, name: &Name, delegation: &Authority) -> Result<Name, LookupError> {
    match walk.resolve(name, RecordType::SOA, &Path::START).await {
        Ok(reply) => crate::lookup::zone(walk, &reply, name, RecordType::SOA).await,
        Err(LookupError::Unanswered { .. }) => Ok(delegation.zone.clone()),
        Err(error) => Err(error),
    }
}

//! What an answer means for the walk.

use std::{net::IpAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};

use crate::found::{Existence, ServerFault};

/// Name servers of one delegation that are looked at; the largest zones have 13.
const SERVERS_MAX: usize = 16;
/// Addresses of one name server that are looked at.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// What a server's message says.
#[derive(Debug, PartialEq)]
pub(crate) enum Judged {
    /// Records of the asked type, or a CNAME, stand at the name.
    Answer,
    /// The server is in charge, and there is nothing.
    Nothing(Existence),
    /// Others are in charge.
    Referral(Referral),
    /// It says nothing that counts.
    Fault(ServerFault),
}

/// A delegation as the parent's server tells it.
#[derive(Debug, PartialEq)]
pub(crate) struct Referral {
    pub zone: Name,
    pub servers: Vec<(Name, Vec<IpAddr>)>,
    pub ttl: Duration,
}

/// Judges the message that a server of `zone` gave for a question.
pub(crate) fn judge(message: &Message, name: &Name, kind: RecordType, zone: &Name) -> Judged {
    match message.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Judged::Fault(ServerFault::Code(code)),
    }
    if message.authoritative {
        if message.answers.iter().any(|record| stands(record, name, kind)) {
            return Judged::Answer;
        }
        if message.response_code == ResponseCode::NXDomain {
            return Judged::Nothing(Existence::NoName);
        }
    }
    if let Some(referral) = referral(message, name, kind, zone) {
        return Judged::Referral(referral);
    }
    if message.authoritative {
        Judged::Nothing(Existence::NoData)
    } else {
        Judged::Fault(ServerFault::NotAuthoritative)
    }
}

/// Whether a record answers a question, by itself or by leading on.
fn stands(record: &Record, name: &Name, kind: RecordType) -> bool {
    record.name == *name && (record.record_type() == kind || record.record_type() == RecordType::CNAME)
}

fn referral(message: &Message, name: &Name, kind: RecordType, zone: &Name) -> Option<Referral> {
    if !message.answers.is_empty() || message.authorities.iter().any(|record| record.record_type() == RecordType::SOA) {
        return None;
    }
    let below = |owner: &Name| {
        owner != zone
            && zone.zone_of(owner)
            && owner.zone_of(name)
            // The DS records of a zone are its parent's.
            && !(kind == RecordType::DS && owner == name)
    };
    let cut = message
        .authorities
        .iter()
        .find(|record| record.record_type() == RecordType::NS && below(&record.name))?
        .name
        .to_lowercase();
    let mut servers: Vec<(Name, Vec<IpAddr>)> = Vec::new();
    let mut ttl = u32::MAX;
    for record in message.authorities.iter().filter(|record| record.name == cut) {
        if let RData::NS(host) = &record.data {
            ttl = ttl.min(record.ttl);
            let host = host.0.to_lowercase();
            if servers.len() < SERVERS_MAX && !servers.iter().any(|(known, _)| *known == host) {
                let addresses = glue(message, &host, zone);
                servers.push((host, addresses));
            }
        }
    }
    Some(Referral { zone: cut, servers, ttl: Duration::from_secs(ttl.into()) })
}

/// The addresses that the message gives for a server. They count only for names below the zone whose server says so;
/// of others it could say anything (RFC 2181 5.4.1).
fn glue(message: &Message, host: &Name, zone: &Name) -> Vec<IpAddr> {
    if !zone.zone_of(host) {
        return Vec::new();
    }
    let addresses = message.additionals.iter().filter(|record| record.name == *host);
    addresses.filter_map(|record| record.data.ip_addr()).take(ADDRESSES_MAX).collect()
}

/// The records of a type at a name, with names in lower case: servers give back the letters of the question.
pub(crate) fn records(message: &Message, name: &Name, kind: RecordType) -> Vec<Record> {
    let at = message.answers.iter().filter(|record| record.name == *name && record.record_type() == kind);
    at.cloned()
        .map(|mut record| {
            record.name = name.clone();
            lower(&mut record.data);
            record
        })
        .collect()
}

fn lower(data: &mut RData) {
    let name = match data {
        RData::CNAME(target) => &mut target.0,
        RData::NS(host) => &mut host.0,
        RData::PTR(host) => &mut host.0,
        RData::MX(mx) => &mut mx.exchange,
        RData::SRV(srv) => &mut srv.target,
        RData::SOA(soa) => {
            soa.rname = soa.rname.to_lowercase();
            &mut soa.mname
        }
        _ => return,
    };
    *name = name.to_lowercase();
}

/// The CNAME at a name, with its time to live in seconds.
pub(crate) fn cname(message: &Message, name: &Name) -> Option<(Name, u32)> {
    records(message, name, RecordType::CNAME).into_iter().find_map(|record| match record.data {
        RData::CNAME(target) => Some((target.0, record.ttl)),
        _ => None,
    })
}

/// How long nothing may be remembered (RFC 2308 5), in seconds; not at all without an SOA.
pub(crate) fn negative_ttl(message: &Message) -> u32 {
    message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
        .unwrap_or(0)
}

/// The zone that the message itself names, by an SOA or NS record at or above the name.
pub(crate) fn zone_of(message: &Message, name: &Name, within: &Name) -> Option<Name> {
    let apex = |record: &&Record| {
        matches!(record.record_type(), RecordType::SOA | RecordType::NS)
            && within.zone_of(&record.name)
            && record.name.zone_of(name)
    };
    // In an answer they stand at the name itself, and only a zone's apex has them.
    message.answers.iter().chain(&message.authorities).find(apex).map(|record| record.name.to_lowercase())
}

//! Addresses behind ALIAS records: asked for ahead, never while a query waits.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};

use crate::{answer::Answers, zone::RecordSet};

/// Seconds that the last good answer is used while the target cannot be resolved.
pub const STALE_MAX: u64 = 86_400;
/// Seconds after which a target is asked for again at the earliest, whatever its records say.
pub const REFRESH_MIN: u64 = 20;
/// Seconds after which a target is asked for again at the latest.
pub const REFRESH_MAX: u64 = 3600;
/// Targets followed by one server at most; about 500 bytes each.
pub const TARGETS_MAX: usize = 50_000;
/// Addresses taken of one target at most, so that the answer fits a datagram.
const ADDRESSES_MAX: usize = 16;

/// What a resolver found behind a name: its addresses, perhaps none, and the seconds that they may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// IPv4 and IPv6 addresses.
    pub addresses: Vec<IpAddr>,
    /// Seconds to live.
    pub ttl: u32,
}

#[derive(Debug, Clone)]
struct Known {
    /// The last good answer; none when there never was one.
    found: Option<Found>,
    /// When it came, in seconds since 1970.
    at: u64,
    /// When it is asked for again, in seconds since 1970.
    due: u64,
}

type Table = HashMap<Box<[u8]>, Arc<Known>>;

/// What is known of the targets of ALIAS records.
#[derive(Debug, Default)]
pub struct Aliases(ArcSwap<Table>);

impl Aliases {
    /// The addresses of a type behind a target, no longer to live than `ttl`. `None` when nothing is known.
    pub(crate) fn addresses(&self, target: &[u8], kind: u16, ttl: u32, now: u64) -> Option<RecordSet> {
        let table = self.0.load();
        let known = table.get(target)?;
        let found = known.found.as_ref()?;
        let age = now.saturating_sub(known.at);
        if age > u64::from(found.ttl).max(REFRESH_MAX) + STALE_MAX {
            return None;
        }
        let mut data: Vec<Box<[u8]>> = found
            .addresses
            .iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) if kind == 1 => Some(address.octets().to_vec().into_boxed_slice()),
                IpAddr::V6(address) if kind == 28 => Some(address.octets().to_vec().into_boxed_slice()),
                _ => None,
            })
            .take(ADDRESSES_MAX)
            .collect();
        data.sort();
        // What is left of the target's own time, and a short one while the last good answer is used.
        let left = u64::from(found.ttl).saturating_sub(age).max(REFRESH_MIN);
        Some(RecordSet { kind, ttl: ttl.min(u32::try_from(left).unwrap_or(u32::MAX)), data })
    }

    /// Targets of the zones that are to be asked for now; forgets those that no zone has any more.
    pub fn due(&self, answers: &Answers, now: u64) -> Vec<Box<[u8]>> {
        let mut wanted: HashSet<Box<[u8]>> = HashSet::new();
        for zone in answers.zones() {
            wanted.extend(zone.aliases().map(Box::from).take(TARGETS_MAX - wanted.len()));
        }
        self.0.rcu(|table| {
            let mut table = Table::clone(table);
            table.retain(|target, _| wanted.contains(target));
            table
        });
        let table = self.0.load();
        wanted.retain(|target| table.get(target).is_none_or(|known| known.due <= now));
        wanted.into_iter().collect()
    }

    /// Takes in what a resolver said of a target; `None` when it could not say, which keeps the last good answer. Tells
    /// whether other addresses are answered from now on.
    pub fn learned(&self, target: &[u8], found: Option<Found>, now: u64) -> bool {
        let addresses = |found: &Option<Found>| {
            found.as_ref().map(|found| found.addresses.iter().copied().collect::<BTreeSet<IpAddr>>())
        };
        let before = self.0.rcu(|table| {
            let mut table = Table::clone(table);
            let known = match (&found, table.get(target)) {
                (Some(answer), _) => {
                    let wait = u64::from(answer.ttl).clamp(REFRESH_MIN, REFRESH_MAX);
                    Known { found: found.clone(), at: now, due: now + wait }
                }
                (None, Some(old)) => Known { due: now + REFRESH_MIN, ..Known::clone(old) },
                (None, None) => Known { found: None, at: now, due: now + REFRESH_MIN },
            };
            table.insert(target.into(), Arc::new(known));
            table
        });
        let before = before.get(target).and_then(|known| known.found.clone());
        found.is_some() && addresses(&before) != addresses(&found)
    }
}

/// What the zones held here say of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Its addresses, perhaps none.
    Found(Found),
    /// It is an ALIAS whose own target is not known yet.
    NotYet,
    /// The name, or one that it leads to, lies in no zone held here.
    Elsewhere,
}

/// The addresses that the zones held here have for a name, at `now` in seconds since 1970: asking others for them would
/// need a delegation.
pub fn held(answers: &Answers, name: &Name, now: u64) -> Held {
    let mut found = Found { addresses: Vec::new(), ttl: u32::MAX };
    for kind in [RecordType::A, RecordType::AAAA] {
        let mut question = Message::query();
        question.add_query(Query::query(name.clone(), kind));
        let mut out = Vec::new();
        let Ok(question) = question.to_vec() else { return Held::Elsewhere };
        answers.answer(&question, false, now, &mut out);
        let Ok(message) = Message::from_vec(&out) else { return Held::Elsewhere };
        match message.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            ResponseCode::ServFail => return Held::NotYet,
            _ => return Held::Elsewhere,
        }
        // A referral, or a chain that leads out of the zone.
        let leads_out = match message.answers.last().map(|record| &record.data) {
            Some(data) => data.ip_addr().is_none(),
            None => !message.metadata.authoritative,
        };
        if leads_out {
            return Held::Elsewhere;
        }
        let records = message.answers.iter().chain(&message.authorities);
        found.ttl = records.map(|record| record.ttl).fold(found.ttl, u32::min);
        found.addresses.extend(message.answers.iter().filter_map(|record| record.data.ip_addr()));
    }
    Held::Found(found)
}

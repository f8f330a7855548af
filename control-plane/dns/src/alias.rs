//! Addresses behind ALIAS records: asked for ahead, never while a query waits.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use arc_swap::ArcSwap;

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
    found: Found,
    /// Seconds since 1970.
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
        let age = now.saturating_sub(known.at);
        if age > u64::from(known.found.ttl).max(REFRESH_MAX) + STALE_MAX {
            return None;
        }
        let mut data: Vec<Box<[u8]>> = known
            .found
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
        let left = u64::from(known.found.ttl).saturating_sub(age).max(REFRESH_MIN);
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

    /// Takes in what a resolver said of a target; `None` when it could not say, which keeps the last good answer.
    pub fn learned(&self, target: &[u8], found: Option<Found>, now: u64) {
        self.0.rcu(|table| {
            let mut table = Table::clone(table);
            let known = match (&found, table.get(target)) {
                (Some(found), _) => {
                    let wait = u64::from(found.ttl).clamp(REFRESH_MIN, REFRESH_MAX);
                    Known { found: found.clone(), at: now, due: now + wait }
                }
                (None, Some(old)) => Known { due: now + REFRESH_MIN, ..Known::clone(old) },
                (None, None) => return table,
            };
            table.insert(target.into(), Arc::new(known));
            table
        });
    }
}

//! Connections per visitor's address, for the whole edge.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::state::client_key;

/// Parts with a lock of their own.
const SHARDS: usize = 16;

type Shard = Mutex<HashMap<u128, u32>>;

/// Counts connections by visitors' addresses. It holds as many counts as there are connections, which whoever
/// accepts them bounds.
#[derive(Clone, Debug)]
pub struct Connections {
    shards: Arc<[Shard; SHARDS]>,
    most: Option<u32>,
    unbounded: Arc<[IpNet]>,
}

impl Connections {
    /// At most `most` connections per address (an IPv6 visitor is its /64), but any number from `unbounded`.
    #[must_use]
    pub fn new(most: Option<u32>, unbounded: &[IpNet]) -> Self {
        Self { shards: Arc::new(std::array::from_fn(|_| Shard::default())), most, unbounded: unbounded.into() }
    }

    /// A place for one more connection of this visitor; `None` when it has too many.
    #[must_use]
    pub fn enter(&self, visitor: IpAddr) -> Option<Place> {
        let visitor = visitor.to_canonical();
        let Some(most) = self.most.filter(|_| !self.unbounded.iter().any(|net| net.contains(&visitor))) else {
            return Some(Place(None));
        };
        let key = client_key(visitor);
        let mut counts = self.shard(key);
        let count = counts.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Place(Some((self.clone(), key))))
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, HashMap<u128, u32>> {
        let part = (key ^ (key >> 64)) % SHARDS as u128;
        // The remainder is small.
        let shard = &self.shards[usize::try_from(part).unwrap_or_default()];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub struct Place(Option<(Connections, u128)>);

impl Drop for Place {
    fn drop(&mut self) {
        let Some((connections, key)) = &self.0 else { return };
        if let Entry::Occupied(mut count) = connections.shard(*key).entry(*key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_visitor_has_a_bounded_number_of_connections_and_others_are_unharmed() {
        let connections = Connections::new(Some(2), &["127.0.0.0/8".parse().unwrap()]);
        let enter = |ip: &str| connections.enter(ip.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let _neighbour = enter("192.0.2.2").unwrap();
        drop(first);
        assert!(enter("192.0.2.1").is_some(), "a closed one makes room");
        let _six = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert!(enter("2001:db8::3").is_none(), "one network is one visitor");
        let local: Vec<_> = (0..100).map(|_| enter("127.0.0.1")).collect();
        assert!(local.iter().all(Option::is_some));
        drop((local, _six, _neighbour, _second));
        assert!(connections.shards.iter().all(|shard| shard.lock().unwrap().is_empty()), "nothing is left of them");
    }
}

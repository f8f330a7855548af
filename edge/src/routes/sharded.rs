//! A map in many parts, of which a changed copy shares those that are as they were.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::quality::RandomState;

/// Parts of the map. A change copies only the parts that it touches: with 100,000 names, a few hundred pointers.
const SHARDS: usize = 256;

/// A map by name. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Sharded<V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<Arc<str>, V, RandomState>>>,
}

impl<V: Clone> Sharded<V> {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::default(), shards: vec![Arc::default(); SHARDS] }
    }

    fn shard_of(&self, name: &str) -> usize {
        // The remainder is below 256.
        (self.hasher.hash_one(name) % SHARDS as u64) as usize
    }

    /// Number of names.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.shards[self.shard_of(name)].get(name)
    }

    pub(crate) fn insert(&mut self, name: Arc<str>, value: V) {
        let shard = self.shard_of(&name);
        Arc::make_mut(&mut self.shards[shard]).insert(name, value);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let shard = self.shard_of(name);
        if self.shards[shard].contains_key(name) {
            Arc::make_mut(&mut self.shards[shard]).remove(name);
        }
    }

    /// Values that stand in the place of others in an older map, as pairs of old and new; and whether a name is gone.
    /// Quick where both have parts in common.
    pub(crate) fn replaced_since(&self, older: &Self) -> (Vec<(V, V)>, bool)
    where
        V: PartialEq,
    {
        let changed = self.shards.iter().zip(&older.shards).filter(|(new, old)| !Arc::ptr_eq(new, old));
        let (mut replaced, mut is_any_gone) = (Vec::new(), false);
        for (new, old) in changed {
            for (name, value) in &**new {
                if let Some(before) = older.get(name).filter(|before| *before != value) {
                    replaced.push((before.clone(), value.clone()));
                }
            }
            is_any_gone |= old.keys().any(|name| self.get(name).is_none());
        }
        (replaced, is_any_gone)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.shards.iter().flat_map(|s| s.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_found_in_a_changed_copy_and_in_a_map_of_its_own() {
        let filled = || {
            let mut map = Sharded::new();
            for i in 0..1000 {
                map.insert(format!("{i}.example").into(), i);
            }
            map
        };
        let older = filled();
        for mut newer in [older.clone(), filled()] {
            assert_eq!(newer.replaced_since(&older), (Vec::new(), false));
            newer.insert("7.example".into(), 77);
            newer.insert("new.example".into(), 1);
            assert_eq!(newer.replaced_since(&older), (vec![(7, 77)], false));
            newer.remove("8.example");
            assert_eq!(newer.replaced_since(&older), (vec![(7, 77)], true));
        }
    }
}

//! A map in many parts, of which a changed copy shares those that are as they were.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Parts of the map. A change copies only the parts that it touches: with 100,000 names, a few hundred pointers.
const SHARDS: usize = 256;

/// A map by name. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct Sharded<V> {
    hasher: RandomState,
    shards: Vec<Arc<HashMap<Box<str>, V>>>,
}

impl<V: Clone> Sharded<V> {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), shards: vec![Arc::default(); SHARDS] }
    }

    fn shard_of(&self, name: &str) -> usize {
        // The remainder is below 256.
        (self.hasher.hash_one(name) % SHARDS as u64) as usize
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        self.shards[self.shard_of(name)].get(name)
    }

    pub(crate) fn insert(&mut self, name: &str, value: V) {
        let shard = self.shard_of(name);
        Arc::make_mut(&mut self.shards[shard]).insert(name.into(), value);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let shard = self.shard_of(name);
        if self.shards[shard].contains_key(name) {
            Arc::make_mut(&mut self.shards[shard]).remove(name);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.shards.iter().flat_map(|s| s.iter()).map(|(name, value)| (&**name, value))
    }
}

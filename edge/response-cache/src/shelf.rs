//! The answers that are kept, in bounded memory.

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::entry::{Entry, Place, Variants};

/// Most answers for one address; the oldest goes. An app whose answers differ by more than this differs by visitor.
const MAX_VARIANTS: usize = 64;
/// Bytes of a usual answer: memory divided by this is how many addresses room is prepared for.
const USUAL: u64 = 16 << 10;
/// Parts with locks of their own, so that requests on several cores rarely meet. Few, because the largest address
/// must fit into one.
const PARTS: usize = 8;

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<str>, Variants> for ByBytes {
    fn weight(&self, key: &Box<str>, variants: &Variants) -> u64 {
        (key.len() + variants.entries.iter().map(|entry| entry.weight()).sum::<usize>()) as u64
    }
}

/// The answers that are kept.
pub(crate) struct Shelf {
    kept: Cache<Box<str>, Variants, ByBytes>,
    /// Most bytes of all answers for one address.
    largest: usize,
}

impl Shelf {
    pub(crate) fn new(bytes: u64) -> Self {
        let items = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX).max(PARTS);
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let options =
            OptionsBuilder::new().shards(PARTS).estimated_items_capacity(items).weight_capacity(bytes).build();
        let kept = match options {
            Ok(options) => Cache::with_options(options, ByBytes, hasher, lifecycle),
            // Only a missing capacity is refused.
            Err(_) => Cache::with(items, bytes, ByBytes, hasher, lifecycle),
        };
        let largest = usize::try_from(kept.shard_capacity() / 2).unwrap_or(usize::MAX);
        Self { kept, largest }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Variants> {
        self.kept.get(key)
    }

    /// Keeps an answer in place of those that `goes` says.
    pub(crate) fn put(&self, place: &Arc<Place>, entry: Arc<Entry>, goes: impl Fn(&Arc<Entry>) -> bool) {
        let mut weight = entry.weight();
        if weight > self.largest {
            return self.drop_those(place, goes);
        }
        let mut entries = vec![entry];
        if let Some(variants) = self.kept.peek(&*place.key) {
            for other in variants.entries.iter().filter(|other| !goes(other)).take(MAX_VARIANTS - 1) {
                weight += other.weight();
                if weight > self.largest {
                    break;
                }
                entries.push(Arc::clone(other));
            }
        }
        self.kept.insert(place.key.clone(), Variants { place: Arc::clone(place), entries: entries.into() });
    }

    /// Drops those answers for an address that `goes` says.
    pub(crate) fn drop_those(&self, place: &Arc<Place>, goes: impl Fn(&Arc<Entry>) -> bool) {
        let Some(variants) = self.kept.peek(&*place.key) else { return };
        let left: Vec<Arc<Entry>> = variants.entries.iter().filter(|entry| !goes(entry)).cloned().collect();
        if left.is_empty() {
            self.kept.remove(&*place.key);
        } else if left.len() < variants.entries.len() {
            self.kept.insert(place.key.clone(), Variants { entries: left.into(), ..variants });
        }
    }

    pub(crate) fn remove(&self, key: &str) {
        self.kept.remove(key);
    }

    /// Keeps only the addresses that `stays` says.
    pub(crate) fn retain(&self, stays: impl Fn(&Variants) -> bool) {
        self.kept.retain(|_, variants| stays(variants));
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.kept.weight()
    }
}

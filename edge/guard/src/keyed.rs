//! States by key, in bounded memory: one that says the same as none is forgotten first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rate::Nanos;

/// Parts with a lock of their own, so that cores seldom meet.
const SHARDS: usize = 16;
/// States in one part: 65,536 visitors of one project, some six megabytes.
const MAX_IN_SHARD: usize = 4096;
/// States in all, a hundred megabytes; beyond, each new one takes the place of another of its project.
const MAX_IN_ALL: usize = 1 << 20;
/// Time between two searches of a full part for what can be forgotten, in nanoseconds: under an attack from
/// many addresses there is little, and a search costs as much as some hundred requests.
const BETWEEN_SWEEPS: Nanos = 100_000_000;
/// States among which the least is chosen when one must go.
const SAMPLE: usize = 8;

/// What is kept for a key.
pub(crate) trait State: Default {
    /// Whether it says the same as a new one.
    fn is_idle(&self, now: Nanos) -> bool;
}

/// How many states there are in all, shared by all that count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

#[derive(Debug)]
pub(crate) struct Keyed<S> {
    shards: [Mutex<Shard<S>>; SHARDS],
    room: Room,
}

#[derive(Debug)]
struct Shard<S> {
    states: HashMap<u128, Arc<S>>,
    swept: Nanos,
}

impl<S: State> Keyed<S> {
    pub(crate) fn new(room: &Room) -> Self {
        let shard = |_| Mutex::new(Shard { states: HashMap::new(), swept: 0 });
        Self { shards: std::array::from_fn(shard), room: room.clone() }
    }

    /// The state of a key; a new one when there is none.
    pub(crate) fn get(&self, key: u128, now: Nanos) -> Arc<S> {
        let mut shard = self.shard(key);
        let full = shard.states.len() >= MAX_IN_SHARD || self.room.0.load(Ordering::Relaxed) >= MAX_IN_ALL;
        if full && !shard.states.contains_key(&key) {
            self.make_room(&mut shard, now);
        }
        match shard.states.entry(key) {
            Entry::Occupied(found) => Arc::clone(found.get()),
            Entry::Vacant(place) => {
                self.room.0.fetch_add(1, Ordering::Relaxed);
                Arc::clone(place.insert(Arc::default()))
            }
        }
    }

    /// Forgets what says the same as a new state.
    pub(crate) fn sweep(&self, now: Nanos) {
        for shard in &self.shards {
            self.sweep_shard(&mut locked(shard), now);
        }
    }

    fn sweep_shard(&self, shard: &mut Shard<S>, now: Nanos) {
        let before = shard.states.len();
        shard.states.retain(|_, state| Arc::strong_count(state) > 1 || !state.is_idle(now));
        shard.swept = now;
        self.room.0.fetch_sub(before - shard.states.len(), Ordering::Relaxed);
        if shard.states.is_empty() {
            shard.states = HashMap::new();
        }
    }

    fn make_room(&self, shard: &mut Shard<S>, now: Nanos) {
        if now.saturating_sub(shard.swept) >= BETWEEN_SWEEPS {
            let before = shard.states.len();
            self.sweep_shard(shard, now);
            if shard.states.len() < before {
                return;
            }
        }
        let unused = |state: &Arc<S>| Arc::strong_count(state) == 1;
        let sample = || shard.states.iter().take(SAMPLE);
        let goes = sample().find(|(_, s)| unused(s) && s.is_idle(now)).or_else(|| sample().find(|(_, s)| unused(s)));
        // A state in use is one of a request that is being answered, which its own bounds limit.
        if let Some(key) = goes.map(|(key, _)| *key) {
            shard.states.remove(&key);
            self.room.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "only some bits choose the part")]
    fn shard(&self, key: u128) -> MutexGuard<'_, Shard<S>> {
        // Neighbouring addresses differ in their last bits, networks in higher ones.
        let mixed = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        locked(&self.shards[(mixed >> 32) as usize % SHARDS])
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).states.len()).sum()
    }
}

impl<S> Drop for Keyed<S> {
    fn drop(&mut self) {
        let held: usize = self.shards.iter().map(|shard| locked(shard).states.len()).sum();
        self.room.0.fetch_sub(held, Ordering::Relaxed);
    }
}

/// A panic elsewhere leaves the map whole, so it is used on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    /// Idle once a time has come.
    #[derive(Default)]
    struct Until(AtomicU64);

    impl State for Until {
        fn is_idle(&self, now: Nanos) -> bool {
            self.0.load(Ordering::Relaxed) <= now
        }
    }

    fn busy(states: &Keyed<Until>, key: u128, now: Nanos, until: Nanos) {
        states.get(key, now).0.store(until, Ordering::Relaxed);
    }

    #[test]
    fn a_state_is_kept_until_it_says_nothing_any_more() {
        let room = Room::default();
        let states = Keyed::<Until>::new(&room);
        for key in 0..1000 {
            busy(&states, key, 1, 50 + u64::from(key < 500));
        }
        states.sweep(50);
        assert_eq!((states.len(), room.0.load(Ordering::Relaxed)), (500, 500));
        let held = states.get(1, 50);
        states.sweep(100);
        assert_eq!(states.len(), 1, "one in use is kept");
        assert!(Arc::ptr_eq(&held, &states.get(1, 100)));
        drop(states);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory_and_forgets_idle_ones_first() {
        let states = Keyed::<Until>::new(&Room::default());
        for key in 0..1000 {
            busy(&states, key, 1, u64::MAX);
        }
        for key in 1000..300_000 {
            busy(&states, key, BETWEEN_SWEEPS * u64::try_from(key).unwrap_or(0) / 1000, 0);
        }
        assert!(states.len() <= SHARDS * MAX_IN_SHARD);
        let kept = (0..1000).filter(|key| states.get(*key, 1).0.load(Ordering::Relaxed) == u64::MAX).count();
        assert_eq!(kept, 1000);
        for key in 300_000..600_000 {
            busy(&states, key, 1, u64::MAX);
        }
        assert!(states.len() <= SHARDS * MAX_IN_SHARD);
    }
}

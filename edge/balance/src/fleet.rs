//! Everything that is known of all apps' addresses. It outlives the versions of the route table: a route that is
//! told anew finds what was known of its addresses before.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::instance::Instance;
use crate::probe::{self, Check};
use crate::upstreams::Upstreams;

/// How long is remembered what no route has: longer than the time between two versions of a route, and longer
/// than an address is left out.
const REMEMBERED: Duration = Duration::from_secs(120);
/// Looks at instances that are under way at once, so that thousands of apps are not thousands of sockets.
const PROBES: usize = 64;
/// Size from which on it is tidied up, so that small ones never are.
const FEW: usize = 64;

/// Everything that is known of all apps' addresses.
#[derive(Debug)]
pub struct Fleet {
    known: Mutex<Known>,
    probes: Arc<Semaphore>,
    ejections: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Known {
    instances: HashMap<SocketAddr, Arc<Instance>>,
    budgets: HashMap<Box<str>, Weak<Budget>>,
    /// Size of both at which it is tidied up next.
    tidy_at: usize,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::counting(Arc::default())
    }
}

impl Fleet {
    /// Counts, in what the caller may read, how often an instance was left out.
    #[must_use]
    pub fn counting(ejections: Arc<AtomicU64>) -> Self {
        Self { known: Mutex::default(), probes: Arc::new(Semaphore::new(PROBES)), ejections }
    }

    /// The set of these addresses. `check` says how they are looked at from now on; a runtime must be running when
    /// there is one.
    #[must_use]
    pub fn upstreams(&self, project: &str, addresses: &[SocketAddr], check: Option<Check>) -> Arc<Upstreams> {
        let now = Instant::now();
        let check = check.map(Arc::new);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.tidy(now);
        let budget = known.budget(project, now);
        let mut instances: Vec<Arc<Instance>> = Vec::with_capacity(addresses.len());
        for address in addresses {
            // Twice the same address would be twice the requests for it, and could never be half of the set.
            if instances.iter().any(|i| i.address == *address) {
                continue;
            }
            let new = || Arc::new(Instance::new(*address, now, &self.ejections));
            let instance = Arc::clone(known.instances.entry(*address).or_insert_with(new));
            instance.set_check(check.clone());
            instances.push(instance);
        }
        drop(known);
        if check.is_some() {
            for instance in &instances {
                probe::start(instance, &self.probes);
            }
        }
        Arc::new(Upstreams::new(instances.into(), budget))
    }
}

impl Known {
    fn budget(&mut self, project: &str, now: Instant) -> Arc<Budget> {
        if let Some(budget) = self.budgets.get(project).and_then(Weak::upgrade) {
            return budget;
        }
        let budget = Arc::new(Budget::new(now));
        self.budgets.insert(project.into(), Arc::downgrade(&budget));
        budget
    }

    /// Forgets what no set has any more, each time it has doubled.
    fn tidy(&mut self, now: Instant) {
        if self.instances.len() + self.budgets.len() < self.tidy_at.max(FEW) {
            return;
        }
        self.instances.retain(|_, i| Arc::strong_count(i) > 1 || i.idle(now) < REMEMBERED);
        self.budgets.retain(|_, b| b.strong_count() > 0);
        self.tidy_at = (self.instances.len() + self.budgets.len()) * 2;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    #[test]
    fn what_is_known_of_an_address_outlives_its_route() {
        let fleet = Fleet::default();
        let now = Instant::now();
        let set = fleet.upstreams("a", &[address(1), address(2)], None);
        let mut held = Vec::new();
        // Two are chosen of two, so the one that is less busy: each in turn.
        for random in 0..2 {
            held.push(set.pick(now, &[], random).unwrap());
        }
        drop(set);
        let again = fleet.upstreams("a", &[address(2), address(1), address(3), address(3)], None);
        assert_eq!(again.pick(now, &[address(1), address(2)], 0).unwrap().address(), address(3));
        for random in 0..100_u64 {
            let picked = again.pick(now, &[address(2)], random.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap();
            assert_eq!(picked.address(), address(3), "the other is busy with requests of the earlier set");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_route_has_is_forgotten_after_a_while() {
        let fleet = Fleet::default();
        for n in 0..60_000 {
            drop(fleet.upstreams(&format!("project-{n}"), &[address(n)], None));
            if n % 1000 == 0 {
                tokio::time::advance(Duration::from_secs(60)).await;
            }
        }
        let known = fleet.known.lock().unwrap();
        assert!(known.instances.len() < 10_000 && known.budgets.len() < 10_000);
    }
}

//! The instances of one app, and the choice among them.
//!
//! Of two instances at random the one with fewer requests in flight is asked (power of two choices). An instance
//! that fails several times in a row is left out for a while, then tried with one request. At most half of a set
//! is left out so: when more fail, the cause is elsewhere, and the others would only be overloaded. When none is
//! left, all are asked as if none had failed.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use crate::budget::Budget;
use crate::instance::{Instance, Standing};

/// The instances of one app.
#[derive(Debug)]
pub struct Upstreams {
    instances: Box<[Arc<Instance>]>,
    budget: Arc<Budget>,
}

/// A request that an instance answers. Dropping it says that it is over.
#[derive(Debug)]
pub struct Ticket {
    set: Arc<Upstreams>,
    index: usize,
    is_trial: bool,
}

impl Upstreams {
    pub(crate) const fn new(instances: Box<[Arc<Instance>]>, budget: Arc<Budget>) -> Self {
        Self { instances, budget }
    }

    /// Chooses an instance for a request, but none whose address is in `avoid`. `None` when none is left.
    /// `random` is any number, chosen evenly.
    #[must_use]
    pub fn pick(self: &Arc<Self>, now: Instant, avoid: &[SocketAddr], random: u64) -> Option<Ticket> {
        if let [only] = &*self.instances {
            return (!avoid.contains(&only.address)).then(|| self.ticket(0, false));
        }
        let wanted = |i: &Instance| !avoid.contains(&i.address) && i.standing(now) != Standing::Bad;
        if let Some(index) = self.choose(random, wanted) {
            let is_trial = self.instances[index].standing(now) == Standing::Trial;
            if !is_trial || self.instances[index].begin_trial() {
                return Some(self.ticket(index, is_trial));
            }
            // Another request has just become the trial.
            let good = |i: &Instance| !avoid.contains(&i.address) && i.standing(now) == Standing::Good;
            if let Some(index) = self.choose(random, good) {
                return Some(self.ticket(index, false));
            }
        }
        self.choose(random, |i| !avoid.contains(&i.address)).map(|index| self.ticket(index, false))
    }

    /// Whether there is an instance at all whose address is not in `avoid`.
    #[must_use]
    pub fn has_other(&self, avoid: &[SocketAddr]) -> bool {
        self.instances.iter().any(|i| !avoid.contains(&i.address))
    }

    /// Notes a request, of which a share may be tried again.
    pub fn request(&self) {
        self.budget.request();
    }

    /// Whether a request that failed may be tried again, as far as the project's budget goes.
    #[must_use]
    pub fn may_retry(&self, now: Instant) -> bool {
        self.budget.retry(now)
    }

    /// Number of addresses that are left out now, because they failed.
    #[must_use]
    pub fn left_out(&self, now: Instant) -> usize {
        self.instances.iter().filter(|i| i.standing(now) != Standing::Good).count()
    }

    /// The instance of a set of one.
    #[cfg(test)]
    pub(crate) fn only(&self) -> Arc<Instance> {
        Arc::clone(&self.instances[0])
    }

    fn ticket(self: &Arc<Self>, index: usize, is_trial: bool) -> Ticket {
        self.instances[index].begin();
        Ticket { set: Arc::clone(self), index, is_trial }
    }

    /// Of two of those that `wanted` names the less busy one.
    fn choose(&self, random: u64, wanted: impl Fn(&Instance) -> bool) -> Option<usize> {
        let found = || self.instances.iter().enumerate().filter(|(_, i)| wanted(i)).map(|(index, _)| index);
        let count = found().count();
        // The halves of the number are independent of each other.
        let (low, high) = (random as u32 as usize, (random >> 32) as usize);
        let first = low.checked_rem(count)?;
        // What is wanted may have changed since it was counted.
        let a = found().nth(first)?;
        if count == 1 {
            return Some(a);
        }
        let second = (first + 1 + high % (count - 1)) % count;
        let b = found().nth(second).unwrap_or(a);
        Some(if self.instances[b].load() < self.instances[a].load() { b } else { a })
    }

    fn failed(&self, index: usize, was_trial: bool, now: Instant) {
        let instance = &self.instances[index];
        if !instance.failed(was_trial) {
            return;
        }
        let bad = |i: &&Arc<Instance>| i.address != instance.address && i.standing(now) != Standing::Good;
        let left_out = self.instances.iter().filter(bad).count();
        if was_trial || left_out < self.instances.len() / 2 {
            instance.eject(now);
        }
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        let now = Instant::now();
        for instance in &self.instances {
            instance.leave(now);
        }
    }
}

impl Ticket {
    /// Where the request goes.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.set.instances[self.index].address
    }

    /// The set it was chosen from.
    #[must_use]
    pub const fn upstreams(&self) -> &Arc<Upstreams> {
        &self.set
    }

    /// The instance answered as a running app does.
    pub fn succeeded(&mut self) {
        self.set.instances[self.index].succeeded(self.is_trial);
        self.conclude();
    }

    /// The instance accepted no connection, broke off, was silent for too long, or answered as a gateway
    /// does whose app is gone (502, 503, 504).
    pub fn failed(&mut self, now: Instant) {
        self.set.failed(self.index, self.is_trial, now);
        self.conclude();
    }

    fn conclude(&mut self) {
        if std::mem::take(&mut self.is_trial) {
            self.set.instances[self.index].end_trial();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A trial without a verdict, because the visitor left: the next request is one.
        self.conclude();
        self.set.instances[self.index].end();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;
    use std::time::Duration;

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::Fleet;

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    fn set(count: u16) -> Arc<Upstreams> {
        let addresses: Vec<SocketAddr> = (1..=count).map(address).collect();
        Fleet::default().upstreams("project", &addresses, None)
    }

    fn fail(set: &Arc<Upstreams>, which: SocketAddr, times: u32, now: Instant) {
        let index = set.instances.iter().position(|i| i.address == which).unwrap();
        for _ in 0..times {
            set.ticket(index, false).failed(now);
        }
    }

    #[test]
    fn an_address_that_failed_for_this_request_is_not_asked_again() {
        let now = Instant::now();
        let set = set(3);
        for random in 0..100_u64 {
            let ticket = set.pick(now, &[address(1), address(3)], random.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap();
            assert_eq!(ticket.address(), address(2));
        }
        assert!(set.pick(now, &[address(1), address(2), address(3)], 7).is_none());
        let one = super::tests::set(1);
        assert!(one.pick(now, &[], 0).is_some() && one.pick(now, &[address(1)], 0).is_none());
        assert!(super::tests::set(0).pick(now, &[], 0).is_none());
    }

    /// Requests come evenly and take random times; what each instance gets is nearly the same, and none is ever
    /// much busier than another.
    #[test]
    fn requests_spread_evenly() {
        const INSTANCES: u16 = 10;
        const REQUESTS: usize = 100_000;
        let mut rng = SmallRng::seed_from_u64(1);
        let set = set(INSTANCES);
        let now = Instant::now();
        let mut running: Vec<(usize, Ticket)> = Vec::new();
        let mut asked: HashMap<SocketAddr, usize> = HashMap::new();
        let mut widest = 0;
        for at in 0..REQUESTS {
            running.retain(|(end, _)| *end > at);
            let ticket = set.pick(now, &[], rng.random()).unwrap();
            *asked.entry(ticket.address()).or_default() += 1;
            running.push((at + rng.random_range(1..200), ticket));
            let loads = || set.instances.iter().map(|i| i.load());
            widest = widest.max(loads().max().unwrap() - loads().min().unwrap());
        }
        let even = REQUESTS / usize::from(INSTANCES);
        for (address, count) in &asked {
            assert!(count.abs_diff(even) < even / 20, "{address} was asked {count} times of {even}");
        }
        assert!(widest <= 12, "one was busier than another by {widest} requests");
    }

    #[test]
    fn a_dead_instance_gets_no_more_than_trials() {
        let mut rng = SmallRng::seed_from_u64(2);
        let set = set(4);
        let start = Instant::now();
        let mut to_the_dead = Vec::new();
        // A hundred requests a second for ten minutes.
        for request in 0..60_000 {
            let now = start + Duration::from_millis(request * 10);
            let mut ticket = set.pick(now, &[], rng.random()).unwrap();
            if ticket.address() == address(1) {
                to_the_dead.push(now - start);
                ticket.failed(now);
            } else {
                ticket.succeeded();
            }
        }
        // Three until it is left out, then after 2, 4, 8, 16, 32 seconds, then once a minute.
        assert!(to_the_dead.len() <= 3 + 5 + 10, "it was asked at {to_the_dead:?}");
        assert!(to_the_dead.len() >= 12, "it is tried again and again: {to_the_dead:?}");
    }

    #[test]
    fn an_instance_that_is_back_gets_its_share_again_after_one_trial() {
        let mut rng = SmallRng::seed_from_u64(3);
        let set = set(2);
        let start = Instant::now();
        fail(&set, address(1), 3, start);
        for _ in 0..100 {
            assert_eq!(set.pick(start, &[], rng.random()).unwrap().address(), address(2));
        }
        let later = start + Duration::from_secs(3);
        let mut held = Vec::new();
        let mut trial = loop {
            let ticket = set.pick(later, &[], rng.random()).unwrap();
            if ticket.address() == address(1) {
                break ticket;
            }
            held.push(ticket);
        };
        for _ in 0..100 {
            let while_it_is_tried = set.pick(later, &[], rng.random()).unwrap();
            assert_eq!(while_it_is_tried.address(), address(2), "only one request tries it");
        }
        trial.succeeded();
        drop((trial, held));
        let share = (0..1000).filter(|_| set.pick(later, &[], rng.random()).unwrap().address() == address(1));
        assert!((400..600).contains(&share.count()));
    }

    #[test]
    fn a_trial_whose_visitor_leaves_is_followed_by_another() {
        let set = set(2);
        let start = Instant::now();
        fail(&set, address(1), 3, start);
        let later = start + Duration::from_secs(3);
        for _ in 0..3 {
            let trial = (0..1000_u64).find_map(|n| {
                let ticket = set.pick(later, &[], n.wrapping_mul(0x9E37_79B9_7F4A_7C15))?;
                (ticket.address() == address(1)).then_some(ticket)
            });
            drop(trial.unwrap());
        }
        assert_eq!(set.left_out(later), 1);
    }

    #[test]
    fn at_most_half_of_a_set_is_left_out() {
        let now = Instant::now();
        let set = set(5);
        for n in 1..=5 {
            fail(&set, address(n), 10, now);
        }
        assert_eq!(set.left_out(now), 2);
        let one = super::tests::set(1);
        fail(&one, address(1), 10, now);
        assert_eq!(one.pick(now, &[], 0).unwrap().address(), address(1), "the only one is never left out");
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let now = Instant::now();
        let set = set(2);
        for _ in 0..10 {
            fail(&set, address(1), 2, now);
            set.ticket(0, false).succeeded();
        }
        assert_eq!(set.left_out(now), 0);
    }

    #[test]
    fn when_none_is_left_all_are_asked() {
        let now = Instant::now();
        let set = set(2);
        for instance in &set.instances {
            instance.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        assert!(set.pick(now, &[], 1).is_some());
        assert_eq!(set.pick(now, &[address(1)], 1).unwrap().address(), address(2));
    }

    #[test]
    fn what_is_in_flight_is_counted_until_it_is_over() {
        let now = Instant::now();
        let set = set(2);
        let busy: Vec<Ticket> = (0..10).map(|_| set.ticket(0, false)).collect();
        for random in 0..100_u64 {
            assert_eq!(set.pick(now, &[], random.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap().address(), address(2));
        }
        drop(busy);
        assert_eq!(set.instances[0].load(), 0);
    }
}

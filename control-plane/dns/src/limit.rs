//! How many datagrams a network is answered: a server of DNS must not become a weapon against forged senders.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

/// Buckets kept: 512 KiB, whatever comes. Networks that share one share its rate; the hash is seeded at each start.
const BUCKETS: usize = 65_536;

/// What may be done with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer it.
    Answer,
    /// Answer with the truncation bit alone, so that a real asker comes over TCP.
    Slip,
    /// Say nothing.
    Drop,
}

/// A token bucket for each IPv4 /24 and IPv6 /56, in a table of fixed size without locks.
#[derive(Debug)]
pub struct Limiter {
    /// Upper half: milliseconds of the last visit; lower half: tokens left.
    buckets: Box<[AtomicU64]>,
    hasher: RandomState,
    rate: u32,
    burst: u32,
    slips: AtomicU64,
}

impl Limiter {
    /// Lets `rate` queries a second through for each network, and `burst` at once. A rate of 0 lets all through.
    pub fn new(rate: u32, burst: u32) -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(u64::from(burst))).collect();
        Self { buckets, hasher: RandomState::new(), rate, burst, slips: AtomicU64::new(0) }
    }

    /// Judges a query from `address` at `now`, in milliseconds of any clock that only goes forward.
    pub fn judge(&self, address: IpAddr, now: u32) -> Verdict {
        if self.rate == 0 {
            return Verdict::Answer;
        }
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address) >> 8),
            // The lowest bit set keeps it apart from every IPv4 network.
            IpAddr::V6(address) => (u128::from(address) >> 72) as u64 | 1 << 63,
        };
        let index = self.hasher.hash_one(network) as usize % BUCKETS;
        let Some(bucket) = self.buckets.get(index) else { return Verdict::Answer };
        let taken = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (last, tokens) = ((state >> 32) as u32, state as u32);
            let passed = u64::from(now.wrapping_sub(last));
            let gained = passed * u64::from(self.rate) / 1000;
            let full = (u64::from(tokens) + gained).min(u64::from(self.burst));
            // The time that gave less than one token is kept, or slow networks would never gain.
            let last = if gained > 0 { now } else { last };
            (full > 0).then(|| u64::from(last) << 32 | (full - 1))
        });
        match taken {
            Ok(_) => Verdict::Answer,
            Err(_) if self.slips.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => Verdict::Slip,
            Err(_) => Verdict::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_over_its_rate_is_slipped_and_dropped_in_turn_and_others_are_not() {
        let limiter = Limiter::new(10, 5);
        let flood: IpAddr = "192.0.2.7".parse().unwrap();
        for _ in 0..5 {
            assert_eq!(limiter.judge(flood, 0), Verdict::Answer);
        }
        let neighbour = "192.0.2.200".parse().unwrap();
        assert_eq!(limiter.judge(neighbour, 0), Verdict::Slip);
        assert_eq!(limiter.judge(flood, 0), Verdict::Drop);
        assert_eq!(limiter.judge("2001:db8::1".parse().unwrap(), 0), Verdict::Answer);
        assert_eq!(limiter.judge(flood, 100), Verdict::Answer);
    }
}

//! Rates: requests that arrive evenly with bursts (GCRA), and bytes that are paced. Each state is one number that
//! is changed without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::policy::Limit;

/// Nanoseconds since the guard began; never zero.
pub(crate) type Nanos = u64;

const SECOND: Nanos = 1_000_000_000;
/// How far a paced body may run ahead, in nanoseconds: a page's first quarter of a second is not delayed.
const AHEAD: Nanos = SECOND / 4;

/// Requests per second with a burst, by the generic cell rate algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Time between two requests at the average.
    interval: Nanos,
    /// How much earlier than that a request may come.
    tolerance: Nanos,
}

impl Rate {
    /// So many requests at once, and as many again in each such time.
    pub(crate) fn quota(requests: u32, per_s: u32) -> Self {
        let interval = (u64::from(per_s) * SECOND / u64::from(requests.max(1))).max(1);
        Self { interval, tolerance: interval.saturating_mul(requests.saturating_sub(1).into()) }
    }

    /// What a limit says of requests, if anything.
    pub(crate) fn of(limit: &Limit) -> Option<Self> {
        let per_s = limit.requests_per_s?;
        let interval = (SECOND / u64::from(per_s.max(1))).max(1);
        Some(Self { interval, tolerance: interval.saturating_mul(limit.burst.unwrap_or(per_s).into()) })
    }
}

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth(u64);

impl Bandwidth {
    pub(crate) fn of(limit: &Limit) -> Option<Self> {
        limit.bytes_per_s.map(|rate| Self(rate.max(1)))
    }

    fn cost(self, bytes: usize) -> Nanos {
        let nanos = bytes as u128 * u128::from(SECOND) / u128::from(self.0);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

/// When the next request, or byte, would come if all came evenly.
#[derive(Debug, Default)]
pub(crate) struct Arrival(AtomicU64);

impl Arrival {
    /// Lets a request pass, or says how long it should have waited.
    pub(crate) fn take(&self, now: Nanos, rate: Rate) -> Result<(), Duration> {
        let took = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            (due.saturating_sub(now) <= rate.tolerance).then(|| due.max(now).saturating_add(rate.interval))
        });
        match took {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos(due.saturating_sub(now).saturating_sub(rate.tolerance))),
        }
    }

    /// Counts bytes that were sent, and says how long the next ones should wait.
    pub(crate) fn pace(&self, now: Nanos, bandwidth: Bandwidth, bytes: usize) -> Duration {
        let cost = bandwidth.cost(bytes);
        let step = |due: Nanos| due.max(now).saturating_add(cost);
        let due = match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(step(due))) {
            Ok(before) | Err(before) => step(before),
        };
        Duration::from_nanos(due.saturating_sub(now).saturating_sub(AHEAD))
    }

    /// Whether it says the same as one that never saw a request.
    pub(crate) fn is_idle(&self, now: Nanos) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(arrival: &Arrival, rate: Rate, times: impl Iterator<Item = Nanos>) -> usize {
        times.filter(|now| arrival.take(*now, rate).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_the_average_afterwards() {
        let limit = Limit { requests_per_s: Some(10), burst: Some(5), ..Limit::default() };
        let rate = Rate::of(&limit).unwrap_or_else(|| unreachable!());
        let arrival = Arrival::default();
        assert_eq!(passed(&arrival, rate, std::iter::repeat_n(SECOND, 100)), 6);
        // A thousand a second for ten seconds.
        let flood = (1..=10_000).map(|ms| SECOND + ms * SECOND / 1000);
        assert_eq!(passed(&arrival, rate, flood), 100);
        let refused = arrival.take(11 * SECOND, rate);
        assert_eq!(refused, Err(Duration::from_millis(100)), "one passes every tenth of a second");
        assert!(arrival.take(11 * SECOND + SECOND / 10, rate).is_ok());
    }

    #[test]
    fn without_a_burst_as_many_come_at_once_as_in_a_second() {
        let limit = Limit { requests_per_s: Some(10), ..Limit::default() };
        let rate = Rate::of(&limit).unwrap_or_else(|| unreachable!());
        assert_eq!(passed(&Arrival::default(), rate, std::iter::repeat_n(SECOND, 100)), 11);
        assert_eq!(Rate::of(&Limit::default()), None);
    }

    #[test]
    fn a_paced_body_takes_as_long_as_its_bytes_need() {
        let limit = Limit { bytes_per_s: Some(1_000_000), ..Limit::default() };
        let bandwidth = Bandwidth::of(&limit).unwrap_or_else(|| unreachable!());
        let (arrival, mut now) = (Arrival::default(), SECOND);
        for _ in 0..100 {
            let wait = arrival.pace(now, bandwidth, 100_000);
            now += u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        }
        let took = Duration::from_nanos(now - SECOND);
        assert_eq!(took, Duration::from_secs(10) - Duration::from_nanos(AHEAD));
        assert!(!arrival.is_idle(now) && arrival.is_idle(now + AHEAD));
    }

    #[test]
    fn a_quota_passes_at_once_and_comes_back_evenly() {
        let (arrival, rate) = (Arrival::default(), Rate::quota(5, 60));
        assert_eq!(passed(&arrival, rate, std::iter::repeat_n(SECOND, 100)), 5);
        assert_eq!(arrival.take(SECOND, rate), Err(Duration::from_secs(12)));
        // Ten a second for ten minutes.
        assert_eq!(passed(&arrival, rate, (1..=6000).map(|i| SECOND + i * SECOND / 10)), 50);
        assert_eq!(passed(&Arrival::default(), Rate::quota(1, 1), (10..=100).map(|i| i * SECOND / 10)), 10);
    }
}

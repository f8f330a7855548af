//! How many requests of a project may be tried again: a share of all its requests, so that an app in trouble is
//! not given several times its load.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// A retry, in the unit of the counts: thousandths.
const ONE: u64 = 1000;
/// What each request adds, in thousandths of a retry: a fifth.
const PER_REQUEST: u64 = 200;
/// What each millisecond adds, in thousandths of a retry: ten retries a second, so that projects with few
/// requests have retries at all.
const PER_MS: u64 = 10;
/// Most retries that are saved up, in thousandths: what ten seconds without a request save. More would let a
/// sudden failure be answered with a burst that no share of the requests justifies.
const MOST: u64 = 100 * ONE;

/// A project's retries.
#[derive(Debug)]
pub(crate) struct Budget {
    since: Instant,
    /// Up to when time was counted, in milliseconds after `since`.
    counted: AtomicU64,
    /// Retries left, in thousandths.
    left: AtomicU64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, counted: AtomicU64::new(0), left: AtomicU64::new(PER_MS * 1000) }
    }

    /// A request came.
    pub(crate) fn request(&self) {
        // Full most of the time, and then nothing is written that other cores read.
        if self.left.load(Ordering::Relaxed) < MOST {
            self.left.fetch_add(PER_REQUEST, Ordering::Relaxed);
        }
    }

    /// Takes a retry, if there is one.
    pub(crate) fn retry(&self, now: Instant) -> bool {
        let now = u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
        let counted = self.counted.fetch_max(now, Ordering::Relaxed);
        let saved = now.saturating_sub(counted).saturating_mul(PER_MS);
        let take = |left: u64| left.saturating_add(saved).min(MOST).checked_sub(ONE);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return true;
        }
        // What was saved is not lost.
        self.left.fetch_add(saved.min(MOST), Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn drain(budget: &Budget, now: Instant) -> usize {
        (0..10_000).take_while(|_| budget.retry(now)).count()
    }

    #[test]
    fn ten_requests_a_second_may_be_tried_again_however_few_there_are() {
        let start = Instant::now();
        let budget = Budget::new(start);
        assert_eq!(drain(&budget, start), 10);
        assert_eq!(drain(&budget, start + Duration::from_millis(50)), 0);
        assert_eq!(drain(&budget, start + Duration::from_millis(100)), 1);
        assert_eq!(drain(&budget, start + Duration::from_secs(1)), 9);
        assert_eq!(drain(&budget, start + Duration::from_secs(3600)), 100, "no more is saved up");
    }

    #[test]
    fn a_fifth_of_many_requests_may_be_tried_again() {
        let now = Instant::now();
        let budget = Budget::new(now);
        drain(&budget, now);
        let retried = (0..10_000).filter(|_| {
            budget.request();
            budget.retry(now)
        });
        assert_eq!(retried.count(), 2000);
    }
}

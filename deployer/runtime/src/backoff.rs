//! When an app that ended is started again.

use std::time::Duration;

use crate::Backoff;

/// Part of a pause by which it is made longer or shorter at random, so that apps that ended together (their
/// database went away) are not all started together again and again.
const JITTER: f64 = 0.2;

/// The pauses of one app.
#[derive(Debug)]
pub(crate) struct Pauses {
    settings: Backoff,
    next: Duration,
}

impl Pauses {
    pub(crate) fn new(settings: Backoff) -> Self {
        Self { next: settings.first, settings }
    }

    /// The pause after an end that came `healthy` long after the last passed start; `at` in 0 to 1 is where
    /// within the jitter it lies.
    pub(crate) fn next(&mut self, healthy: Duration, at: f64) -> Duration {
        if healthy >= self.settings.reset_after {
            self.next = self.settings.first;
        }
        let pause = self.next.min(self.settings.max);
        self.next = (pause * 2).min(self.settings.max);
        pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * at.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_health_resets_them() {
        let mut pauses = Pauses::new(Backoff::default());
        let short = Duration::from_secs(5);
        let seconds: Vec<u64> = (0..8).map(|_| pauses.next(short, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses.next(Duration::from_secs(60), 0.5).as_secs(), 1);
    }

    #[test]
    fn pauses_differ_by_a_fifth_at_most() {
        let pause = |at| Pauses::new(Backoff::default()).next(Duration::ZERO, at).as_millis();
        assert_eq!((pause(0.0), pause(1.0)), (800, 1200));
    }
}

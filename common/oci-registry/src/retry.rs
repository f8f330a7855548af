//! Waiting before something is tried again.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;

/// First pause; it doubles.
const FIRST: Duration = Duration::from_millis(250);
/// Longest pause of our own.
const MAX: Duration = Duration::from_secs(15);
/// Longest pause that a registry may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// The tries of one thing.
#[derive(Debug)]
pub(crate) struct Retry {
    patience: Duration,
    next: Duration,
    since: Instant,
}

impl Retry {
    /// Tries that end when nothing went on for as long as `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, next: FIRST, since: Instant::now() }
    }

    /// Something went on.
    pub(crate) fn progress(&mut self) {
        self.next = FIRST;
        self.since = Instant::now();
    }

    /// Waits before the next try; gives the failure back when it is final, or has lasted too long.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let Failure::Passing { why, wait } = failure else { return Err(failure) };
        // Of two that failed together, both do not come back together.
        let own = self.next.mul_f64(rand::random_range(0.5..1.0));
        let pause = wait.map_or(own, |asked| asked.min(ASKED_MAX).max(own));
        if self.since.elapsed() + pause > self.patience {
            return Err(Failure::Passing { why: format!("{why}, for {} s now", self.since.elapsed().as_secs()), wait });
        }
        tracing::debug!(why, retry_in_ms = pause.as_millis(), "the registry is asked again");
        self.next = (self.next * 2).min(MAX);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(wait: Option<Duration>) -> Failure {
        Failure::Passing { why: "away".to_owned(), wait }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_is_waited_for_as_long_as_it_asks_and_not_for_ever() {
        let mut retry = Retry::new(Duration::from_secs(100));
        let begun = Instant::now();
        assert!(retry.wait(passing(Some(Duration::from_secs(7)))).await.is_ok());
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
        retry.progress();
        let mut tries = 0;
        while retry.wait(passing(None)).await.is_ok() {
            tries += 1;
        }
        assert!((8..40).contains(&tries), "{tries}");
        assert!(begun.elapsed() <= Duration::from_secs(107));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_final_is_not_tried_again() {
        let begun = Instant::now();
        let mut retry = Retry::new(Duration::from_secs(100));
        assert!(retry.wait(Failure::Missing(String::new())).await.is_err());
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

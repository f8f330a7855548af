//! Cuts off visitors who send or take bytes too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Patience with one direction of a connection. Waiting for the visitor uses it up, bytes that move renew it; so it
/// ends with a visitor who is silent, and with one who is slower than the rate for long enough. Time in which
/// nobody waits for the visitor does not count.
#[derive(Debug)]
pub(crate) struct Pace {
    /// All the patience there is.
    limit: Duration,
    /// Bytes that renew one second of it; 0 lets each byte renew all.
    rate: u32,
    /// What is left.
    left: Duration,
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Pace {
    pub(crate) const fn new(limit: Duration, rate: u32) -> Self {
        Self { limit, rate, left: limit, waiting: None }
    }

    /// So many bytes moved.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        if self.left < self.limit {
            let renewed = match self.rate {
                0 => self.limit,
                rate => Duration::from_secs_f64(bytes as f64 / f64::from(rate)),
            };
            self.left = self.limit.min(self.left.saturating_add(renewed));
        }
    }

    /// The visitor is waited for. Fails when that has taken too long.
    pub(crate) fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let left = self.left;
        let (_, timer) = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the visitor is too slow"))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Waits that long, unless patience ends before.
    async fn wait(pace: &mut Pace, seconds: u64) -> bool {
        let waited = poll_fn(|cx| pace.wait(cx));
        tokio::time::timeout(Duration::from_secs(seconds), waited).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_silence_and_with_dripping_but_not_with_steady_slowness() {
        let mut silent = Pace::new(Duration::from_secs(60), 100);
        assert!(wait(&mut silent, 59).await);
        assert!(!wait(&mut silent, 2).await);

        let mut dripping = Pace::new(Duration::from_secs(60), 100);
        let mut drops = 0;
        while wait(&mut dripping, 10).await {
            dripping.moved(1);
            drops += 1;
        }
        assert!(drops < 10, "{drops}");

        let mut steady = Pace::new(Duration::from_secs(60), 100);
        for _ in 0..100 {
            assert!(wait(&mut steady, 10).await);
            steady.moved(1001);
        }
    }
}

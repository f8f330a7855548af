//! Which apps visitors ask for, on its way to the control plane: an app at a single deployment's address
//! runs only while somebody does.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::id::DeploymentId;
use tokio::sync::mpsc;

/// Wishes that wait to be told. One that does not fit is dropped, and told at a later request.
const QUEUE: usize = 1024;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tells the control plane what visitors ask for.
#[derive(Clone)]
pub(crate) struct Wishes(mpsc::Sender<DeploymentId>);

impl Wishes {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<DeploymentId>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// A visitor asks for this deployment.
    pub(crate) fn tell(&self, deployment: &DeploymentId) {
        if self.0.try_send(deployment.clone()).is_err() {
            tracing::debug!(%deployment, "a visitor's wish could not be told");
        }
    }

    /// Waits until nobody listens to wishes any more, because the edge drains.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// When something was done last; shared without a lock.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Whether it is to be done again, `every` so often. Says so to one of those who ask at once.
    pub(crate) fn is_due(&self, every: Duration) -> bool {
        // One more than the time, because zero means never.
        let now = millis(START.elapsed()).saturating_add(1);
        let last = self.0.load(Ordering::Relaxed);
        (last == 0 || now.saturating_sub(last) >= millis(every))
            && self.0.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_just_done_is_not_due() {
        let pace = Pace::default();
        assert!(pace.is_due(Duration::from_secs(3600)));
        assert!(!pace.is_due(Duration::from_secs(3600)));
        assert!(pace.is_due(Duration::ZERO));
    }
}

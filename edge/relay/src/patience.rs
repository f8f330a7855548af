//! Waiting with a bound, at next to no cost when the wait is short.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A time that is waited for. It mostly moves on before it comes, so the timer is left where it was and only looks
/// again when it rings: setting one anew for every read would cost more than the read's own work.
#[derive(Debug, Default)]
pub struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    /// Waits until `at`.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // One that rings later than it must was set for a longer wait.
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            // It was set for an earlier wait.
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

/// A bound on silence.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    clock: Clock,
    /// When the present wait began.
    since: Option<Instant>,
}

impl Patience {
    /// What was waited for has come.
    pub(crate) const fn moved(&mut self) {
        self.since = None;
    }

    /// Waits on, but not beyond `limit` since the wait began.
    pub(crate) fn wait(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<io::Error> {
        let end = *self.since.get_or_insert_with(Instant::now) + limit;
        self.clock.poll(cx, end).map(|()| io::ErrorKind::TimedOut.into())
    }
}

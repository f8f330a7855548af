//! Waiting with a bound, at next to no cost when the wait is short.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A bound on silence. Its timer goes on from one wait to the next and is looked at only when it rings, because
/// setting one anew for every read would cost more than the read's own work.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    timer: Option<Pin<Box<Sleep>>>,
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
        let now = Instant::now();
        let end = *self.since.get_or_insert(now) + limit;
        if now >= end {
            return Poll::Ready(io::ErrorKind::TimedOut.into());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        // One that rings later than it must was set for a longer wait.
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            // It was set for an earlier wait.
            if Instant::now() >= end {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

//! Waiting for a visitor's next bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::ending::Wait;
use super::{Connection, READ, spare};

/// What came of waiting for bytes.
pub(super) enum Come {
    /// Some.
    Bytes,
    /// None, the visitor left.
    Left,
    /// None in time.
    Late,
    /// None, and none are wanted any more.
    Unwanted,
}

impl Connection {
    /// Waits for more bytes until `at`; and while none of a request have come, as long as `drain` has not.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, at: Instant, drain: &mut Wait) -> Poll<io::Result<Come>> {
        if self.input.is_empty() && self.input.capacity() < READ {
            spare::give(std::mem::replace(&mut self.input, spare::take()));
        } else {
            self.input.reserve(READ);
        }
        match poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Come::Left)),
            Poll::Ready(result) => return Poll::Ready(result.map(|_| Come::Bytes)),
            Poll::Pending => {}
        }
        if self.input.is_empty() {
            // A connection that is idle keeps no memory.
            spare::give(std::mem::take(&mut self.input));
            spare::give(std::mem::take(&mut self.held));
            if Pin::new(&mut *drain).poll(cx).is_ready() {
                return Poll::Ready(Ok(Come::Unwanted));
            }
        }
        self.clock.poll(cx, at).map(|()| Ok(Come::Late))
    }
}

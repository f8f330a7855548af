//! Waiting for a visitor's next bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::ending::Wait;
use super::{Connection, READ};

/// A time that is waited for. It mostly moves on before it comes, so the timer is left where it was and only looks
/// again when it fires.
#[derive(Debug, Default)]
pub(super) struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let timer = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

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
    pub(super) async fn fill(&mut self, at: Instant, drain: &mut Wait) -> io::Result<Come> {
        poll_fn(|cx| {
            self.input.reserve(READ);
            match poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.input) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Come::Left)),
                Poll::Ready(result) => return Poll::Ready(result.map(|_| Come::Bytes)),
                Poll::Pending => {}
            }
            if self.input.is_empty() {
                // A connection that is idle keeps no memory.
                self.input = BytesMut::new();
                self.held = BytesMut::new();
                if Pin::new(&mut *drain).poll(cx).is_ready() {
                    return Poll::Ready(Ok(Come::Unwanted));
                }
            }
            self.clock.poll(cx, at).map(|()| Ok(Come::Late))
        })
        .await
    }
}

//! The body of one answer on its way to the visitor, as fast as the visitor makes room for it; and what a visitor still
//! sends after that.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use crate::connection::{LINGER, LINGER_BYTES, Pace};

/// A stream whose answer has begun.
pub(super) struct Sender {
    stream: SendStream<Bytes>,
    pace: Pace,
}

impl Sender {
    pub(super) const fn new(stream: SendStream<Bytes>, pace: Pace) -> Self {
        Self { stream, pace }
    }

    /// Sends a piece, and the end with it.
    pub(super) async fn send(&mut self, mut data: Bytes, end: bool) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx, &mut data, end)).await
    }

    /// Sends of a piece what the visitor makes room for, and the end with its last byte. Ready once all of it is sent.
    ///
    /// # Errors
    /// When the visitor has left, or takes it too slowly, and so has lost the stream.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes, end: bool) -> Poll<io::Result<()>> {
        if data.is_empty() && end {
            return Poll::Ready(self.end());
        }
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let room = ready!(self.poll_room(cx))?;
            let piece = data.split_to(room.min(data.len()));
            self.pace.moved(piece.len());
            self.stream.send_data(piece, end && data.is_empty()).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes may be sent now. Who takes them too slowly loses the stream: its connection may be quick.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            return Poll::Ready(Err(match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(error))) => io::Error::other(error),
                Poll::Ready(None) => io::Error::new(io::ErrorKind::ConnectionReset, "the stream was given up"),
                Poll::Pending => {
                    let too_slow = ready!(self.pace.wait(cx));
                    self.stream.send_reset(Reason::CANCEL);
                    too_slow
                }
            }));
        }
    }

    /// Sends the end.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.stream.send_data(Bytes::new(), true).map_err(io::Error::other)
    }

    /// Sends trailers, and the end with them.
    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> io::Result<()> {
        self.stream.send_trailers(trailers).map_err(io::Error::other)
    }

    /// Polls for the visitor's giving the stream up.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.stream.poll_reset(cx).map(given_up)
    }

    /// Breaks the stream off.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

/// Why a visitor waits for an answer no more.
pub(super) fn given_up(reason: Result<Reason, h2::Error>) -> io::Error {
    match reason {
        Ok(reason) => io::Error::new(io::ErrorKind::ConnectionReset, format!("the stream was given up: {reason}")),
        Err(error) => io::Error::other(error),
    }
}

/// Reads for a while what a visitor still sends whose answer is complete: many take a stream that is reset then for
/// one without an answer.
pub(super) async fn linger(body: &mut RecvStream) {
    if body.is_end_stream() {
        return;
    }
    let read = async {
        let mut rest = LINGER_BYTES;
        while rest > 0 {
            let Some(Ok(data)) = body.data().await else { return };
            rest = rest.saturating_sub(data.len());
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(data.len());
        }
    };
    // Who takes longer has had the time to read.
    let _ = tokio::time::timeout(LINGER, Box::pin(read)).await;
}

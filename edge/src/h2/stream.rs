//! The body of one answer on its way to the visitor, as fast as the visitor makes room for it.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use pingora_core::{Error, ErrorType, OrErr as _, Result};

use crate::connection::Pace;

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
    pub(super) async fn send(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        if data.is_empty() && end {
            return self.end();
        }
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let room = poll_fn(|cx| self.poll_room(cx)).await?;
            let piece = data.split_to(room.min(data.len()));
            self.pace.moved(piece.len());
            let sent = self.stream.send_data(piece, end && data.is_empty());
            sent.or_err(ErrorType::WriteError, "a body").map_err(|e| e.into_down())?;
        }
        Ok(())
    }

    /// How many bytes may be sent now. Who takes them too slowly loses the stream: its connection may be quick.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            let error = match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => continue,
                Poll::Ready(Some(Err(error))) => Error::because(ErrorType::WriteError, "a body", error),
                Poll::Ready(None) => Error::explain(ErrorType::ConnectionClosed, "the visitor gave the stream up"),
                Poll::Pending => match self.pace.wait(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(error) => {
                        self.stream.send_reset(Reason::CANCEL);
                        Error::because(ErrorType::WriteTimedout, "a body", error)
                    }
                },
            };
            return Poll::Ready(Err(error.into_down()));
        }
    }

    /// Sends the end.
    pub(super) fn end(&mut self) -> Result<()> {
        let sent = self.stream.send_data(Bytes::new(), true);
        sent.or_err(ErrorType::WriteError, "the end of a body").map_err(|e| e.into_down())
    }

    /// Sends trailers, and the end with them.
    pub(super) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.stream.send_trailers(trailers).or_err(ErrorType::WriteError, "trailers").map_err(|e| e.into_down())
    }

    /// Ends when the visitor gives the stream up.
    pub(super) async fn left(&mut self) -> std::result::Result<Reason, h2::Error> {
        poll_fn(|cx| self.stream.poll_reset(cx)).await
    }

    /// Breaks the stream off.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}

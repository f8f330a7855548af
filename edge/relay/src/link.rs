//! One connection to an app.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;
use wire::{Framing, Limits, Malformed, ParsedResponse, Response, ResponseFraming};

use crate::failure::Failure;
use crate::patience::Patience;
use crate::unframed::Unframed;

/// Bytes read at once while a head or a short body is expected.
const READ: usize = 8 << 10;
/// Bytes read at once of a long body: as many as cost one system call little more than few do, and no more, because
/// every visitor who is slow to take one holds them.
const READ_LONG: usize = 64 << 10;

/// Largest piece of a request's body that is copied behind what comes before it: a copy costs less than a second slice.
const MAX_COPIED: usize = 4 << 10;
/// Bytes that are collected before they must be written: more would only fill the socket.
const MAX_OUTPUT: usize = 16 << 10;

/// A connection to an app. One request at a time.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    address: SocketAddr,
    input: BytesMut,
    /// To be written: first this, then a piece that was too long to be copied, then what ends it.
    output: BytesMut,
    piece: Bytes,
    tail: &'static [u8],
    body: Body,
    reading: Patience,
    writing: Patience,
    was_kept: bool,
    /// Whether the app lets it be used again.
    keeps_alive: bool,
    /// Whether anything of the present answer has come.
    has_spoken: bool,
}

#[derive(Debug)]
enum Body {
    Framed(Unframed),
    /// It ends with the connection; whether it has.
    ToClose(bool),
}

impl Link {
    pub(crate) fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            input: BytesMut::new(),
            output: BytesMut::new(),
            piece: Bytes::new(),
            tail: b"",
            body: Body::ToClose(true),
            reading: Patience::default(),
            writing: Patience::default(),
            was_kept: false,
            keeps_alive: false,
            has_spoken: false,
        }
    }

    /// Waits for the next request.
    pub(crate) const fn rest(&mut self) {
        self.was_kept = true;
        self.has_spoken = false;
    }

    /// Whose connection it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the app neither closed it nor spoke unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        // Costs no system call while nothing has happened on it.
        let would_block = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        self.input.is_empty() && self.stream.try_read(&mut [0]).is_err_and(would_block)
    }

    /// Waits until there is something to read, or the app has closed it.
    #[cfg(test)]
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// Takes bytes of a request, to be written by [`Link::poll_flush`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Takes a piece of a request's body. Only while the link is not [full](Link::is_full).
    pub fn push_piece(&mut self, piece: Bytes, chunked: bool) {
        let end: &'static [u8] = if chunked { b"\r\n" } else { b"" };
        if chunked {
            // Memory never refuses to be written to.
            let _ = write!(self.output, "{:x}\r\n", piece.len());
        }
        if piece.len() <= MAX_COPIED {
            self.output.extend_from_slice(&piece);
            self.output.extend_from_slice(end);
        } else {
            (self.piece, self.tail) = (piece, end);
        }
    }

    /// Whether what was pushed must be written before more is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.piece.is_empty() || !self.tail.is_empty() || self.output.len() >= MAX_OUTPUT
    }

    /// Polls until all that was pushed is written.
    ///
    /// # Errors
    /// When the app does not take it, or takes nothing for `limit`.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<(), Failure>> {
        loop {
            let all = [&*self.output, &*self.piece, self.tail];
            if all.iter().all(|part| part.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            let result = if self.piece.is_empty() && self.tail.is_empty() {
                Pin::new(&mut self.stream).poll_write(cx, &self.output)
            } else {
                Pin::new(&mut self.stream).poll_write_vectored(cx, &all.map(IoSlice::new))
            };
            let Poll::Ready(result) = result else {
                return self.writing.wait(limit, cx).map(|e| Err(self.failure(e)));
            };
            let mut count = result.map_err(|e| self.failure(e))?;
            self.writing.moved();
            let of_output = count.min(self.output.len());
            if of_output == self.output.len() {
                // What comes next has the same memory.
                self.output.clear();
            } else {
                self.output.advance(of_output);
            }
            count -= of_output;
            let of_piece = count.min(self.piece.len());
            self.piece.advance(of_piece);
            self.tail = &self.tail[count - of_piece..];
        }
    }

    /// The app is not waited for: it is the request that takes its time.
    pub const fn moved(&mut self) {
        self.reading.moved();
    }

    /// Polls for the head of the answer, whose bytes are given with it. Interim answers (1xx) come before it, each by
    /// a call of its own.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or what comes is no answer.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
        to_head: bool,
        limit: Option<Duration>,
    ) -> Poll<Result<(Response, Bytes), Failure>> {
        loop {
            if !self.input.is_empty() {
                match wire::parse_response(&self.input, limits) {
                    ParsedResponse::Complete(response) => {
                        self.begin_body(&response, limits, to_head);
                        self.reading.moved();
                        return Poll::Ready(Ok((response, self.input.split_to(response.len).freeze())));
                    }
                    ParsedResponse::Malformed(malformed) => return Poll::Ready(Err(malformed.into())),
                    ParsedResponse::Partial => {}
                }
            }
            match ready!(self.poll_fill(cx, READ, limit)) {
                Ok(0) => {
                    let stale = self.was_kept && !self.has_spoken;
                    return Poll::Ready(Err(if stale { Failure::Stale } else { Failure::Short }));
                }
                Ok(_) => self.has_spoken = true,
                Err(e) => return Poll::Ready(Err(self.failure(e))),
            }
        }
    }

    fn begin_body(&mut self, response: &Response, limits: &Limits, to_head: bool) {
        self.keeps_alive = response.keeps_alive;
        self.body = match response.framing {
            _ if to_head => Body::Framed(Unframed::new(Framing::None, limits)),
            ResponseFraming::Like(framing) => Body::Framed(Unframed::new(framing, limits)),
            ResponseFraming::Close => Body::ToClose(false),
        };
    }

    /// The app has changed the protocol (101): what comes and goes from now on is passed as it is.
    pub fn switch(&mut self) {
        self.body = Body::ToClose(false);
        self.keeps_alive = false;
    }

    /// Ends what goes to the app, once all is written; what comes is not touched.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map_err(Failure::Broken)
    }

    /// Polls for the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or the body breaks off or is malformed.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
    ) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !self.input.is_empty() {
                let piece = match &mut self.body {
                    Body::ToClose(_) => Some(self.input.split().freeze()),
                    Body::Framed(body) => {
                        body.take(&mut self.input).map_err(|_| Malformed("a chunk of its body is malformed"))?
                    }
                };
                if piece.is_some() {
                    self.reading.moved();
                    return Poll::Ready(Ok(piece));
                }
                continue;
            }
            match ready!(self.poll_fill(cx, READ_LONG, limit)) {
                Ok(0) => match &mut self.body {
                    Body::ToClose(closed) => *closed = true,
                    Body::Framed(_) => return Poll::Ready(Err(Failure::Short)),
                },
                Ok(_) => self.reading.moved(),
                Err(e) => return Poll::Ready(Err(self.failure(e))),
            }
        }
    }

    /// The trailer fields of an answer that was read to its end.
    #[must_use]
    pub fn trailers(&self) -> Option<HeaderMap> {
        match &self.body {
            Body::Framed(body) => body.trailers(),
            Body::ToClose(_) => None,
        }
    }

    /// Whether the answer was read to its end.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match &self.body {
            Body::Framed(body) => body.is_done(),
            Body::ToClose(closed) => *closed,
        }
    }

    /// Whether it can be used for another request, as far as this side knows: the answer was read to its end, which was
    /// not the connection's, nothing came after it, and the app does not close it.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let is_written = self.output.is_empty() && self.piece.is_empty() && self.tail.is_empty();
        let is_framed = matches!(&self.body, Body::Framed(body) if body.is_done());
        self.keeps_alive && is_framed && is_written && self.input.is_empty()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize, limit: Option<Duration>) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        match (poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input), limit) {
            (Poll::Pending, Some(limit)) => self.reading.wait(limit, cx).map(Err),
            (read, _) => read,
        }
    }

    fn failure(&self, e: io::Error) -> Failure {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
        match e.kind() {
            TimedOut => Failure::Silent,
            BrokenPipe | ConnectionReset if self.was_kept && !self.has_spoken => Failure::Stale,
            _ => Failure::Broken(e),
        }
    }
}

#[cfg(test)]
mod tests;

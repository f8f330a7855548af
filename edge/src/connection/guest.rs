//! A request over HTTP/1 as what answers it sees it.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use pingora_http::ResponseHeader;
use relay::Unframed;
use tokio_util::io::poll_read_buf;
use wire::{Framing, Head, Limits, Version};

use super::{Connection, refusal};
use crate::cache::FilePart;
use crate::lane::date;
use crate::proxy::{AsItCame, Passed, Proxy, Request};
use crate::transport::Arrival;
use crate::visit::{Lost, Visit};

/// Bytes of a request's body that are read at once.
const READ_BODY: usize = 32 << 10;
/// Largest piece that is copied behind what comes before it: a copy costs less than a second slice.
const MAX_COPIED: usize = 4 << 10;
/// Bytes of an answer that are collected before they must be written: more would only fill the socket.
const MAX_HELD: usize = 16 << 10;

/// What became of a request.
pub(super) struct Visited {
    /// The answer's status.
    pub(super) status: Option<u16>,
    /// Whether the connection can be used for another request.
    pub(super) is_reusable: bool,
    /// Whether the visitor may still be sending what nobody reads.
    pub(super) is_unread: bool,
    /// Whether an answer whose end is the connection's is not whole, which only a reset tells.
    is_cut: bool,
}

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// There is none.
    Nothing,
    /// As it is: up to its length, or to the connection's end.
    Plain,
    Chunked,
}

/// Whether another protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    None,
    Open,
    /// The visitor has ended its direction.
    HalfOpen,
}

struct Guest<'a> {
    connection: &'a mut Connection,
    framing: Framing,
    body: Unframed,
    is_11: bool,
    to_head: bool,
    /// Whether the connection may be used for another request.
    keeps: bool,
    sending: Sending,
    /// Queued after what the connection holds: a piece that was too long to be copied, and what comes after it.
    piece: Bytes,
    tail: BytesMut,
    /// Queued after all that.
    file: Option<FilePart>,
    is_whole: bool,
    /// Whether the answer's end is the connection's.
    to_close: bool,
    /// Whether the visitor asks for another protocol.
    upgrades: bool,
    tunnel: Tunnel,
    passed: Passed,
}

impl Connection {
    /// Answers one request, whose head is at the beginning of what was read.
    pub(super) async fn visited(&mut self, proxy: &Proxy, limits: &Limits, head: &Head, keeps: bool) -> Visited {
        let bytes = self.input.split_to(head.len).freeze();
        self.hold_more();
        let (peer, since) = (std::sync::Arc::clone(&self.peer), self.since);
        let mut guest = Guest {
            connection: self,
            framing: head.framing,
            body: Unframed::new(head.framing, limits),
            is_11: head.version == Version::Http11,
            to_head: head.method == wire::Method::Head,
            keeps,
            sending: Sending::Nothing,
            piece: Bytes::new(),
            tail: BytesMut::new(),
            file: None,
            is_whole: false,
            to_close: false,
            upgrades: head.upgrades,
            tunnel: Tunnel::None,
            passed: Passed::default(),
        };
        match Request::read(head, bytes) {
            Ok(request) => proxy.exchange(&mut guest, request, Arrival { peer: &peer, since }).await,
            Err(error) => {
                // What a head may be was judged before, so this is for targets that no URL can have.
                tracing::debug!(%error, "a request is refused");
                guest.refuse(&wire::Refusal { status: 400, reason: "The request can't be understood." });
                // Who does not read it is gone.
                let _ = poll_fn(|cx| guest.poll_flush(cx)).await;
            }
        }
        let is_read_out = match guest.tunnel {
            Tunnel::None => guest.body.is_done(),
            Tunnel::Open => false,
            Tunnel::HalfOpen => true,
        };
        let is_reusable = guest.is_whole && guest.keeps && is_read_out;
        let is_cut = guest.to_close && !guest.is_whole;
        let status = guest.passed.status;
        Visited { status, is_reusable, is_unread: !is_read_out || !self.input.is_empty(), is_cut }
    }

    /// Closes the connection after a request that was its last.
    pub(super) async fn leave(&mut self, visited: &Visited) -> io::Result<()> {
        if visited.is_cut {
            return self.transport.socket().set_zero_linger();
        }
        self.close(visited.is_unread).await
    }
}

impl Guest<'_> {
    fn refuse(&mut self, refusal: &wire::Refusal) {
        self.keeps = false;
        if self.passed.status.is_none() {
            self.passed.status = Some(refusal.status);
            refusal::write(&mut self.connection.held, refusal);
        }
    }

    /// Decides how the answer's body is framed.
    fn frame(&mut self, status: StatusCode, has_length: bool) {
        self.passed.status = Some(status.as_u16());
        let has_none = self.to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.sending = match (has_none, has_length, self.is_11) {
            (true, ..) => Sending::Nothing,
            (_, true, _) => Sending::Plain,
            (_, _, true) => Sending::Chunked,
            (_, _, false) => {
                // The body ends with the connection (RFC 9112 section 6.3).
                self.keeps = false;
                self.to_close = true;
                Sending::Plain
            }
        };
    }

    /// The status line and the fields of an answer as it came.
    fn write_head(&mut self, head: &AsItCame<'_>) {
        let held = &mut self.connection.held;
        write_status(held, head.status, head.reason());
        head.each_field(|name, value| {
            for part in [name, b": ", value, b"\r\n"] {
                held.extend_from_slice(part);
            }
        });
    }

    /// Bytes of another protocol; `None` once the visitor has ended its direction.
    fn poll_tunnel(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Connection { transport, input, .. } = &mut *self.connection;
        if input.is_empty() && self.tunnel == Tunnel::Open {
            input.reserve(READ_BODY);
            if ready!(poll_read_buf(Pin::new(transport), cx, input))? == 0 {
                self.tunnel = Tunnel::HalfOpen;
            }
        }
        let piece = Some(input.split().freeze()).filter(|piece| !piece.is_empty());
        self.passed.bytes_in += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(Ok(piece))
    }

    fn end_head(&mut self, has_date: bool) {
        let held = &mut self.connection.held;
        if !has_date {
            date::append(held);
        }
        if self.sending == Sending::Chunked {
            held.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        held.extend_from_slice(match (self.keeps, self.is_11) {
            (true, true) => b"\r\n",
            (true, false) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
    }
}

impl Visit for Guest<'_> {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        if self.tunnel != Tunnel::None {
            return self.poll_tunnel(cx).map_err(Lost::Left);
        }
        loop {
            match self.body.take(&mut self.connection.input) {
                Ok(Some(piece)) => {
                    self.passed.bytes_in += piece.len() as u64;
                    return Poll::Ready(Ok(Some(piece)));
                }
                Ok(None) if self.body.is_done() => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(refusal) => {
                    self.refuse(&refusal);
                    return Poll::Ready(Err(Lost::Malformed));
                }
            }
            let Connection { transport, input, reading, .. } = &mut *self.connection;
            input.reserve(READ_BODY);
            match poll_read_buf(Pin::new(transport), cx, input) {
                Poll::Pending => return reading.wait(cx).map(|_| Err(Lost::Silent)),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Lost::Left(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Ready(Ok(count)) => reading.moved(count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Lost::Left(error))),
            }
        }
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.body.trailers()
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.connection.poll_leaving(cx).map(|left| left.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    fn interim(&mut self, head: &ResponseHeader) {
        // HTTP/1.0 knows none (RFC 9110 section 15.2).
        if self.is_11 {
            let reason = head.get_reason_phrase().unwrap_or_default();
            write_status(&mut self.connection.held, head.status, reason.as_bytes());
            head.header_to_h1_wire(&mut self.connection.held);
            self.connection.held.extend_from_slice(b"\r\n");
        }
    }

    fn close(&mut self) {
        self.keeps = false;
    }

    fn begin(&mut self, head: ResponseHeader) {
        self.frame(head.status, head.headers.contains_key(header::CONTENT_LENGTH));
        let held = &mut self.connection.held;
        write_status(held, head.status, head.get_reason_phrase().unwrap_or_default().as_bytes());
        head.header_to_h1_wire(held);
        self.end_head(head.headers.contains_key(header::DATE));
    }

    fn pass(&mut self, head: &AsItCame<'_>) -> pingora_core::Result<()> {
        self.frame(head.status, head.has_length());
        self.write_head(head);
        self.end_head(head.has_date());
        Ok(())
    }

    fn may_switch(&self) -> bool {
        self.upgrades && self.is_11
    }

    fn switch(&mut self, head: &AsItCame<'_>) -> pingora_core::Result<()> {
        self.passed.status = Some(head.status.as_u16());
        (self.keeps, self.sending, self.tunnel) = (false, Sending::Plain, Tunnel::Open);
        self.write_head(head);
        self.connection.held.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn is_full(&self) -> bool {
        let is_waiting = !self.piece.is_empty() || !self.tail.is_empty() || self.file.is_some();
        is_waiting || self.connection.held.len() >= MAX_HELD
    }

    fn send(&mut self, piece: Bytes) {
        if self.sending == Sending::Nothing || piece.is_empty() {
            return;
        }
        self.passed.bytes_out += piece.len() as u64;
        let held = &mut self.connection.held;
        let is_chunked = self.sending == Sending::Chunked;
        if is_chunked {
            // Memory never refuses to be written to.
            let _ = write!(held, "{:x}\r\n", piece.len());
        }
        let end: &[u8] = if is_chunked { b"\r\n" } else { b"" };
        if piece.len() <= MAX_COPIED {
            held.extend_from_slice(&piece);
            held.extend_from_slice(end);
        } else {
            self.piece = piece;
            self.tail.extend_from_slice(end);
        }
    }

    fn send_file(&mut self, part: FilePart) -> Result<(), FilePart> {
        if self.sending != Sending::Plain || !self.connection.sends_files() {
            return Err(part);
        }
        self.file = Some(part);
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.is_whole = true;
        if self.sending != Sending::Chunked {
            return;
        }
        let to = if self.piece.is_empty() { &mut self.connection.held } else { &mut self.tail };
        to.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().flatten() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                to.extend_from_slice(part);
            }
        }
        to.extend_from_slice(b"\r\n");
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        while !self.piece.is_empty() || !self.tail.is_empty() {
            let slices = [IoSlice::new(&self.piece), IoSlice::new(&self.tail)];
            let slices = if self.piece.is_empty() { &slices[1..] } else { &slices };
            let count = ready!(self.connection.poll_send(cx, slices))?;
            let of_piece = count.min(self.piece.len());
            self.piece.advance(of_piece);
            self.tail.advance(count - of_piece);
        }
        self.tail.clear();
        while let Some(part) = &mut self.file {
            let count = ready!(self.connection.poll_send_file(cx, part))?;
            self.passed.bytes_out += count as u64;
            part.skip(count);
            if part.len == 0 {
                self.file = None;
            }
        }
        if self.tunnel != Tunnel::None && self.is_whole {
            return self.connection.poll_shutdown(cx).map_err(Lost::Left);
        }
        self.connection.poll_flush(cx).map_err(Lost::Left)
    }

    fn abort(&mut self) {
        self.keeps = false;
        self.is_whole = false;
    }

    fn passed(&self) -> Passed {
        self.passed
    }
}

fn write_status(to: &mut BytesMut, status: StatusCode, reason: &[u8]) {
    for part in [b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

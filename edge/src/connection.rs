//! A visitor's connection: its bytes, in both directions.
//!
//! [`serve`] reads every request's head itself, answers what it can and lends the connection to Pingora for the rest.
//! Then Pingora sees this one request and nothing after it: the head as it came, the body as far as it goes, and
//! the visitor's leaving. The head of an answer leaves together with the first bytes of its body in one system
//! call. Visitors who send or take bytes too slowly are cut off.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, Bytes, BytesMut};
use relay::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use wire::{BodyGuard, Framing, Refusal};

use crate::answer;
use crate::cache::FilePart;
use crate::transport::{Peer, Transport};

mod date;
mod ending;
mod file;
mod guest;
mod lent;
mod next;
mod pace;
mod refusal;
mod serve;
mod spare;
mod wait;

pub(crate) use ending::{Ending, Wait};
pub(crate) use lent::{Lent, Origin};
pub(crate) use pace::Pace;
pub(crate) use serve::{LINGER, LINGER_BYTES, Visits, serve};

/// Largest head of an answer that is held back for its body, in bytes: larger ones are rare, and copying them costs
/// more than a system call.
const MAX_HELD: usize = 8 << 10;
/// How every head of an HTTP/1 answer begins.
const HEAD_BEGINS: &[u8] = b"HTTP/1.";
/// How Pingora names itself in an answer of its own.
const PINGORA: &[u8] = b"\r\nServer: Pingora\r\n";
/// Bytes read at once: a usual request's head.
const READ: usize = 4 << 10;
/// Bytes read at once only to see whether the visitor is still there.
const PROBE: usize = 512;
/// How long a visitor who has closed its own direction may wait for more of an answer. It may be reading still (RFC 9112
/// section 9.6), or have left for good, which looks the same until something is written; so it is not let wait long.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// Slices written by one system call, the held bytes included.
const MAX_SLICES: usize = 8;

/// A visitor's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    transport: Transport,
    peer: Arc<Peer>,
    /// Read, not yet given on.
    input: BytesMut,
    /// To be written before anything else: answers that are ready, or the head of one that waits for its body.
    held: BytesMut,
    /// To be written after that.
    rest: Rest,
    /// What Pingora may read.
    feed: Feed,
    /// Whether the head of the request's last answer is yet to come.
    awaits_head: bool,
    /// Status of the answer that was begun since the connection was lent; 0 before.
    status: u16,
    reading: Pace,
    writing: Pace,
    clock: Clock,
    /// Until when a visitor who has closed its own direction counts as reading.
    reads_until: Option<Instant>,
    since: SystemTime,
}

/// A ready answer's body that is not copied behind its head.
#[derive(Debug)]
enum Rest {
    Nothing,
    Bytes(Bytes),
    /// The system sends it by itself.
    File(FilePart),
}

/// What whoever has the connection may read.
#[derive(Debug)]
enum Feed {
    /// Everything, as HTTP/2 needs it.
    All,
    /// So many bytes of a head, then its body.
    Head(usize, BodyGuard),
    /// What belongs to the body.
    Body(BodyGuard),
    /// Nothing but the visitor's leaving.
    End,
    /// The body is none.
    Refused(Refusal),
}

impl Connection {
    /// One that nothing was read from.
    pub(crate) fn new(transport: Transport, peer: Arc<Peer>, visits: &Visits) -> Self {
        Self {
            transport,
            peer,
            input: BytesMut::new(),
            held: BytesMut::new(),
            rest: Rest::Nothing,
            feed: Feed::All,
            awaits_head: false,
            status: 0,
            reading: visits.reading_pace(),
            writing: visits.writing_pace(),
            clock: Clock::default(),
            reads_until: None,
            since: SystemTime::now(),
        }
    }

    /// Whoever gets the connection now reads one request: a head of so many bytes, and its body.
    fn lend_request(&mut self, head: usize, framing: Framing, limits: &wire::Limits) {
        self.feed = Feed::Head(head, BodyGuard::new(framing, limits));
        self.awaits_head = true;
        self.status = 0;
    }

    /// Whoever gets the connection now reads and writes what they like.
    fn lend_wholly(&mut self) {
        self.feed = Feed::All;
        self.awaits_head = false;
    }

    /// Whether the request that the connection was lent for was read to its end.
    const fn is_read_out(&self) -> bool {
        match &self.feed {
            Feed::End => true,
            // Whoever expects no body does not look for its end.
            Feed::Head(0, guard) | Feed::Body(guard) => guard.is_done(),
            Feed::All | Feed::Head(..) | Feed::Refused(_) => false,
        }
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.feed {
                Feed::All if self.input.is_empty() => return Pin::new(&mut self.transport).poll_read(cx, buf),
                Feed::All => {
                    let count = self.input.len().min(buf.remaining());
                    return self.give(count, buf);
                }
                Feed::Head(0, guard) => self.feed = Feed::Body(guard.clone()),
                Feed::Head(left, _) => {
                    let count = (*left).min(self.input.len()).min(buf.remaining());
                    *left -= count;
                    return self.give(count, buf);
                }
                Feed::Body(guard) if guard.is_done() => self.feed = Feed::End,
                Feed::Body(guard) if !self.input.is_empty() => {
                    let count = self.input.len().min(buf.remaining());
                    match guard.follow(&self.input[..count]) {
                        Ok(count) => return self.give(count, buf),
                        Err(refusal) => self.feed = Feed::Refused(refusal),
                    }
                }
                Feed::Body(guard) => {
                    let before = buf.filled().len();
                    let Poll::Ready(result) = Pin::new(&mut self.transport).poll_read(cx, buf) else {
                        return self.reading.wait(cx).map(Err);
                    };
                    result?;
                    let come = &buf.filled()[before..];
                    self.reading.moved(come.len());
                    match guard.follow(come) {
                        Ok(count) => {
                            // What comes after the body is the next request's.
                            self.input.extend_from_slice(&come[count..]);
                            buf.set_filled(before + count);
                            return Poll::Ready(Ok(()));
                        }
                        Err(refusal) => {
                            buf.set_filled(before);
                            self.feed = Feed::Refused(refusal);
                        }
                    }
                }
                Feed::End => return self.poll_leaving(cx),
                Feed::Refused(refusal) => {
                    if self.status == 0 {
                        self.status = refusal.status;
                        self.awaits_head = false;
                        refusal::write(&mut self.held, refusal);
                    }
                    ready!(self.poll_flush(cx))?;
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the body is malformed")));
                }
            }
        }
    }

    /// Gives on the first bytes of what was read.
    fn give(&mut self, count: usize, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buf.put_slice(&self.input[..count]);
        self.input.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Ends, without a byte, when the visitor leaves. While the visitor's next request waits, nothing more is read:
    /// it could be any number of further requests.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(end) = self.reads_until {
            return self.clock.poll(cx, end).map(Ok);
        }
        if self.input.is_empty() {
            if let Transport::Plain(socket) = &self.transport {
                // Asked for often, and costs less than a read that finds nothing.
                ready!(socket.poll_read_ready(cx))?;
            }
            let mut probe = [0; PROBE];
            let mut probe = ReadBuf::new(&mut probe);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut probe))?;
            if probe.filled().is_empty() {
                let end = self.reads_until.insert(Instant::now() + HALF_CLOSED);
                return self.clock.poll(cx, *end).map(Ok);
            }
            self.input.extend_from_slice(probe.filled());
        }
        Poll::Pending
    }

    /// Takes bytes of an answer.
    fn poll_take(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.awaits_head && buf.starts_with(HEAD_BEGINS) {
            // `HTTP/1.1 103`: the status begins at the tenth byte. Whoever the connection is lent to changes no protocol.
            let status = buf.get(9..12).unwrap_or_default();
            let is_interim = status.starts_with(b"1");
            self.awaits_head = is_interim;
            if !is_interim {
                self.status = std::str::from_utf8(status).ok().and_then(|s| s.parse().ok()).unwrap_or_default();
            }
            if !is_interim && self.held.is_empty() && buf.len() <= MAX_HELD {
                hold(&mut self.held, buf);
                return Poll::Ready(Ok(buf.len()));
            }
        }
        self.poll_send(cx, &[IoSlice::new(buf)])
    }

    /// Writes what is held, and of `slices` as much as goes. Returns how much of them.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let mut all = [IoSlice::new(&[]); MAX_SLICES];
            all[0] = IoSlice::new(&self.held);
            let rest = slices.iter().filter(|s| !s.is_empty()).take(MAX_SLICES - 1);
            let mut count = 1;
            for slice in rest {
                all[count] = *slice;
                count += 1;
            }
            let result = match &all[..count] {
                [one] => Pin::new(&mut self.transport).poll_write(cx, one),
                many => Pin::new(&mut self.transport).poll_write_vectored(cx, many),
            };
            let written = ready!(self.written(cx, result))?;
            let of_held = written.min(self.held.len());
            pass(&mut self.held, of_held);
            if written > of_held {
                return Poll::Ready(Ok(written - of_held));
            }
        }
        let result = match slices {
            [] => return Poll::Ready(Ok(0)),
            [one] if one.is_empty() => return Poll::Ready(Ok(0)),
            [one] => Pin::new(&mut self.transport).poll_write(cx, one),
            many => Pin::new(&mut self.transport).poll_write_vectored(cx, many),
        };
        self.written(cx, result)
    }

    /// Follows the pace of a write.
    fn written(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => self.writing.wait(cx).map(Err),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => {
                self.writing.moved(count);
                if let Some(end) = &mut self.reads_until {
                    *end = Instant::now() + HALF_CLOSED;
                }
                Poll::Ready(Ok(count))
            }
            failed => failed,
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, &[]))?;
        let result = Pin::new(&mut self.transport).poll_flush(cx);
        if result.is_pending() {
            return self.writing.wait(cx).map(Err);
        }
        result
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// Goes on behind the first bytes. When these were all, what comes next has the same memory.
fn pass(buffer: &mut BytesMut, count: usize) {
    if count == buffer.len() {
        buffer.clear();
    } else {
        buffer.advance(count);
    }
}

/// Keeps a head, with the edge's name in place of Pingora's.
fn hold(held: &mut BytesMut, head: &[u8]) {
    // Pingora answers by itself with these alone.
    let may_be_own = matches!(head.get(9..12), Some(b"400" | b"405"));
    let name = may_be_own.then(|| head.windows(PINGORA.len()).position(|w| w == PINGORA)).flatten();
    let Some(at) = name else {
        held.extend_from_slice(head);
        return date::restore(held);
    };
    let after = at + PINGORA.len();
    for part in [&head[..at], b"\r\nServer: ", answer::SERVER.as_bytes(), b"\r\n", &head[after..]] {
        held.extend_from_slice(part);
    }
}

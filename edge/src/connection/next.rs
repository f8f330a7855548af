//! What follows on a connection. Requests that the lane answers are answered on the way, so that a connection which is
//! idle between them is no more than what is kept here.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use tokio::time::Instant;
use wire::{Head, Parsed, Refusal};

use super::ending::Wait;
use super::serve::Visits;
use super::wait::Come;
use super::{Connection, Rest, pass, spare};
use crate::lane::{Found, Hit, Missing};
use crate::transport::Arrival;

/// How every HTTP/2 connection begins (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of ready answers to requests that came together, which are collected before they are written: more would
/// only fill the socket.
const MAX_BATCH: usize = 64 << 10;
/// Largest body that is copied behind its head rather than written beside it: below, a copy costs less than what a
/// second slice does.
const MAX_COPIED: usize = 4 << 10;

/// What follows on a connection.
pub(super) enum Next {
    /// A request that the lane does not answer, whether it is known to be Pingora's or not, and what the lane lacks to
    /// answer it. Everything before it is answered.
    Request(Head, Option<bool>, Option<Box<Missing>>),
    /// HTTP/2.
    Http2,
    /// What is no request.
    Refused(Refusal),
    /// Nothing, and the visitor is to be told so.
    Close,
    /// Nothing, and there is nobody to tell.
    End,
}

/// How far the wait for what follows has come.
#[derive(Debug)]
pub(super) struct Ahead {
    /// When bytes came last.
    now: Instant,
    /// When the head that is being read began.
    began: Option<Instant>,
    has_asked: bool,
    may_be_h2: bool,
    /// Whether what is collected is to be written before anything else.
    writes: bool,
    /// Whether the visitor's last request was answered.
    closes: bool,
}

impl Ahead {
    /// Before a connection's first request, or a later one.
    pub(super) fn of(connection: &Connection, is_first: bool) -> Self {
        let now = Instant::now();
        Self {
            now,
            began: (!connection.input.is_empty()).then_some(now),
            has_asked: !is_first,
            may_be_h2: is_first && connection.peer.tls.as_ref().is_none_or(|tls| tls.is_h2),
            writes: false,
            closes: false,
        }
    }
}

impl Connection {
    /// Answers by the lane, until something else is next.
    pub(super) fn poll_next(
        &mut self,
        visits: &Visits,
        drain: &mut Wait,
        ahead: &mut Ahead,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Next>> {
        loop {
            if ahead.writes {
                ready!(self.poll_write_out(cx))?;
                ahead.writes = false;
            }
            if ahead.closes {
                return Poll::Ready(Ok(Next::Close));
            }
            if ahead.may_be_h2 && self.peer.tls.is_some() {
                // ALPN chose it.
                return Poll::Ready(Ok(Next::Http2));
            }
            if ahead.may_be_h2 && !self.input.is_empty() {
                let seen = self.input.len().min(H2_PREFACE.len());
                ahead.may_be_h2 = self.input[..seen] == H2_PREFACE[..seen];
                if ahead.may_be_h2 && seen == H2_PREFACE.len() {
                    return Poll::Ready(Ok(Next::Http2));
                }
            }
            let parsed = if ahead.may_be_h2 { Parsed::Partial } else { wire::parse(&self.input, &visits.limits) };
            match parsed {
                Parsed::Complete(head) => {
                    if !ahead.has_asked {
                        ahead.has_asked = true;
                        *drain = visits.drain.wait();
                    }
                    let keeps = head.keeps_alive && !visits.drain.has_come();
                    match visits.lane.find(&head, &self.input, Arrival { peer: &self.peer, since: self.since }) {
                        Found::Ready(hit) => {
                            ahead.closes = !keeps;
                            ahead.writes = self.answer(visits, &hit, &head, keeps, ahead.now) || ahead.closes;
                            ahead.began = None;
                        }
                        // Looked for again once what came before it is answered.
                        _ if !self.held.is_empty() => ahead.writes = true,
                        Found::Missing(missing) => {
                            return Poll::Ready(Ok(Next::Request(head, Some(false), Some(missing))));
                        }
                        Found::Elsewhere(entry) => {
                            return Poll::Ready(Ok(Next::Request(head, entry.map(|entry| entry.is_lent()), None)));
                        }
                    }
                    continue;
                }
                Parsed::Refused(refusal) => return Poll::Ready(Ok(Next::Refused(refusal))),
                Parsed::Partial => {}
            }
            if !self.held.is_empty() {
                ahead.writes = true;
                continue;
            }
            if ahead.has_asked && self.input.is_empty() && visits.drain.has_come() {
                return Poll::Ready(Ok(Next::Close));
            }
            let until = match ahead.began {
                Some(began) => began + visits.timeouts.client_head,
                None if self.input.is_empty() => ahead.now + visits.timeouts.client_idle,
                None => *ahead.began.insert(ahead.now) + visits.timeouts.client_head,
            };
            match ready!(self.poll_fill(cx, until, drain))? {
                Come::Bytes => {}
                Come::Left => return Poll::Ready(Ok(Next::End)),
                Come::Unwanted | Come::Late => return Poll::Ready(Ok(Next::Close)),
            }
            ahead.now = Instant::now();
        }
    }

    /// Answers a request by the lane. Returns whether the answer must be written before the next one.
    fn answer(&mut self, visits: &Visits, hit: &Hit, head: &Head, keeps: bool, now: Instant) -> bool {
        self.hold_more();
        hit.write_head(&mut self.held, head, keeps);
        self.rest = match hit.body() {
            Some(body) if body.len() <= MAX_COPIED => {
                self.held.extend_from_slice(body);
                Rest::Nothing
            }
            Some(body) => match hit.file().filter(|_| self.sends_files()) {
                Some(file) => Rest::File(file),
                None => Rest::Bytes(body.clone()),
            },
            None => Rest::Nothing,
        };
        hit.report(&visits.lane, head, &self.input, &self.peer, now);
        pass(&mut self.input, head.len);
        !matches!(self.rest, Rest::Nothing) || self.held.len() > MAX_BATCH
    }

    /// Sees to it that there is a buffer for what is to be written.
    pub(super) fn hold_more(&mut self) {
        if self.held.capacity() == 0 {
            self.held = spare::take();
        }
    }

    /// Writes what is held and what follows it, wholly.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match std::mem::replace(&mut self.rest, Rest::Nothing) {
                Rest::Nothing if self.held.is_empty() => return self.poll_flush(cx),
                Rest::Nothing => ready!(self.poll_send(cx, &[])).map(drop)?,
                Rest::Bytes(mut rest) => {
                    let sent = self.poll_send(cx, &[IoSlice::new(&rest)]);
                    if let Poll::Ready(Ok(count)) = sent {
                        rest.advance(count);
                    }
                    if !rest.is_empty() {
                        self.rest = Rest::Bytes(rest);
                    }
                    ready!(sent)?;
                }
                Rest::File(mut part) => {
                    let sent = self.poll_send_file(cx, &part);
                    if let Poll::Ready(Ok(count)) = sent {
                        part.skip(count);
                    }
                    if part.len > 0 {
                        self.rest = Rest::File(part);
                    }
                    ready!(sent)?;
                }
            }
        }
    }
}

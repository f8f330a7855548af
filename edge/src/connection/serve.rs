//! The requests of one connection, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::HttpProxy;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use wire::{Head, Parsed, Refusal};

use super::ending::{Ending, Wait};
use super::lent::{Home, Lent};
use super::wait::Come;
use super::{Connection, Pace, refusal};
use crate::config::Timeouts;
use crate::h2::{self, H2Limits};
use crate::lane::{Found, Hit, Lane, Missing};
use crate::proxy::{Phases, Proxy};
use crate::transport::{Arrival, Peer, Transport};

/// How every HTTP/2 connection begins (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of ready answers to requests that came together, which are collected before they are written: more would
/// only fill the socket.
const MAX_BATCH: usize = 64 << 10;
/// Largest body that is copied behind its head rather than written beside it: below, a copy costs less than what a
/// second slice does.
const MAX_COPIED: usize = 4 << 10;
/// How long a visitor may take to read why the connection is closed, before what it still sends destroys that
/// (RFC 9112 section 9.6).
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// Most bytes that are read to that end.
pub(crate) const LINGER_BYTES: usize = 256 << 10;

/// Status of an answer that may be made ready.
const OK: u16 = 200;

/// What all connections share.
pub(crate) struct Visits {
    /// Answers what the lane does not.
    pub(crate) app: Arc<HttpProxy<Phases>>,
    /// The pipeline of every request.
    pub(crate) proxy: Arc<Proxy>,
    /// Tells Pingora that no connection is to be used for another request.
    pub(crate) shutdown: watch::Receiver<bool>,
    /// Answers hot files.
    pub(crate) lane: Lane,
    /// No further request is wanted.
    pub(crate) drain: Ending,
    /// Nor is a first one, of visitors who came shortly before the edge drained.
    pub(crate) newcomers: Ending,
    pub(crate) timeouts: Timeouts,
    /// How large a request may be.
    pub(crate) limits: wire::Limits,
    /// Bytes a second below which a visitor who is waited for is cut off in the end.
    pub(crate) min_rate: u32,
    /// What a visitor may do over HTTP/2.
    pub(crate) h2: H2Limits,
}

impl Visits {
    /// How slowly a visitor may send the body of a request.
    pub(crate) const fn reading_pace(&self) -> Pace {
        Pace::new(self.timeouts.client, self.min_rate)
    }

    /// How slowly a visitor may take an answer.
    pub(crate) const fn writing_pace(&self) -> Pace {
        Pace::new(self.timeouts.client_stall, self.min_rate)
    }
}

/// Serves a connection to its end. Between requests a connection is little else than this future, so every step but
/// the waiting is boxed, and takes memory only while it is done.
pub(crate) async fn serve(visits: &Arc<Visits>, transport: Transport, peer: Peer) {
    let is_h2 = peer.tls.as_ref().is_some_and(|tls| tls.is_h2);
    let mut connection = Box::new(Connection::new(transport, Arc::new(peer), visits));
    let mut drain = visits.newcomers.wait();
    if is_h2 {
        return serve_h2(visits, connection).await;
    }
    let home = Home::default();
    let mut is_first = true;
    loop {
        let next = match connection.next(visits, &mut drain, is_first).await {
            Ok(next) => next,
            Err(error) => return tracing::debug!(%error, "a visitor broke off"),
        };
        let was_first = std::mem::replace(&mut is_first, false);
        let result = match next {
            Next::Http2 => return serve_h2(visits, connection).await,
            Next::End => return,
            Next::Close => Box::pin(connection.close(false)).await,
            // Rather an invalid preface than a request (RFC 9113 section 3.4).
            Next::Refused(_) if was_first && !names_http(&connection.input) => Box::pin(connection.close(true)).await,
            Next::Refused(refusal) => {
                visits.lane.report_refused(refusal.status, &connection.peer);
                Box::pin(connection.refuse(&refusal)).await
            }
            Next::Request(head, missing) => {
                if !connection.is_lent(visits, &head) {
                    let keeps = head.keeps_alive && !visits.drain.has_come();
                    // Apart, so that idle connections need no room for it.
                    let visited = Box::pin(connection.visited(&visits.proxy, &visits.limits, &head, keeps)).await;
                    if visited.status == Some(OK)
                        && let Some(missing) = missing
                    {
                        Box::pin(visits.lane.fill(*missing)).await;
                    }
                    if visited.is_reusable {
                        continue;
                    }
                    if let Err(error) = Box::pin(connection.leave(&visited)).await {
                        tracing::debug!(%error, "a visitor left before the connection was closed");
                    }
                    return;
                }
                connection.lend_request(head.len, head.framing, &visits.limits);
                let lent = Box::new(Lent::new(connection, home.clone()));
                let is_reusable = Box::pin(process(visits, lent, &head)).await;
                // Pingora has let go of it, or it is gone.
                let Some(back) = home.take() else { return };
                connection = back;
                if connection.status == OK
                    && let Some(missing) = missing
                {
                    Box::pin(visits.lane.fill(*missing)).await;
                }
                if is_reusable && connection.is_read_out() {
                    continue;
                }
                let unread = !connection.is_read_out() || !connection.input.is_empty();
                Box::pin(connection.close(unread)).await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a visitor left before the connection was closed");
        }
        return;
    }
}

/// Whether a first line that has come wholly, or as far as it is read, may have been meant for HTTP/1: it has no three
/// words, or the last names HTTP.
fn names_http(input: &[u8]) -> bool {
    let line = input.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut words = line.split(|b| *b == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some(version), None) => version.get(..4).is_none_or(|v| v.eq_ignore_ascii_case(b"HTTP")),
        _ => true,
    }
}

/// Lets Pingora answer one request. Returns whether the connection can be used for another one.
async fn process(visits: &Visits, lent: Box<Lent>, head: &Head) -> bool {
    let mut session = ServerSession::new_http1(lent);
    let keeps = head.keeps_alive && !visits.drain.has_come();
    session.set_keepalive(keeps.then(|| visits.timeouts.client_idle.as_secs().max(1)));
    let reused = visits.app.process_new_http(session, &visits.shutdown).await;
    reused.is_some() && keeps
}

/// Serves the whole connection as HTTP/2.
async fn serve_h2(visits: &Arc<Visits>, mut connection: Box<Connection>) {
    connection.lend_wholly();
    // In a place of its own, so that connections over HTTP/1 don't keep room for it.
    Box::pin(h2::serve(visits, Lent::new(connection, Home::default()))).await;
}

/// What follows on a connection.
enum Next {
    /// A request that the lane does not answer, and what the lane lacks for that. Everything before it is answered.
    Request(Head, Option<Box<Missing>>),
    /// HTTP/2.
    Http2,
    /// What is no request.
    Refused(Refusal),
    /// Nothing, and the visitor is to be told so.
    Close,
    /// Nothing, and there is nobody to tell.
    End,
}

impl Connection {
    /// Whether a request is Pingora's: one for an app that speaks HTTP/2.
    fn is_lent(&self, visits: &Visits, head: &Head) -> bool {
        head.host.is_some_and(|host| visits.proxy.is_lent(host.of(&self.input)))
    }

    /// Answers by the lane, until something else is next.
    async fn next(&mut self, visits: &Visits, drain: &mut Wait, is_first: bool) -> io::Result<Next> {
        let mut now = Instant::now();
        let mut has_asked = !is_first;
        let mut may_be_h2 = is_first && self.peer.tls.is_none();
        // When the head that is being read began.
        let mut began = (!self.input.is_empty()).then_some(now);
        loop {
            if may_be_h2 && !self.input.is_empty() {
                let seen = self.input.len().min(H2_PREFACE.len());
                may_be_h2 = self.input[..seen] == H2_PREFACE[..seen];
                if may_be_h2 && seen == H2_PREFACE.len() {
                    return Ok(Next::Http2);
                }
            }
            let parsed = if may_be_h2 { Parsed::Partial } else { wire::parse(&self.input, &visits.limits) };
            match parsed {
                Parsed::Complete(head) => {
                    if !has_asked {
                        has_asked = true;
                        *drain = visits.drain.wait();
                    }
                    let keeps = head.keeps_alive && !visits.drain.has_come();
                    match visits.lane.find(&head, &self.input, Arrival { peer: &self.peer, since: self.since }) {
                        Found::Ready(hit) => self.answer(&visits.lane, &hit, &head, keeps, now).await?,
                        other => {
                            self.send(&[]).await?;
                            let missing = if let Found::Missing(missing) = other { Some(missing) } else { None };
                            return Ok(Next::Request(head, missing));
                        }
                    }
                    if !keeps {
                        self.send(&[]).await?;
                        return Ok(Next::Close);
                    }
                    began = None;
                    continue;
                }
                Parsed::Refused(refusal) => return Ok(Next::Refused(refusal)),
                Parsed::Partial => {}
            }
            if !self.held.is_empty() {
                self.send(&[]).await?;
            }
            if has_asked && self.input.is_empty() && visits.drain.has_come() {
                return Ok(Next::Close);
            }
            let until = match began {
                Some(began) => began + visits.timeouts.client_head,
                None if self.input.is_empty() => now + visits.timeouts.client_idle,
                None => *began.insert(now) + visits.timeouts.client_head,
            };
            match self.fill(until, drain).await? {
                Come::Bytes => {}
                Come::Left => return Ok(Next::End),
                Come::Unwanted | Come::Late => return Ok(Next::Close),
            }
            now = Instant::now();
        }
    }

    /// Answers a request by the lane; the answer may wait for those to the next requests.
    async fn answer(&mut self, lane: &Lane, hit: &Hit, head: &Head, keeps: bool, now: Instant) -> io::Result<()> {
        let body = hit.write_head(&mut self.held, head, keeps);
        let is_copied = body.len() <= MAX_COPIED;
        if is_copied {
            self.held.extend_from_slice(body);
        }
        if !is_copied || self.held.len() > MAX_BATCH {
            self.send(if is_copied { &[] } else { body }).await?;
        }
        hit.report(lane, head, &self.input, &self.peer, now);
        self.input.advance(head.len);
        if self.input.is_empty() {
            // Lets the next head use the same memory.
            self.input.clear();
        }
        Ok(())
    }

    async fn refuse(&mut self, refusal: &Refusal) -> io::Result<()> {
        tracing::debug!(client = %self.peer.address, status = refusal.status, reason = refusal.reason, "a request is refused");
        refusal::write(&mut self.held, refusal);
        self.close(true).await
    }

    /// Closes the connection. When the visitor may still be sending, what it sends is read for a while: otherwise
    /// the system would reset the connection, and the visitor might never read the answer.
    pub(super) async fn close(&mut self, unread: bool) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_shutdown(cx)).await?;
        if !unread {
            return Ok(());
        }
        self.input = BytesMut::new();
        let read = async {
            let mut rest = LINGER_BYTES;
            let mut buffer = [0; 1 << 10];
            while rest > 0 {
                match self.transport.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => rest = rest.saturating_sub(count),
                }
            }
        };
        // Who takes longer has had the time to read.
        let _ = tokio::time::timeout(LINGER, read).await;
        Ok(())
    }
}

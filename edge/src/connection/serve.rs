//! The requests of one connection, one after the other.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::HttpProxy;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use wire::{Head, Refusal};

use super::ending::Ending;
use super::lent::{Home, Lent};
use super::next::{Ahead, Next};
use super::{Connection, Pace, refusal};
use crate::config::Timeouts;
use crate::h2::{self, H2Limits};
use crate::lane::{Lane, Missing};
use crate::proxy::{Phases, Proxy};

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

/// Serves a connection to its end. Between requests a connection is little else than this future, so whatever is done
/// but waiting has a place of its own, which takes memory only while it is done.
pub(crate) async fn serve(visits: &Arc<Visits>, mut connection: Box<Connection>) {
    let mut drain = visits.newcomers.wait();
    let mut ahead = Ahead::of(&connection, true);
    let mut is_first = true;
    loop {
        let next = poll_fn(|cx| connection.poll_next(visits, &mut drain, &mut ahead, cx)).await;
        match handle(visits, connection, next, is_first).await {
            Some(back) => connection = back,
            None => return,
        }
        is_first = false;
        ahead = Ahead::of(&connection, false);
    }
}

/// A step that is boxed.
type Step<'a> = Pin<Box<dyn Future<Output = Option<Box<Connection>>> + Send + 'a>>;

/// Does what is next. Returns the connection when it goes on.
fn handle(visits: &Arc<Visits>, connection: Box<Connection>, next: io::Result<Next>, is_first: bool) -> Step<'_> {
    match next {
        Ok(Next::Request(head, is_lent, missing)) => {
            let is_lent = is_lent.unwrap_or_else(|| connection.is_lent(visits, &head));
            Box::pin(request(visits, connection, head, is_lent, missing))
        }
        Ok(Next::Http2) => Box::pin(serve_h2(visits, connection)),
        Ok(next) => Box::pin(end(visits, connection, next, is_first)),
        Err(error) => {
            tracing::debug!(%error, "a visitor broke off");
            Box::pin(std::future::ready(None))
        }
    }
}

/// Answers a request that the lane does not.
async fn request(
    visits: &Arc<Visits>,
    mut connection: Box<Connection>,
    head: Head,
    is_lent: bool,
    missing: Option<Box<Missing>>,
) -> Option<Box<Connection>> {
    if !is_lent {
        let keeps = head.keeps_alive && !visits.drain.has_come();
        let visited = connection.visited(&visits.proxy, &visits.limits, &head, keeps).await;
        fill(visits, visited.status, missing).await;
        if visited.is_reusable {
            return Some(connection);
        }
        note(connection.leave(&visited).await);
        return None;
    }
    connection.lend_request(head.len, head.framing, &visits.limits);
    let home = Home::default();
    let is_reusable = process(visits, Box::new(Lent::new(connection, home.clone())), &head).await;
    // Pingora has let go of it, or it is gone.
    let mut connection = home.take()?;
    fill(visits, Some(connection.status), missing).await;
    if is_reusable && connection.is_read_out() {
        return Some(connection);
    }
    let unread = !connection.is_read_out() || !connection.input.is_empty();
    note(connection.close(unread).await);
    None
}

/// Makes ready what the lane lacked, when the answer was one that may be.
async fn fill(visits: &Visits, status: Option<u16>, missing: Option<Box<Missing>>) {
    if let Some(missing) = missing.filter(|_| status == Some(OK)) {
        visits.lane.fill(*missing).await;
    }
}

/// Ends a connection on which no request follows.
async fn end(visits: &Visits, mut connection: Box<Connection>, next: Next, is_first: bool) -> Option<Box<Connection>> {
    note(match next {
        Next::Close => connection.close(false).await,
        // Rather an invalid preface than a request (RFC 9113 section 3.4).
        Next::Refused(_) if is_first && !names_http(&connection.input) => connection.close(true).await,
        Next::Refused(refusal) => {
            visits.lane.report_refused(refusal.status, &connection.peer);
            connection.refuse(&refusal).await
        }
        Next::End | Next::Request(..) | Next::Http2 => Ok(()),
    });
    None
}

fn note(closed: io::Result<()>) {
    if let Err(error) = closed {
        tracing::debug!(%error, "a visitor left before the connection was closed");
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
async fn serve_h2(visits: &Arc<Visits>, mut connection: Box<Connection>) -> Option<Box<Connection>> {
    connection.lend_wholly();
    h2::serve(visits, Lent::new(connection, Home::default())).await;
    None
}

impl Connection {
    /// Whether a request is Pingora's: one for an app that speaks HTTP/2.
    fn is_lent(&self, visits: &Visits, head: &Head) -> bool {
        head.host.is_some_and(|host| visits.proxy.is_lent(host.of(&self.input)))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that the future of a function takes.
    const fn size_of_future<A, B, F: Future>(_: fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_is_idle_is_small() {
        let waiting = size_of_future::<&'static Arc<Visits>, Box<Connection>, _>(serve);
        // With the registration of its socket and the timer, each 256 bytes at most: below two kilobytes.
        assert!(waiting <= 192, "{waiting}");
        assert!(size_of::<Connection>() <= 448, "{}", size_of::<Connection>());
    }
}

//! An app that is silent for too long, where one longest silence, which Pingora watches, does not say it all: the
//! first byte of an answer has a time of its own, or the whole answer has one.
//!
//! Pingora waits for the app alone, so the wait is ended from below: the connection is shut down, as if the app had
//! left. For this the edge connects by itself, and keeps a second handle of the socket with the connection.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{Digest, GetProxyDigest as _};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::app::Patience;

/// Connects so that the connection can be shut down from aside.
#[derive(Debug)]
pub(super) struct Dialer {
    /// How long is waited.
    pub(super) patience: Duration,
}

/// The second handle of a connection's socket. It ends with the connection.
struct Line(TcpStream);

#[async_trait]
impl Connect for Dialer {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::InternalError, "apps are at addresses of the internet");
        };
        let connecting = tokio::net::TcpStream::connect(address);
        let socket = match tokio::time::timeout(self.patience, connecting).await {
            Err(_) => return Error::e_explain(ErrorType::ConnectTimedout, "the app accepts no connection in time"),
            Ok(Err(e)) => return Error::e_because(ErrorType::ConnectError, "the app accepts no connection", e),
            Ok(Ok(socket)) => socket,
        };
        let internal = |e: io::Error| Error::because(ErrorType::InternalError, "a socket's second handle", e);
        let socket = socket.into_std().map_err(internal)?;
        let line = Arc::new(Line(socket.try_clone().map_err(internal)?));
        let mut stream = Stream::from(tokio::net::TcpStream::from_std(socket).map_err(internal)?);
        let unused = Box::new(ResponseHeader::build(200, Some(0))?);
        stream.set_proxy_digest(ProxyDigest::new(unused, Some(Box::new(line))));
        Ok(stream)
    }
}

/// Watches one request's wait for its app. Dropping it ends the watch.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    start: Instant,
    /// When the app has been silent for too long, in milliseconds after `start`.
    deadline: AtomicU64,
    /// Longest silence within the answer, in milliseconds.
    between: AtomicU64,
    /// When the whole answer takes too long, in milliseconds after `start`.
    end: u64,
    fired: AtomicU64,
    /// The deadline has come nearer. Otherwise it only moves away, and is looked at when it should have come.
    nearer: Notify,
}

const NEVER: u64 = u64::MAX;

impl Watch {
    /// Begins to watch, if the connection can be shut down. `since` is when the request came.
    pub(super) fn start(digest: Option<&Digest>, patience: &Patience, since: std::time::Instant) -> Option<Self> {
        let line = digest?.proxy_digest.as_ref()?.user_data.as_deref()?.downcast_ref::<Arc<Line>>()?;
        let total = patience.total.map(|total| total.saturating_sub(since.elapsed()));
        let shared = Arc::new(Shared {
            start: Instant::now(),
            deadline: AtomicU64::new(millis(patience.first_byte)),
            between: AtomicU64::new(millis(patience.between_bytes)),
            end: total.map_or(NEVER, millis),
            fired: AtomicU64::new(0),
            nearer: Notify::new(),
        });
        let task = tokio::spawn(watch(Arc::clone(&shared), Arc::downgrade(line))).abort_handle();
        Some(Self { shared, task })
    }

    /// The app sent something.
    pub(super) fn heard(&self) {
        let between = self.shared.between.load(Ordering::Relaxed);
        let deadline = self.shared.now().saturating_add(between);
        if deadline < self.shared.deadline.swap(deadline, Ordering::Relaxed) {
            self.shared.nearer.notify_one();
        }
    }

    /// Whether the wait was ended.
    pub(super) fn has_fired(&self) -> bool {
        self.shared.fired.load(Ordering::Acquire) != 0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn now(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}

async fn watch(shared: Arc<Shared>, line: Weak<Line>) {
    loop {
        let now = shared.now();
        let deadline = shared.deadline.load(Ordering::Relaxed);
        let next = deadline.min(shared.end);
        if now < next {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(next - now)) => {}
                () = shared.nearer.notified() => {}
            }
            continue;
        }
        let Some(line) = line.upgrade() else { return };
        // What waits to be read was not held back by the app, but by a visitor who takes it slowly.
        if now < shared.end && has_bytes(&line.0) {
            let between = shared.between.load(Ordering::Relaxed).max(1);
            shared.deadline.store(now.saturating_add(between), Ordering::Relaxed);
            continue;
        }
        shared.fired.store(1, Ordering::Release);
        if let Err(error) = line.0.shutdown(Shutdown::Both) {
            tracing::debug!(%error, "an app that was silent for too long had left already");
        }
        return;
    }
}

fn has_bytes(socket: &TcpStream) -> bool {
    // The socket does not block, as its other handle is Tokio's.
    socket.peek(&mut [0]).is_ok_and(|n| n > 0)
}

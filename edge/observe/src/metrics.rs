//! What happens beside requests: connections, handshakes, upstreams.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How a visitor's connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// Without TLS.
    Http,
    /// Over TLS.
    Https,
}

impl ConnectionKind {
    pub(crate) const ALL: [Self; 2] = [Self::Http, Self::Https];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With keys of its own.
    Full,
    /// With the keys of an earlier session.
    Resumed,
    /// Without a connection.
    Failed,
}

impl Handshake {
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::Failed];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
        }
    }
}

/// What happened with an app's instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// It accepted no connection.
    ConnectFailed,
    /// It broke off, or answered what is no HTTP.
    Broken,
    /// It took too long.
    TimedOut,
    /// A request was sent to another one.
    Retried,
}

impl Upstream {
    pub(crate) const ALL: [Self; 4] = [Self::ConnectFailed, Self::Broken, Self::TimedOut, Self::Retried];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailed => "connect_failed",
            Self::Broken => "broken",
            Self::TimedOut => "timed_out",
            Self::Retried => "retried",
        }
    }
}

/// Counts of what happens beside requests.
#[derive(Debug, Default)]
pub struct Metrics {
    pub(crate) open: [AtomicI64; ConnectionKind::ALL.len()],
    pub(crate) accepted: [AtomicU64; ConnectionKind::ALL.len()],
    pub(crate) refused: AtomicU64,
    pub(crate) handshakes: [AtomicU64; Handshake::ALL.len()],
    pub(crate) upstreams: [AtomicU64; Upstream::ALL.len()],
    pub(crate) ejections: Arc<AtomicU64>,
}

impl Metrics {
    /// A connection is open until the result is dropped.
    #[must_use]
    pub fn connection(self: &Arc<Self>, kind: ConnectionKind) -> OpenConnection {
        self.open[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.accepted[kind as usize].fetch_add(1, Ordering::Relaxed);
        OpenConnection { metrics: Arc::clone(self), kind }
    }

    /// A connection was closed at once, because its visitor has too many.
    pub fn connection_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A handshake has ended.
    pub fn handshake(&self, how: Handshake) {
        self.handshakes[how as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how often an app's instance was left out for a while; whoever leaves it out adds to it.
    #[must_use]
    pub const fn ejections(&self) -> &Arc<AtomicU64> {
        &self.ejections
    }

    /// Something happened with an app's instance.
    pub fn upstream(&self, what: Upstream) {
        self.upstreams[what as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection as open.
#[derive(Debug)]
pub struct OpenConnection {
    metrics: Arc<Metrics>,
    kind: ConnectionKind,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.metrics.open[self.kind as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

//! What is told of one request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// One request that was answered or broken off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The project, when a route was found.
    pub project: Option<&'a str>,
    /// The deployment, when a route was found.
    pub deployment: Option<&'a str>,
    /// The host that was asked for.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path, without its query, which may hold secrets.
    pub path: &'a str,
    /// The answer's status; `None` when the visitor left before there was one.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the request's head to the answer's last byte.
    pub duration: Duration,
    /// From the request's head to the answer's head.
    pub first_byte: Option<Duration>,
    /// Where the answer came from, if it could have been kept.
    pub cache: Option<CacheResult>,
    /// The app's instance that answered.
    pub upstream: Option<SocketAddr>,
    /// The request's id; empty when it has none.
    pub request_id: &'a str,
    /// Its place in a trace.
    pub trace: Option<Trace>,
    /// The visitor's address.
    pub client: Option<IpAddr>,
    /// Whether it came over TLS, and in which version.
    pub tls: Option<&'static str>,
    /// The version of HTTP.
    pub protocol: Protocol,
    /// `User-Agent`, as it was sent.
    pub user_agent: &'a [u8],
    /// Names of the rules that matched.
    pub rules: &'a [Arc<str>],
    /// Why the edge refused it, in one word.
    pub refused: Option<&'static str>,
}

impl Record<'_> {
    /// Whether something of ours failed, or the visitor got no answer.
    pub(crate) const fn is_error(&self) -> bool {
        match self.status {
            Some(status) => status >= 500,
            None => true,
        }
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Versions of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    H2,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::Http10, Self::Http11, Self::H2];

    /// As in logs: `1.0`, `1.1`, `2`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::H2 => "2",
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// Out of the edge's memory.
    Hit,
    /// Out of the edge's memory, though it was too old.
    Stale,
    /// Out of the edge's memory, after the app said that it still holds.
    Revalidated,
    /// From the app or the object store.
    Miss,
    /// From the app, and never looked for in memory.
    Bypass,
}

impl CacheResult {
    pub(crate) const ALL: [Self; 5] = [Self::Hit, Self::Stale, Self::Revalidated, Self::Miss, Self::Bypass];

    /// In one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// A request's place in a trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub trace_id: u128,
    /// The request's own span, which the app was told as its parent.
    pub span_id: u64,
    /// The span that asked, when the visitor named one.
    pub parent: Option<u64>,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

//! Settings of an edge.

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use url::Url;

/// Settings of an edge.
#[derive(Clone, Debug)]
pub struct Config {
    /// The control plane's API, `http://host:port/`; the route feed lies below it.
    pub feed: Url,
    /// What the edge shows to be told the routes.
    pub feed_token: Secret,
    /// Folder of the last good routes.
    pub folder: PathBuf,
    /// Memory for manifests and bodies in bytes.
    pub cache_bytes: u64,
    /// Most visitors' connections at once; further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// Memory for manifests and bodies unless told otherwise, in bytes: the whole of a few hundred small sites.
const CACHE_BYTES: u64 = 256 << 20;
/// Connections at once unless told otherwise: each costs some tens of kilobytes at most, so this bounds the
/// memory that silent clients can take to a few hundred megabytes.
const MAX_CONNECTIONS: usize = 16_384;

impl Config {
    /// Settings with every default.
    #[must_use]
    pub fn new(feed: Url, feed_token: Secret, folder: PathBuf) -> Self {
        Self {
            feed,
            feed_token,
            folder,
            cache_bytes: CACHE_BYTES,
            max_connections: MAX_CONNECTIONS,
            timeouts: Timeouts::default(),
        }
    }
}

/// How long the edge waits for what. Nothing limits a whole response: a stream may last for ever as long as
/// something moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// An app's port accepts a connection. Apps are near, so five seconds mean that it won't.
    pub connect: Duration,
    /// Longest silence of an app before or within its answer. Reports that take minutes are common.
    pub upstream: Duration,
    /// Longest silence, of either side, on a WebSocket or of an app that sends server-sent events.
    pub stream: Duration,
    /// How long an unused connection to an app is kept. Below the five seconds after which Node's own server
    /// closes one, so that a request never meets a connection that is just being closed.
    pub upstream_idle: Duration,
    /// Longest time in which a visitor sends the head of a request, from its first byte.
    pub client_head: Duration,
    /// Longest silence of a visitor within a request's body.
    pub client: Duration,
    /// How long a visitor's unused connection is kept, in whole seconds.
    pub client_idle: Duration,
    /// How long a visitor may take not one byte of an answer.
    pub client_stall: Duration,
    /// How long a request is kept for an app that starts because of it. Most are there within seconds; beyond,
    /// a visitor rather reads that it is starting.
    pub wake: Duration,
    /// The object store answers, or delivers its next piece.
    pub store: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            upstream: Duration::from_secs(5 * 60),
            stream: Duration::from_secs(60 * 60),
            upstream_idle: Duration::from_secs(4),
            client_head: Duration::from_secs(30),
            client: Duration::from_secs(60),
            client_idle: Duration::from_secs(60),
            client_stall: Duration::from_secs(60),
            wake: Duration::from_secs(30),
            store: Duration::from_secs(10),
        }
    }
}

//! Settings of an edge.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use observe::{AccessLog, Otlp};
use url::Url;

use crate::h2::H2Limits;

/// Settings of an edge.
#[derive(Clone, Debug)]
pub struct Config {
    /// The control plane's API, `http://host:port/` or `https://host/`; the route feed lies below it.
    pub feed: Url,
    /// What the edge shows to be told the routes.
    pub feed_token: Secret,
    /// File of the certificates (PEM) that alone vouch for the control plane over HTTPS; without it those that the
    /// system trusts do.
    pub feed_ca: Option<PathBuf>,
    /// Folder of the last good routes.
    pub folder: PathBuf,
    /// Memory for manifests and bodies in bytes.
    pub cache_bytes: u64,
    /// Memory for kept answers of apps in bytes.
    pub response_cache_bytes: u64,
    /// Most visitors' connections at once; further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// How large a request over HTTP/1 may be.
    pub requests: wire::Limits,
    /// Bytes a second below which a visitor who is waited for is cut off, once the patience of
    /// [`Timeouts::client`] (bodies of requests) or [`Timeouts::client_stall`] (answers) is used up; 0 lets any byte
    /// renew the patience.
    pub min_rate: u32,
    /// File of the key that seals certificates and keys of session tickets on disk; made when there is none.
    pub key_file: PathBuf,
    /// Memory for certificates in bytes; those that don't fit are read from disk again.
    pub certificate_bytes: u64,
    /// Addresses that begin each connection with a PROXY header, and must; from all others none is read.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Proxies in front of the edge that are believed whom they speak for: `X-Forwarded-For`, `X-Forwarded-Proto`
    /// and `X-Request-Id` of everybody else are replaced.
    pub trusted_proxies: Vec<IpNet>,
    /// The port at which visitors reach HTTPS, when it is not 443; redirects name it.
    pub https_port: Option<u16>,
    /// Most connections of one visitor's address at once (an IPv6 visitor is its /64); further ones are closed.
    pub client_connections: Option<u32>,
    /// Addresses that may have any number: this machine's own, by default, and proxies that speak for many visitors.
    pub unbounded_clients: Vec<IpNet>,
    /// What a visitor may do on one HTTP/2 connection.
    pub h2: H2Limits,
    /// File in MaxMind's format that tells visitors' countries; read again when it changes.
    pub geoip: Option<PathBuf>,
    /// Where lines of JSON tell of requests.
    pub access_log: Option<AccessLog>,
    /// Where spans of requests are sent.
    pub otlp: Option<Otlp>,
    /// Where the operator asks for `/metrics`, `/healthz` and `/readyz`; best an address that no visitor reaches.
    pub admin: Option<SocketAddr>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// Memory for manifests and bodies unless told otherwise, in bytes: the whole of a few hundred small sites.
const CACHE_BYTES: u64 = 256 << 20;
/// Memory for kept answers of apps unless told otherwise, in bytes: some ten thousand pages.
const RESPONSE_CACHE_BYTES: u64 = 256 << 20;
/// Connections at once unless told otherwise: each costs some tens of kilobytes at most, so this bounds the
/// memory that silent clients can take to a few hundred megabytes.
const MAX_CONNECTIONS: usize = 16_384;

/// Slowest visitors that are served unless told otherwise, in bytes a second: the slowest mobile networks that are
/// in use are ten times faster.
const MIN_RATE: u32 = 256;

/// Memory for certificates unless told otherwise, in bytes: some eight thousand that are visited at a time.
const CERTIFICATE_BYTES: u64 = 64 << 20;
/// Connections of one visitor's address unless told otherwise: browsers open six to a host, so this is a large office
/// behind one address, and a sixteenth of what all may have.
const CLIENT_CONNECTIONS: u32 = 1024;
/// Name of the key's file unless told otherwise, in the edge's folder.
const KEY_FILE: &str = "edge.key";

impl Config {
    /// Settings with every default.
    #[must_use]
    pub fn new(feed: Url, feed_token: Secret, folder: PathBuf) -> Self {
        let key_file = folder.join(KEY_FILE);
        Self {
            feed,
            feed_token,
            feed_ca: None,
            folder,
            cache_bytes: CACHE_BYTES,
            response_cache_bytes: RESPONSE_CACHE_BYTES,
            max_connections: MAX_CONNECTIONS,
            requests: wire::Limits::default(),
            min_rate: MIN_RATE,
            key_file,
            certificate_bytes: CERTIFICATE_BYTES,
            proxy_protocol_from: Vec::new(),
            trusted_proxies: Vec::new(),
            https_port: None,
            client_connections: Some(CLIENT_CONNECTIONS),
            unbounded_clients: vec![
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
            ],
            h2: H2Limits::default(),
            geoip: None,
            access_log: None,
            otlp: None,
            admin: None,
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
    /// Longest time for a TLS handshake, from accept to its end. Phones in bad networks take a few seconds.
    pub handshake: Duration,
    /// Longest time in which a PROXY header arrives; balancers send it at once.
    pub proxy_header: Duration,
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
            handshake: Duration::from_secs(10),
            proxy_header: Duration::from_secs(5),
            client_head: Duration::from_secs(30),
            client: Duration::from_secs(60),
            client_idle: Duration::from_secs(60),
            client_stall: Duration::from_secs(60),
            wake: Duration::from_secs(30),
            store: Duration::from_secs(10),
        }
    }
}

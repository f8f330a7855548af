//! The edge's settings: those of an edge within `astrocloud up` and of one that runs alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use edge::{AccessLog, H2Limits, LogTo, Otlp, RequestLimits};
use ipnet::IpNet;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Bytes, Maybe, Settings, StoreUrl};

/// What an edge that ends waits for: downloads and streams that would end by themselves soon.
const DRAIN: Duration = Duration::from_secs(30);
/// What an edge is called in traces.
const SERVICE: &str = "astrocloud-edge";
/// The access log on standard output.
const STDOUT: &str = "stdout";

/// How the edge treats visitors of all projects, and what it tells its operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Edge {
    pub cache: Bytes,
    pub response_cache: Bytes,
    pub certificate_cache: Bytes,
    pub max_connections: usize,
    pub client_connections: u32,
    pub unbounded_clients: Vec<IpNet>,
    pub streams: u32,
    pub control_frames: u32,
    pub reset_streams: usize,
    pub min_rate: u32,
    pub https_redirect: bool,
    pub https_port: u16,
    pub proxy_protocol_from: Vec<IpNet>,
    pub trusted_proxies: Vec<IpNet>,
    pub geoip: Maybe<String>,
    pub admin: Maybe<SocketAddr>,
    pub access_log: Maybe<String>,
    pub access_log_sample: f64,
    pub otlp: Maybe<Url>,
    pub otlp_sample: f64,
    pub otlp_service: String,
    pub key_file: Maybe<String>,
    pub control_plane: Maybe<Url>,
    pub control_plane_ca: Maybe<String>,
    pub token_file: Maybe<String>,
    pub store: Maybe<StoreUrl>,
    #[serde(with = "span")]
    pub drain: Duration,
    pub requests: Requests,
    pub timeouts: Timeouts,
}

/// How large a request over HTTP/1 may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Requests {
    pub line: Bytes,
    pub head: Bytes,
    pub fields: usize,
    pub chunk_extensions: Bytes,
    pub trailers: Bytes,
}

/// How long the edge waits for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Timeouts {
    #[serde(with = "span")]
    pub connect: Duration,
    #[serde(with = "span")]
    pub upstream: Duration,
    #[serde(with = "span")]
    pub stream: Duration,
    #[serde(with = "span")]
    pub upstream_idle: Duration,
    #[serde(with = "span")]
    pub handshake: Duration,
    #[serde(with = "span")]
    pub proxy_header: Duration,
    #[serde(with = "span")]
    pub client_head: Duration,
    #[serde(with = "span")]
    pub client: Duration,
    #[serde(with = "span")]
    pub client_idle: Duration,
    #[serde(with = "span")]
    pub client_stall: Duration,
    #[serde(with = "span")]
    pub wake: Duration,
    #[serde(with = "span")]
    pub store: Duration,
}

/// The edge's own defaults.
fn defaults() -> edge::Config {
    let nowhere = Url::parse("http://localhost/").unwrap_or_else(|_| unreachable!("a constant URL"));
    edge::Config::new(nowhere, Secret::new(""), PathBuf::new())
}

/// A number of bytes that is in memory.
fn size(bytes: usize) -> Bytes {
    Bytes(bytes as u64)
}

/// More than memory holds is as good as no bound.
fn memory(bytes: Bytes) -> usize {
    usize::try_from(bytes.0).unwrap_or(usize::MAX)
}

impl Default for Edge {
    fn default() -> Self {
        let config = defaults();
        Self {
            cache: Bytes(config.cache_bytes),
            response_cache: Bytes(config.response_cache_bytes),
            certificate_cache: Bytes(config.certificate_bytes),
            max_connections: config.max_connections,
            client_connections: config.client_connections.unwrap_or(0),
            unbounded_clients: config.unbounded_clients,
            streams: config.h2.streams,
            control_frames: config.h2.control_frames_per_s,
            reset_streams: config.h2.reset_streams,
            min_rate: config.min_rate,
            https_redirect: false,
            https_port: 0,
            proxy_protocol_from: config.proxy_protocol_from,
            trusted_proxies: config.trusted_proxies,
            geoip: Maybe(None),
            admin: Maybe(config.admin),
            access_log: Maybe(None),
            access_log_sample: 1.0,
            otlp: Maybe(None),
            otlp_sample: 1.0,
            otlp_service: SERVICE.to_owned(),
            key_file: Maybe(None),
            control_plane: Maybe(None),
            control_plane_ca: Maybe(None),
            token_file: Maybe(None),
            store: Maybe(None),
            drain: DRAIN,
            requests: Requests::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        let limits = RequestLimits::default();
        Self {
            line: size(limits.line),
            head: size(limits.head),
            fields: limits.fields,
            chunk_extensions: size(limits.chunk_extensions),
            trailers: size(limits.trailers),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let timeouts = edge::Timeouts::default();
        Self {
            connect: timeouts.connect,
            upstream: timeouts.upstream,
            stream: timeouts.stream,
            upstream_idle: timeouts.upstream_idle,
            handshake: timeouts.handshake,
            proxy_header: timeouts.proxy_header,
            client_head: timeouts.client_head,
            client: timeouts.client,
            client_idle: timeouts.client_idle,
            client_stall: timeouts.client_stall,
            wake: timeouts.wake,
            store: timeouts.store,
        }
    }
}

impl Edge {
    /// The port at which visitors reach HTTPS, when the edge listens on this one.
    pub const fn https_port_of(&self, listened_on: Option<u16>) -> Option<u16> {
        if self.https_port == 0 { listened_on } else { Some(self.https_port) }
    }
}

impl Settings {
    /// What the edge takes. `https_port` is the port that it listens on for TLS.
    pub fn edge(&self, feed: Url, feed_token: Secret, folder: PathBuf, https_port: Option<u16>) -> edge::Config {
        let (set, defaults) = (&self.edge, edge::Config::new(feed, feed_token, folder));
        let path = |setting: &Maybe<String>| setting.0.as_ref().map(PathBuf::from);
        let access_log = set.access_log.0.as_ref().map(|to| AccessLog {
            to: if to == STDOUT { LogTo::Stdout } else { LogTo::File(to.into()) },
            sample: set.access_log_sample,
        });
        let otlp = set.otlp.0.clone().map(|endpoint| Otlp {
            endpoint,
            sample: set.otlp_sample,
            service: set.otlp_service.clone(),
        });
        let (requests, waits) = (&set.requests, &set.timeouts);
        // Every field is named, so that one that is added must be made a setting.
        edge::Config {
            feed: defaults.feed,
            feed_token: defaults.feed_token,
            feed_ca: path(&set.control_plane_ca),
            folder: defaults.folder,
            cache_bytes: set.cache.0,
            response_cache_bytes: set.response_cache.0,
            max_connections: set.max_connections,
            requests: RequestLimits {
                line: memory(requests.line),
                head: memory(requests.head),
                fields: requests.fields,
                chunk_extensions: memory(requests.chunk_extensions),
                trailers: memory(requests.trailers),
            },
            min_rate: set.min_rate,
            key_file: path(&set.key_file).unwrap_or(defaults.key_file),
            certificate_bytes: set.certificate_cache.0,
            proxy_protocol_from: set.proxy_protocol_from.clone(),
            trusted_proxies: set.trusted_proxies.clone(),
            https_port: set.https_port_of(https_port),
            client_connections: Some(set.client_connections).filter(|most| *most != 0),
            unbounded_clients: set.unbounded_clients.clone(),
            h2: H2Limits {
                streams: set.streams,
                control_frames_per_s: set.control_frames,
                reset_streams: set.reset_streams,
            },
            geoip: path(&set.geoip),
            access_log,
            otlp,
            admin: set.admin.0,
            timeouts: edge::Timeouts {
                connect: waits.connect,
                upstream: waits.upstream,
                stream: waits.stream,
                upstream_idle: waits.upstream_idle,
                handshake: waits.handshake,
                proxy_header: waits.proxy_header,
                client_head: waits.client_head,
                client: waits.client,
                client_idle: waits.client_idle,
                client_stall: waits.client_stall,
                wake: waits.wake,
                store: waits.store,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(text: &str) -> edge::Config {
        let settings: Settings = toml::from_str(text).unwrap();
        settings.edge("http://cp/".parse().unwrap(), Secret::new("t"), "f".into(), Some(8443))
    }

    #[test]
    fn what_is_not_set_is_the_edges_own_default() {
        let (set, own) = (config(""), edge::Config::new("http://cp/".parse().unwrap(), Secret::new("t"), "f".into()));
        assert_eq!(format!("{set:?}"), format!("{:?}", edge::Config { https_port: Some(8443), ..own }));
    }

    #[test]
    fn what_is_set_counts() {
        let set = config(
            "[edge]\nadmin = \"127.0.0.1:9000\"\naccess_log = \"stdout\"\naccess_log_sample = 0.5\nclient_connections = 0\n\
             trusted_proxies = [\"10.0.0.0/8\"]\nhttps_port = 443\notlp = \"http://collector:4318\"\ngeoip = \"/geo.mmdb\"\n\
             [edge.timeouts]\nconnect = \"2s\"\n[edge.requests]\nhead = \"64 KiB\"\n",
        );
        assert_eq!(set.admin, Some("127.0.0.1:9000".parse().unwrap()));
        assert_eq!(set.access_log, Some(AccessLog { to: LogTo::Stdout, sample: 0.5 }));
        assert_eq!((set.client_connections, set.https_port), (None, Some(443)));
        assert_eq!(set.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(set.otlp.unwrap().service, SERVICE);
        assert_eq!(set.geoip, Some("/geo.mmdb".into()));
        assert_eq!((set.timeouts.connect, set.requests.head), (Duration::from_secs(2), 64 << 10));
    }
}

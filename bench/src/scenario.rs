//! What is compared: the scenarios, their peers, and the ratio to aim for.

use crate::peers::{Duty, Peer};

/// How a scenario is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Files of the site, saturated. `revalidate` asks with the answer's own validator, for 304.
    Get { path: &'static str, over: Over, revalidate: bool },
    /// A new TLS 1.3 connection for each request, handshakes in full.
    FullHandshakes,
    /// A new TLS 1.3 connection for each request, sessions resumed.
    ResumedHandshakes,
    /// WebSocket messages, both directions counted.
    Messages,
    /// A random one of 100,000 hosts for each request.
    RandomHosts,
    /// The big file; the unit is a gigabyte.
    Download,
    /// From telling a change to its effect.
    Change,
    /// Memory of each of 10,000 idle connections.
    Idle { tls: bool },
}

/// What requests travel over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// HTTP/1.1, kept alive.
    Http,
    /// HTTP/1.1 over TLS, kept alive.
    Https,
    /// HTTP/2 over TLS.
    H2,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// For the command line and the report.
    pub id: &'static str,
    pub title: &'static str,
    pub duty: Duty,
    pub measure: Measure,
    pub peers: &'static [Peer],
    /// The ratio to aim for, at most.
    pub aim: f64,
    /// The peers for which that is the aim; the others stand beside, for comparison.
    pub aimed: &'static [Peer],
    /// Whether latency at a fixed rate is measured too.
    pub open_loop: bool,
}

impl Scenario {
    /// The unit of its headline, which is better when less.
    pub const fn unit(&self) -> &'static str {
        match self.measure {
            Measure::FullHandshakes | Measure::ResumedHandshakes => "CPU s per million handshakes",
            Measure::Messages => "CPU s per million messages",
            Measure::Download => "CPU s per GB",
            Measure::Change => "ms to effect",
            Measure::Idle { .. } => "KB per connection",
            Measure::Get { .. } | Measure::RandomHosts => "CPU s per million requests",
        }
    }

    /// Which load generator it needs; none when this program itself is the client.
    pub const fn generator(&self) -> Option<&'static str> {
        match self.measure {
            Measure::Get { over: Over::H2, .. } | Measure::FullHandshakes => Some("h2load"),
            Measure::Messages | Measure::Idle { .. } => None,
            _ => Some("wrk"),
        }
    }
}

const fn get(path: &'static str, over: Over) -> Measure {
    Measure::Get { path, over, revalidate: false }
}

const FILES: [&str; 3] = ["1k.txt", "10k.txt", "100k.txt"];
const ONE: &str = FILES[0];
const TEN: &str = FILES[1];
const HUNDRED: &str = FILES[2];

const PLAIN_PEERS: &[Peer] = &[Peer::Nginx, Peer::H2o, Peer::Caddy, Peer::Floor];
const TLS_PEERS: &[Peer] = &[Peer::Nginx, Peer::H2o, Peer::Caddy];
const PROXIES: &[Peer] = &[Peer::Nginx, Peer::HAProxy, Peer::Caddy];
const NGINX_AND_HAPROXY: &[Peer] = &[Peer::Nginx, Peer::HAProxy];
const NGINX_AND_VARNISH: &[Peer] = &[Peer::Nginx, Peer::Varnish];
const NGINX_AND_CADDY: &[Peer] = &[Peer::Nginx, Peer::Caddy];

/// All of them, in the order of the report.
pub const ALL: &[Scenario] = &[
    row("static-1k", "Static 1 KB, HTTP/1.1", Duty::Files, get(ONE, Over::Http), PLAIN_PEERS, 0.7).timed(),
    row("static-10k", "Static 10 KB, HTTP/1.1", Duty::Files, get(TEN, Over::Http), PLAIN_PEERS, 0.85).timed(),
    row("static-100k", "Static 100 KB, HTTP/1.1", Duty::Files, get(HUNDRED, Over::Http), PLAIN_PEERS, 0.85),
    row("static-tls-1k", "Static 1 KB, HTTP/1.1 over TLS", Duty::Files, get(ONE, Over::Https), TLS_PEERS, 0.9).timed(),
    row("static-tls-10k", "Static 10 KB, HTTP/1.1 over TLS", Duty::Files, get(TEN, Over::Https), TLS_PEERS, 0.9),
    row("static-tls-100k", "Static 100 KB, HTTP/1.1 over TLS", Duty::Files, get(HUNDRED, Over::Https), TLS_PEERS, 0.9),
    row("static-h2-1k", "Static 1 KB, HTTP/2", Duty::Files, get(ONE, Over::H2), TLS_PEERS, 0.8).timed(),
    row("static-h2-10k", "Static 10 KB, HTTP/2", Duty::Files, get(TEN, Over::H2), TLS_PEERS, 0.8),
    row("static-h2-100k", "Static 100 KB, HTTP/2", Duty::Files, get(HUNDRED, Over::H2), TLS_PEERS, 0.8),
    row(
        "revalidate",
        "304 to a revalidation, HTTP/1.1",
        Duty::Files,
        Measure::Get { path: ONE, over: Over::Http, revalidate: true },
        TLS_PEERS,
        0.9,
    ),
    row("proxy-1k", "1 KB proxied, HTTP/1.1", Duty::Proxy, get(ONE, Over::Http), PROXIES, 1.0).timed(),
    row("proxy-h2-1k", "1 KB proxied, HTTP/2 and TLS", Duty::Proxy, get(ONE, Over::H2), PROXIES, 0.9).timed(),
    row("handshake-full", "Full TLS 1.3 handshakes", Duty::Files, Measure::FullHandshakes, PROXIES, 0.9),
    row("handshake-resumed", "Resumed TLS 1.3 handshakes", Duty::Files, Measure::ResumedHandshakes, PROXIES, 0.8),
    row("websocket", "WebSocket messages", Duty::WebSocket, Measure::Messages, PROXIES, 1.0),
    row("hosts", "100,000 hosts, files", Duty::ManySites, Measure::RandomHosts, NGINX_AND_CADDY, 0.7)
        .against(NGINX_AND_CADDY),
    row("hosts-proxy", "100,000 hosts, proxied", Duty::ManyApps, Measure::RandomHosts, NGINX_AND_HAPROXY, 0.7),
    row("change", "Change of one host among one", Duty::OneSite, Measure::Change, NGINX_AND_CADDY, 0.05)
        .against(NGINX_AND_CADDY),
    row("change-many", "Change of one host among 100,000", Duty::ManySites, Measure::Change, NGINX_AND_CADDY, 0.05)
        .against(NGINX_AND_CADDY),
    row("cache", "Hits of the response cache, 1 KB", Duty::Cache, get(ONE, Over::Http), NGINX_AND_VARNISH, 1.0)
        .against(NGINX_AND_VARNISH)
        .timed(),
    row("download", "Download of 1 GB", Duty::Files, Measure::Download, NGINX_AND_CADDY, 1.0),
    row("idle", "10,000 idle connections", Duty::Files, Measure::Idle { tls: false }, TLS_PEERS, 1.0),
    row("idle-tls", "10,000 idle TLS connections", Duty::Files, Measure::Idle { tls: true }, TLS_PEERS, 1.0),
];

const fn row(
    id: &'static str,
    title: &'static str,
    duty: Duty,
    measure: Measure,
    peers: &'static [Peer],
    aim: f64,
) -> Scenario {
    Scenario { id, title, duty, measure, peers, aim, aimed: NGINX_AND_HAPROXY, open_loop: false }
}

impl Scenario {
    const fn timed(self) -> Self {
        Self { open_loop: true, ..self }
    }

    const fn against(self, aimed: &'static [Peer]) -> Self {
        Self { aimed, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_the_edge_is_no_peer_of_itself() {
        let ids: BTreeSet<&str> = ALL.iter().map(|scenario| scenario.id).collect();
        assert_eq!(ids.len(), ALL.len());
        assert!(ALL.iter().all(|scenario| !scenario.peers.contains(&Peer::Edge)));
        assert!(ALL.iter().all(|scenario| scenario.aim > 0.0));
        let has_aim = |scenario: &Scenario| scenario.peers.iter().any(|peer| scenario.aimed.contains(peer));
        assert!(ALL.iter().all(has_aim));
    }
}

//! Where the walk begins, whom it trusts, and how long it waits.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use hickory_proto::dnssec::TrustAnchors;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The port of DNS servers (RFC 1035 4.2).
const PORT: u16 = 53;
/// The word for the root's keys as IANA publishes them.
const IANA: &str = "iana";

/// The root servers' addresses, <https://www.internic.net/domain/named.root>, IPv4 before IPv6.
const ROOTS: [&str; 26] = [
    "198.41.0.4",
    "170.247.170.2",
    "192.33.4.12",
    "199.7.91.13",
    "192.203.230.10",
    "192.5.5.241",
    "192.112.36.4",
    "198.97.190.53",
    "192.36.148.17",
    "192.58.128.30",
    "193.0.14.129",
    "199.7.83.42",
    "202.12.27.33",
    "2001:503:ba3e::2:30",
    "2801:1b8:10::b",
    "2001:500:2::c",
    "2001:500:2d::d",
    "2001:500:a8::e",
    "2001:500:2f::f",
    "2001:500:12::d0d",
    "2001:500:1::53",
    "2001:7fe::53",
    "2001:503:c27::2:30",
    "2001:7fd::1",
    "2001:500:9f::42",
    "2001:dc3::35",
];

/// How the DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The root servers: addresses, with a port when it is not 53 (`192.0.2.1`, `127.0.0.1:5353`, `[::1]:5353`).
    pub roots: Vec<ServerAddress>,
    /// Further servers that may be asked although they are not of the public Internet, or that listen on another
    /// port: an operator's own name servers, and tests. Zones name servers by address alone, so an address has one port.
    pub servers: Vec<ServerAddress>,
    /// Whom the validation of signatures begins with.
    pub trust_anchors: Anchors,
    /// How long one server may take; a datagram is sent twice within it.
    #[serde(with = "span")]
    pub server_timeout: Duration,
    /// How long one question may take, with all servers that it leads to.
    #[serde(with = "span")]
    pub timeout: Duration,
    /// Queries on their way at once, of all questions together.
    pub queries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            roots: ROOTS.iter().filter_map(|root| root.parse().ok()).collect(),
            servers: Vec::new(),
            trust_anchors: Anchors::default(),
            server_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(20),
            queries: 256,
        }
    }
}

impl Settings {
    /// The ports of those servers that are named here, by address.
    pub(crate) fn ports(&self) -> BTreeMap<IpAddr, u16> {
        self.roots.iter().chain(&self.servers).map(|server| (server.0.ip(), server.0.port())).collect()
    }

    /// The addresses that were named by the operator.
    pub(crate) fn named(&self) -> HashSet<IpAddr> {
        self.roots.iter().chain(&self.servers).map(|server| server.0.ip()).collect()
    }
}

/// A server's address, with port 53 unless it says another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerAddress(pub SocketAddr);

/// A text that is no address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is no server's address: write an IP address, with a port if it is not 53: 192.0.2.1, [2001:db8::1]:5353"
)]
pub struct BadAddress(String);

impl FromStr for ServerAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        text.parse::<IpAddr>()
            .map(|ip| SocketAddr::new(ip, PORT))
            .or_else(|_| text.parse())
            .map(Self)
            .map_err(|_| BadAddress(text.to_owned()))
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Self, BadAddress> {
        text.parse()
    }
}

impl From<ServerAddress> for String {
    fn from(address: ServerAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            PORT => self.0.ip().fmt(formatter),
            _ => self.0.fmt(formatter),
        }
    }
}

/// The keys of the root zone: `iana` for those that IANA publishes (RFC 7958), or DNSKEY records in master-file form.
/// None at all means that signatures are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Anchors(Vec<String>);

/// A text that is no trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{text}\" is no trust anchor ({cause}): write \"iana\", or the root's DNSKEY record: . IN DNSKEY 257 3 8 AwEAA…"
)]
pub struct BadAnchor {
    text: String,
    cause: String,
}

impl Default for Anchors {
    fn default() -> Self {
        Self(vec![IANA.to_owned()])
    }
}

impl TryFrom<Vec<String>> for Anchors {
    type Error = BadAnchor;

    fn try_from(texts: Vec<String>) -> Result<Self, BadAnchor> {
        for text in texts.iter().filter(|text| *text != IANA) {
            let wrong = |cause: String| BadAnchor { text: text.clone(), cause };
            let anchors = TrustAnchors::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if anchors.is_empty() {
                return Err(wrong("it is no key of the root zone".to_owned()));
            }
        }
        Ok(Self(texts))
    }
}

impl From<Anchors> for Vec<String> {
    fn from(anchors: Anchors) -> Self {
        anchors.0
    }
}

impl Anchors {
    /// The keys themselves; `None` when nothing is trusted, so nothing can be judged.
    pub(crate) fn keys(&self) -> Option<TrustAnchors> {
        if self.0.is_empty() {
            return None;
        }
        let mut keys = TrustAnchors::empty();
        for text in &self.0 {
            // Every text was read once already, when these anchors were made.
            let more = if text == IANA { Ok(TrustAnchors::default()) } else { TrustAnchors::from_str(text) };
            let Ok(more) = more else { continue };
            for key in (0..more.len()).filter_map(|index| more.get(index)) {
                keys.insert(key);
            }
        }
        Some(keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn all_roots_are_built_in_and_shown_as_they_are_written() {
        let settings = Settings::default();
        assert_eq!(settings.roots.iter().map(ToString::to_string).collect::<Vec<_>>(), ROOTS);
        assert_eq!("127.0.0.1:5353".parse::<ServerAddress>().unwrap().to_string(), "127.0.0.1:5353");
        assert!("ns.example".parse::<ServerAddress>().unwrap_err().to_string().contains("write an IP address"));
    }

    #[test]
    fn trust_anchors_are_the_published_ones_unless_they_are_given() {
        assert_eq!(Anchors::default().keys().unwrap().len(), 2);
        assert!(Anchors::try_from(Vec::new()).unwrap().keys().is_none());
        for wrong in ["nobody", "example.com. IN DNSKEY 257 3 13 AAAA"] {
            let error = Anchors::try_from(vec![wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("write \"iana\""), "{error}");
        }
    }
}

//! What the DNS server needs to know.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use dns::Name;
use dns::server::Settings;
use dns::tsig::Key;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The DNS server's settings.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Where it listens, over UDP and TCP; nowhere when empty.
    pub listen: Vec<SocketAddr>,
    /// The names that zones' NS records get; the first is the SOA's primary.
    pub nameservers: Vec<Name>,
    /// The SOA's mailbox, as a name.
    pub mailbox: Name,
    /// Seconds after which secondaries look for changes.
    pub refresh: u32,
    /// Seconds after which they try again.
    pub retry: u32,
    /// Seconds after which they stop answering without us.
    pub expire: u32,
    /// Seconds that others may keep that something is not there.
    pub negative_ttl: u32,
    /// Seconds that others may keep a record, unless it says so itself.
    pub ttl: u32,
    /// Datagrams a second that each network (/24, /56) is answered; 0 is any number.
    pub rate: u32,
    /// Datagrams at once for each network.
    pub burst: u32,
    /// Who may transfer zones.
    pub transfer: Vec<IpNet>,
    /// Keys with which anybody may.
    pub keys: Vec<Arc<Key>>,
    /// Where visitors reach the platform's own names, for ALIAS records that lead to them.
    pub addresses: Vec<IpAddr>,
    /// Below this name, in a zone held here, stand proofs of names whose owners delegated them by a CNAME.
    pub challenges: Option<Name>,
    /// Zones that Azure DNS holds.
    pub azure: Option<azure_dns::Config>,
    /// Who is told of changes, and waited for before an authority looks at a proof.
    pub secondaries: Vec<Secondary>,
}

impl DnsConfig {
    /// How the server serves.
    pub(super) fn server(&self) -> Settings {
        Settings { listen: self.listen.clone(), rate: self.rate, burst: self.burst, transfer: self.transfer.clone() }
    }

    /// Whether anybody may transfer zones.
    pub(super) fn gives_away(&self) -> bool {
        !self.transfer.is_empty() || !self.keys.is_empty()
    }

    /// The key with which a secondary is told.
    pub(super) fn key_of(&self, secondary: &Secondary) -> Option<&Arc<Key>> {
        let name = secondary.key.as_ref()?;
        self.keys.iter().find(|key| key.is_called(name))
    }
}

/// A server that takes zones from this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secondary {
    /// Where it listens.
    pub address: SocketAddr,
    /// The key with which it is told of changes.
    pub key: Option<Name>,
}

impl FromStr for Secondary {
    type Err = String;

    /// `192.0.2.53:53`, or with a key's name behind it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, key) = match text.split_once(' ') {
            Some((address, key)) => (address, Some(key.trim())),
            None => (text, None),
        };
        let form = "a secondary is an address and a port, and the name of a key if it has one: `192.0.2.53:53 shared`";
        let address = address.parse().map_err(|_| form.to_owned())?;
        let key = key.map(|key| dns::name::parse(key, &Name::root())).transpose().map_err(|e| e.to_string())?;
        Ok(Self { address, key })
    }
}

impl fmt::Display for Secondary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.key {
            Some(key) => write!(f, " {}", dns::name::text(key).trim_end_matches('.')),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Secondary {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Secondary> for String {
    fn from(secondary: Secondary) -> Self {
        secondary.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secondary_is_written_as_it_is_read() {
        for text in ["192.0.2.53:53", "[2001:db8::1]:5353 shared"] {
            assert_eq!(text.parse::<Secondary>().unwrap().to_string(), text);
        }
        assert!("192.0.2.53".parse::<Secondary>().unwrap_err().contains("192.0.2.53:53"));
    }
}

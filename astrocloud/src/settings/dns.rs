//! The DNS server's settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use control_plane::{DnsConfig, Secondary};
use dns::Name;
use dns::tsig::Key;
use ipnet::IpNet;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};

use super::{Azure, Maybe, Settings};
use crate::exit::Usage;

/// How zones that are delegated to the platform are answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Dns {
    pub listen: Vec<SocketAddr>,
    pub nameservers: Vec<String>,
    pub mailbox: Maybe<String>,
    #[serde(with = "span")]
    pub ttl: Duration,
    #[serde(with = "span")]
    pub negative_ttl: Duration,
    #[serde(with = "span")]
    pub refresh: Duration,
    #[serde(with = "span")]
    pub retry: Duration,
    #[serde(with = "span")]
    pub expire: Duration,
    pub rate: u32,
    pub burst: u32,
    pub transfer: Vec<IpNet>,
    pub keys_file: Maybe<String>,
    pub secondaries: Vec<Secondary>,
    pub challenges: Maybe<String>,
    pub azure: Azure,
}

impl Default for Dns {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            // A developer's machine has a DNS server on the usual port already, and nobody delegates to it.
            listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
            nameservers: Vec::new(),
            mailbox: Maybe(None),
            ttl: minutes(5),
            negative_ttl: minutes(1),
            // RFC 1912 section 2.2 gives these ranges.
            refresh: minutes(60),
            retry: minutes(10),
            expire: minutes(14 * 24 * 60),
            // What NSD limits a network to.
            rate: 200,
            burst: 400,
            transfer: Vec::new(),
            keys_file: Maybe(None),
            secondaries: Vec::new(),
            challenges: Maybe(None),
            azure: Azure::default(),
        }
    }
}

impl Settings {
    /// What the control plane takes. `addresses` are where visitors reach the platform's own names.
    ///
    /// # Errors
    /// When a name is none, or the file of keys can't be read.
    pub fn dns(&self, addresses: Vec<IpAddr>) -> anyhow::Result<DnsConfig> {
        let set = &self.dns;
        let below = |label: &str| format!("{label}.{}", self.base_domain);
        let servers = match set.nameservers.as_slice() {
            [] => vec![below("ns1")],
            some => some.to_vec(),
        };
        let keys = match &set.keys_file.0 {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("the file of DNS keys {path} (dns.keys_file) can't be read"))?;
                Key::read(&text).map_err(|e| Usage::new(format!("the file of DNS keys {path} is wrong: {e}")))?
            }
            None => Vec::new(),
        };
        for secondary in &set.secondaries {
            if let Some(name) = secondary.key.as_ref().filter(|name| !keys.iter().any(|key| key.is_called(name))) {
                let message = format!("dns.secondaries: there is no key {name} in the file of dns.keys_file");
                return Err(Usage::new(message).into());
            }
        }
        let mailbox = set.mailbox.0.clone().unwrap_or_else(|| below("hostmaster")).replace('@', ".");
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        Ok(DnsConfig {
            listen: set.listen.clone(),
            nameservers: servers.iter().map(|text| name("dns.nameservers", text)).collect::<Result<_, _>>()?,
            mailbox: name("dns.mailbox", &mailbox)?,
            refresh: seconds(set.refresh),
            retry: seconds(set.retry),
            expire: seconds(set.expire),
            negative_ttl: seconds(set.negative_ttl),
            ttl: seconds(set.ttl),
            rate: set.rate,
            burst: set.burst,
            transfer: set.transfer.clone(),
            keys,
            addresses,
            challenges: set.challenges.0.as_ref().map(|text| name("dns.challenges", text)).transpose()?,
            azure: set.azure.config(|name| std::env::var(name).ok())?,
            secondaries: set.secondaries.clone(),
        })
    }
}

fn name(setting: &str, text: &str) -> Result<Name, Usage> {
    dns::name::parse(text, &Name::root()).map_err(|e| Usage::new(format!("{setting}: {e}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(text: &str) -> anyhow::Result<DnsConfig> {
        toml::from_str::<Settings>(text).unwrap().dns(Vec::new())
    }

    #[test]
    fn name_servers_are_below_the_base_domain_unless_they_are_said() {
        let default = config("base_domain = \"apps.example\"").unwrap();
        assert_eq!(default.nameservers, [name("", "ns1.apps.example").unwrap()]);
        assert_eq!(default.mailbox, name("", "hostmaster.apps.example").unwrap());
        let set = config("[dns]\nnameservers = [\"a.example\", \"b.example\"]\nmailbox = \"dns@example.com\"").unwrap();
        assert_eq!(set.nameservers.len(), 2);
        assert_eq!(set.mailbox, name("", "dns.example.com").unwrap());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_settings_name() {
        for (text, said) in [
            ("[dns]\nnameservers = [\"a..b\"]", "dns.nameservers"),
            ("[dns]\nkeys_file = \"/nowhere/keys\"", "/nowhere/keys"),
            ("[dns]\nsecondaries = [\"192.0.2.1:53 shared\"]", "shared"),
        ] {
            let error = format!("{:#}", config(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
    }
}

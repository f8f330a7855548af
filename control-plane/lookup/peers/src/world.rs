//! A root and the top-level domain `example.`, below which tests put their zones.

use std::net::IpAddr;

use crate::{Keys, Lifetime, Net};

/// The two upper storeys, served by NSD.
pub struct World {
    /// All servers.
    pub net: Net,
    root: IpAddr,
    anchor: Option<String>,
}

/// A zone's head: SOA and one NS record. What is not there is remembered for 60 seconds, the rest for 300.
pub fn head(ns: &str) -> String {
    format!("$TTL 300\n@ IN SOA {ns} hostmaster 1 3600 600 1209600 60\n@ IN NS {ns}\n")
}

impl World {
    /// Starts both, unsigned; `lines` stand in `example.`, delegations first of all.
    ///
    /// # Errors
    /// When NSD does not start or refuses the lines.
    pub async fn plain(net: Net, lines: &str) -> anyhow::Result<Self> {
        Self::start(net, lines, None).await
    }

    /// The same, signed.
    ///
    /// # Errors
    /// When NSD does not start, or BIND's tools refuse the lines.
    pub async fn signed(net: Net, lines: &str) -> anyhow::Result<Self> {
        Self::start(net, lines, Some((Keys::generate(".")?, Keys::generate("example.")?))).await
    }

    async fn start(mut net: Net, lines: &str, keys: Option<(Keys, Keys)>) -> anyhow::Result<Self> {
        let (root, tld) = (net.address(), net.address());
        let mut root_zone = format!(
            "{}ns.root. IN A {root}\nexample. IN NS ns.nic.example.\nns.nic.example. IN A {tld}\n",
            head("ns.root.")
        );
        let mut tld_zone = format!("{}ns.nic IN A {tld}\n{lines}\n", head("ns.nic"));
        let mut anchor = None;
        if let Some((root_keys, tld_keys)) = &keys {
            root_zone.push_str(&tld_keys.ds()?);
            root_zone = root_keys.sign(&root_zone, Lifetime::Now)?;
            tld_zone = tld_keys.sign(&tld_zone, Lifetime::Now)?;
            anchor = Some(root_keys.dnskey()?);
        }
        net.nsd(root, &[(".", &root_zone)]).await?;
        net.nsd(tld, &[("example.", &tld_zone)]).await?;
        Ok(Self { net, root, anchor })
    }

    /// The root server, as settings have it.
    pub fn root(&self) -> String {
        self.net.socket(self.root).to_string()
    }

    /// The root's keys, as settings have them: none when it is not signed.
    pub fn anchors(&self) -> Vec<String> {
        self.anchor.clone().into_iter().collect()
    }
}

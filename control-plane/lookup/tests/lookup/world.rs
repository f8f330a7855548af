//! A root, a top-level domain and zones below it.

use std::net::IpAddr;

use lookup::{Lookup, Name, RData, Record, Settings};
use peers::Net;

/// The servers, and the root's address.
pub struct World {
    pub net: Net,
    pub root: IpAddr,
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A zone's head: SOA with 60 seconds for what is not there.
pub fn head(ns: &str) -> String {
    format!("$TTL 300\n@ IN SOA {ns} hostmaster 1 3600 600 1209600 60\n@ IN NS {ns}\n")
}

/// Starts a root that delegates `example.`, and `example.` with further lines.
pub async fn world(delegations: impl FnOnce(&mut Net) -> String) -> World {
    let mut net = Net::new().unwrap();
    let (root, tld) = (net.address(), net.address());
    let lines = delegations(&mut net);
    let root_zone = format!(
        "{}ns.root. IN A {root}\nexample. IN NS ns.nic.example.\nns.nic.example. IN A {tld}\n",
        head("ns.root.")
    );
    net.nsd(root, &[(".", &root_zone)]).await.unwrap();
    let tld_zone = format!("{}ns.nic IN A {tld}\n{lines}", head("ns.nic"));
    net.nsd(tld, &[("example.", &tld_zone)]).await.unwrap();
    World { net, root }
}

impl World {
    pub fn settings(&self) -> Settings {
        Settings {
            roots: vec![self.net.socket(self.root).to_string().parse().unwrap()],
            servers: self.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
            server_timeout: std::time::Duration::from_millis(600),
            ..Settings::default()
        }
    }

    pub fn lookup(&self) -> Lookup {
        Lookup::new(self.settings())
    }
}

/// Data in master-file form.
pub fn data(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.data.to_string()).collect()
}

pub fn a(owner: &str, address: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(address.parse().unwrap()))
}

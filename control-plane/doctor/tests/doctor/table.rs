//! The judgement by itself: what was seen, and which findings follow, in which order.

mod names;
mod rest;

use std::time::Duration;

use doctor::{
    Authority, Code, EdgeSigns, Expected,
    host::Host,
    judge::judge,
    observation::{Caa, Certificate, Head, Observation, Secure, Visit},
};
use hickory_proto::rr::rdata::CNAME;
use lookup::{Existence, Found, Listed, Name, RData, Record, Server, Trust};

const HOST: &str = "www.shop.example";
const APEX: &str = "shop.example";

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn found(records: Vec<Record>) -> Found {
    let existence = if records.is_empty() { Existence::NoData } else { Existence::Name };
    Found { cnames: Vec::new(), records, existence, zone: name(APEX), ttl: Duration::from_secs(300) }
}

fn at(owner: &str, addresses: &[&str]) -> Found {
    let record = |address: &&str| {
        let data = match address.parse().unwrap() {
            std::net::IpAddr::V4(v4) => RData::A(v4.into()),
            std::net::IpAddr::V6(v6) => RData::AAAA(v6.into()),
        };
        Record::from_rdata(name(owner), 300, data)
    };
    found(addresses.iter().map(record).collect())
}

fn nothing(existence: Existence) -> Found {
    Found { existence, ..found(Vec::new()) }
}

fn cname(target: &str) -> Found {
    found(vec![Record::from_rdata(name(HOST), 300, RData::CNAME(CNAME(name(target))))])
}

fn server(label: &str, listed: Listed) -> Server {
    Server { name: name(&format!("{label}.shop.example")), address: Some("198.51.100.1".parse().unwrap()), listed }
}

fn edge() -> EdgeSigns {
    EdgeSigns { server: "AstroCloud".to_owned(), header: "x-astrocloud-deployment".to_owned() }
}

fn ours() -> Visit {
    let head = head(200, &[("server", "AstroCloud")]);
    let certificate = Certificate { fingerprint: "aa".to_owned(), ..Certificate::default() };
    Visit {
        address: "198.51.100.7".parse().unwrap(),
        plain: Ok(head.clone()),
        secure: Ok(Secure { certificate, head: Ok(head) }),
    }
}

fn expected() -> Expected {
    Expected {
        targets: vec!["shop.apps.example".to_owned()],
        addresses: vec!["198.51.100.7".parse().unwrap()],
        proofs: Vec::new(),
        authorities: vec![Authority {
            name: "Let's Encrypt".to_owned(),
            identities: vec!["letsencrypt.org".to_owned()],
            directory: None,
            accounts: vec!["https://acme.example/acct/1".to_owned()],
            methods: vec!["http-01".to_owned(), "tls-alpn-01".to_owned()],
        }],
        edge: Some(edge()),
        certificates: Some(vec!["aa".to_owned()]),
    }
}

/// A name whose CNAME leads here, and all is well.
fn healthy() -> Observation {
    let followed = Found { cnames: vec![name("shop.apps.example")], ..at("shop.apps.example", &["198.51.100.7"]) };
    Observation {
        at: "2026-11-25T12:00:00Z".parse().unwrap(),
        cname: Ok(cname("shop.apps.example")),
        a: Ok(followed.clone()),
        aaaa: Ok(Found { cnames: followed.cnames, ..nothing(Existence::NoData) }),
        beside: Vec::new(),
        each: Ok(vec![(server("ns1", Listed::Both), Ok(cname("shop.apps.example")))]),
        soa: Ok(Vec::new()),
        proofs: Vec::new(),
        caa: Ok(Caa::default()),
        trust: Ok(Trust::Secure),
        remembered: Vec::new(),
        registration: None,
        visits: vec![ours()],
    }
}

/// A name with these addresses and no CNAME.
fn addresses(v4: &[&str], v6: &[&str]) -> Observation {
    let each = vec![(server("ns1", Listed::Both), Ok(at(HOST, v4)))];
    Observation {
        cname: Ok(nothing(Existence::NoData)),
        a: Ok(at(HOST, v4)),
        aaaa: Ok(at(HOST, v6)),
        each: Ok(each),
        ..healthy()
    }
}

fn absent(zone: &str) -> Observation {
    let found = Found { zone: name(zone), ..nothing(Existence::NoName) };
    Observation {
        cname: Ok(found.clone()),
        a: Ok(found.clone()),
        aaaa: Ok(found.clone()),
        each: Ok(vec![(server("ns1", Listed::Both), Ok(found))]),
        visits: Vec::new(),
        ..healthy()
    }
}

fn codes_of(host: &str, expected: &Expected, seen: &Observation) -> Vec<Code> {
    let (host, _) = Host::read(host).unwrap();
    judge(&host, expected, seen).into_iter().map(|finding| finding.code).collect()
}

fn codes(seen: &Observation) -> Vec<Code> {
    codes_of(HOST, &expected(), seen)
}

fn head(status: u16, fields: &[(&str, &str)]) -> Head {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Head { status, fields }
}

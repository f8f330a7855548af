//! A small Internet with a platform in it: name servers, edges and a registry.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use doctor::{Authority, Code, Doctor, EdgeSigns, Expected, Ports, Report, Settings};
use lookup::{Lookup, Name, RData, Record};
use peers::{Net, World, head};
use testkit::ports::free_at;
use url::Url;

use crate::sites::{Identity, http, https, raw};

/// What the edges of this platform say of themselves.
pub const OURS: &str = "200 OK\r\nserver: AstroCloud";

/// Addresses that every test has.
pub struct Plan {
    pub net: Net,
    /// Serves the zones that are well.
    pub good: IpAddr,
    /// An edge of the platform.
    pub edge: IpAddr,
    pub http: u16,
    pub https: u16,
}

impl Plan {
    pub fn new() -> Self {
        let mut net = Net::new().unwrap();
        let (good, edge) = (net.address(), net.address());
        Self { good, edge, http: free_at(edge), https: free_at(edge), net }
    }

    /// The upper storeys, which take the addresses over.
    pub async fn world(&mut self, lines: &str) -> World {
        let net = std::mem::replace(&mut self.net, Net::new().unwrap());
        World::plain(net, lines).await.unwrap()
    }

    /// The same, signed.
    pub async fn signed_world(&mut self, lines: &str) -> World {
        let net = std::mem::replace(&mut self.net, Net::new().unwrap());
        World::signed(net, lines).await.unwrap()
    }

    /// Lines that delegate zones below `example.` to a server.
    pub fn delegate(&self, zones: &[&str], server: IpAddr) -> String {
        zones.iter().map(|zone| format!("{zone} IN NS ns.{zone}\nns.{zone} IN A {server}\n")).collect()
    }
}

/// The text of a zone below `example.` on a server.
pub fn zone(server: IpAddr, lines: &str) -> String {
    format!("{}ns IN A {server}\n{lines}\n", head("ns"))
}

/// The platform, with a doctor who knows it.
pub struct Ward {
    pub world: World,
    pub edge: IpAddr,
    pub http: u16,
    pub https: u16,
    pub identity: Identity,
    pub settings: Settings,
    pub expected: Expected,
}

impl Ward {
    /// Starts the platform's own zone, with the further zones of the plan's good server, and its edge.
    pub async fn open(plan: Plan, world: World, zones: &[(&str, String)]) -> Self {
        let mut world = world;
        let apps = zone(plan.good, &format!("* IN A {}", plan.edge));
        let mut all = vec![("apps.example.", apps.as_str())];
        all.extend(zones.iter().map(|(origin, text)| (*origin, text.as_str())));
        world.net.nsd(plan.good, &all).await.unwrap();
        let identity = Identity::new(&["www.shop.example"]);
        http(SocketAddr::new(plan.edge, plan.http), OURS).await;
        https(SocketAddr::new(plan.edge, plan.https), &identity, OURS.to_owned()).await;
        let settings = Settings {
            resolvers: Vec::new(),
            rdap: "http://127.0.0.1:1/".to_owned(),
            service_timeout: Duration::from_secs(2),
            visit_timeout: Duration::from_secs(1),
            inner: vec!["127.0.0.0/8".parse().unwrap()],
        };
        let expected = Expected {
            targets: vec!["shop.apps.example".to_owned()],
            addresses: vec![plan.edge],
            proofs: Vec::new(),
            authorities: vec![Authority {
                name: "Let's Encrypt".to_owned(),
                identities: vec!["letsencrypt.org".to_owned()],
                directory: None,
                accounts: vec!["https://acme.example/acct/1".to_owned()],
                methods: vec!["http-01".to_owned()],
            }],
            edge: Some(EdgeSigns { server: "AstroCloud".to_owned(), header: "x-astrocloud-deployment".to_owned() }),
            certificates: Some(vec![identity.fingerprint()]),
        };
        Self { world, edge: plan.edge, http: plan.http, https: plan.https, identity, settings, expected }
    }

    pub fn doctor(&self) -> Doctor {
        let lookup = lookup::Settings {
            roots: vec![self.world.root().parse().unwrap()],
            servers: self.world.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
            trust_anchors: self.world.anchors().try_into().unwrap(),
            server_timeout: Duration::from_millis(600),
            ..lookup::Settings::default()
        };
        let ports = Ports { http: self.http, https: self.https };
        Doctor::new(Lookup::new(lookup), self.settings.clone(), ports, Vec::new()).unwrap()
    }

    pub async fn examine(&self, host: &str) -> Report {
        self.doctor().examine(host, &self.expected).await
    }

    /// An ACME directory that names this identity.
    pub async fn directory(&mut self, identity: &str) -> Url {
        let at = SocketAddr::new(self.edge, free_at(self.edge));
        let body =
            format!(r#"{{"newNonce": "https://ca.example/nonce", "meta": {{"caaIdentities": ["{identity}"]}}}}"#);
        raw(at, move |_| document(&body)).await;
        Url::parse(&format!("http://{at}/directory")).unwrap()
    }

    /// A registry that says this of each domain, or that there is none; and IANA's list that names it.
    pub async fn registry(&mut self, answers: fn(&str) -> Option<&'static str>) {
        let address = self.world.net.address();
        let port = free_at(address);
        let list = format!(
            r#"{{"version": "1.0", "publication": "2026-01-01T00:00:00Z", "services": [[["net", "example"], ["http://{address}:{port}/rdap/"]]]}}"#
        );
        raw(SocketAddr::new(address, port), move |line| {
            let path = line.split(' ').nth(1).unwrap_or_default();
            let body = match path.strip_prefix("/rdap/domain/") {
                None => Some(list.as_str()),
                Some(domain) => answers(domain),
            };
            match body {
                Some(body) => document(body),
                None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            }
        })
        .await;
        self.settings.rdap = format!("http://{address}:{port}/dns.json");
    }
}

fn document(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub fn codes(report: &Report) -> Vec<Code> {
    report.findings.iter().map(|finding| finding.code).collect()
}

pub fn soa(zone: &str) -> Record {
    let soa = hickory_proto::rr::rdata::SOA::new(name(zone), name(zone), 1, 3600, 600, 1_209_600, 60);
    Record::from_rdata(name(zone), 60, RData::SOA(soa))
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

//! A control plane and an edge in the test's own process, before an authority that looks at them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acme::challenge::Method;
use common::api::HostCertificate;
use common::bus::file::FileBus;
use common::queue::memory::MemoryQueue;
use common::registry::layout::OciLayout;
use common::secret::{MasterKey, Secret};
use control_plane::{Config, ControlPlane, DnsConfig, IssuingAuthority, Ports};
use edge::{Edge, Sockets};
use tempfile::TempDir;
use url::Url;

use crate::support::{LOOK, PATIENCE, within};

#[path = "../../../acme/tests/acme/testkit/pebble.rs"]
pub mod pebble;

use pebble::Pebble;

/// One installation's folder; nodes in it share database and keys.
#[derive(Clone)]
pub struct Installation(Arc<TempDir>);

pub struct Node {
    pub plane: ControlPlane,
    pub edge: Edge,
    /// The port at which the edge serves TLS.
    pub https: u16,
    client: reqwest::Client,
    _folder: TempDir,
    _installation: Installation,
}

impl Installation {
    pub fn new() -> Self {
        Self(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// A node whose edge has these ports.
    pub async fn node(&self, http: u16, https: u16, authorities: &[&Pebble]) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let listening = control_plane::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let store = common::blob::open(&Url::from_directory_path(folder.path().join("objects")).unwrap()).unwrap();
        let feed_token = Secret::new("feed_test");
        let authority = |(number, pebble): (usize, &&Pebble)| IssuingAuthority {
            authority: pebble.authority(&format!("pebble-{number}")),
            rehearsal: None,
        };
        let config = Config {
            name: "first".to_owned(),
            database_url: format!("sqlite://{}?mode=rwc", self.0.path().join("db").display()),
            api: listening.addr,
            base_domain: "sites.localhost".to_owned(),
            sites_url: Url::parse("http://sites.localhost/").unwrap(),
            keys: MasterKey::load_or_create(&self.0.path().join("master.key")).unwrap().into(),
            api_token: Secret::new("ast_test"),
            feed_token: feed_token.clone(),
            deployer_token: None,
            deployer_hold: common::ledger::HOLD,
            public_url: None,
            isolation: "none".to_owned(),
            max_upload_bytes: 1 << 20,
            max_pending_uploads: 100,
            garbage: control_plane::GarbageConfig::default(),
            authority: None,
            authorities: authorities.iter().enumerate().map(authority).collect(),
            issuing_lease: acme::manager::LEASE,
            domains: control_plane::DomainsConfig::default(),
            https_redirect: false,
            keep_images: 10,
            https_port: 443,
            dns: dns(),
            doctor: doctor::Settings::default(),
            lookup: lookup::Settings::default(),
        };
        let bus = Arc::new(FileBus::new(folder.path().join("logs")).unwrap());
        let registry = Arc::new(OciLayout::new(folder.path().join("images")).unwrap());
        let ports = Ports { store: store.clone(), uploads: None, bus, queue: Arc::new(MemoryQueue::new()), registry };
        let plane = ControlPlane::start(listening, config, ports).await.unwrap();
        let listen = |port| edge::listen(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let (http, https) = (listen(http), listen(https));
        let port = https.addr.port();
        let sockets = Sockets { http: vec![http], https: vec![https] };
        let config = edge::Config::new(plane.api_url().clone(), feed_token, folder.path().join("edge"));
        let edge = Edge::start(sockets, config, store).unwrap();
        within(PATIENCE, edge.connected()).await;
        Node { plane, edge, https: port, client: reqwest::Client::new(), _folder: folder, _installation: self.clone() }
    }
}

impl Node {
    pub async fn want(&self, host: &str, methods: &[Method]) {
        self.plane.issuing().want(host, methods.to_vec()).await.unwrap();
    }

    /// A certificate as the API shows it.
    pub async fn certificate(&self, name: &str) -> HostCertificate {
        let url = self.plane.api_url().join(&format!("/api/v1/certificates/{name}")).unwrap();
        self.client.get(url).bearer_auth("ast_test").send().await.unwrap().json().await.unwrap()
    }

    /// The certificate with which a host is served to a visitor who trusts `roots` alone, DER; waits until it is.
    pub async fn served(&self, host: &str, https: u16, roots: &[String]) -> Vec<u8> {
        let begun = tokio::time::Instant::now();
        loop {
            if let Some(served) = seen(host, https, roots).await {
                return served;
            }
            if begun.elapsed() > PATIENCE {
                panic!("{host} is served with no trusted certificate: {:?}", self.certificate(host).await);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn end(self) {
        self.edge.drain(Duration::from_secs(1)).await;
        self.plane.drain(Duration::from_secs(1)).await;
    }
}

/// No DNS server.
fn dns() -> DnsConfig {
    DnsConfig {
        listen: Vec::new(),
        nameservers: vec!["ns1.sites.test".parse().unwrap()],
        mailbox: "hostmaster.sites.test".parse().unwrap(),
        refresh: 3600,
        retry: 600,
        expire: 1_209_600,
        negative_ttl: 60,
        ttl: 300,
        rate: 0,
        burst: 0,
        transfer: Vec::new(),
        keys: Vec::new(),
        addresses: Vec::new(),
        challenges: None,
        azure: None,
        secondaries: Vec::new(),
    }
}

/// The certificate that a visitor is shown who trusts `roots` alone and was not here before, DER; none when it is not
/// trusted.
pub async fn seen(host: &str, https: u16, roots: &[String]) -> Option<Vec<u8>> {
    let roots = roots.iter().map(|root| reqwest::Certificate::from_pem(root.as_bytes()).unwrap());
    let visitor = reqwest::Client::builder()
        .tls_certs_only(roots)
        .tls_info(true)
        .resolve(host, SocketAddr::from(([127, 0, 0, 1], https)))
        .build()
        .unwrap();
    let answer = visitor.get(format!("https://{host}:{https}/")).send().await.ok()?;
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    Some(info.peer_certificate().unwrap().to_vec())
}

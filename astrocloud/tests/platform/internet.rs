//! A small Internet with the platform in it: a root, `example.`, a customer's zone below it, and an authority.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use dns::answer::Answers;
use peers::{Net, World, head, zone};
use serde_json::Value;

use crate::node::pebble::{Options, Pebble};
use crate::support::{Platform, folder};

/// The platform's own domain.
pub const BASE: &str = "apps.example";
/// The customer's.
pub const ZONE: &str = "customer.example.";

pub struct Internet {
    pub pebble: Pebble,
    /// Where a CDN may listen.
    pub cdn: IpAddr,
    world: World,
    answers: Arc<Answers>,
    customers_server: IpAddr,
    platforms_server: SocketAddr,
    records: Mutex<String>,
    api_root: tempfile::NamedTempFile,
}

impl Internet {
    /// The platform's domain leads to its edges.
    pub async fn start() -> Self {
        let internet = Self::with(|_| Options::default()).await;
        let text = format!("{}ns IN A {}\n* IN A 127.0.0.1\n", head("ns"), internet.customers_server);
        internet.answers.publish(Arc::new(zone(&format!("{BASE}."), &text, None).unwrap()));
        internet
    }

    /// The platform's domain is delegated to the platform, and the authority asks nobody else.
    pub async fn with_zone_at_the_platform() -> Self {
        Self::with(|dns| Options { dns: Some(dns), ..Options::default() }).await
    }

    async fn with(options: impl FnOnce(SocketAddr) -> Options) -> Self {
        let mut net = Net::new().unwrap();
        let (customers, platforms, cdn) = (net.address(), net.address(), net.address());
        let platforms_server = net.socket(platforms);
        let options = options(platforms_server);
        // Who answers for the platform's domain: the platform, or else whoever answers for the customer's.
        let base = if options.dns.is_some() { platforms } else { customers };
        let lines = format!(
            "customer IN NS ns.customer\nns.customer IN A {customers}\napps IN NS ns.apps\nns.apps IN A {base}\n"
        );
        let mut world = World::plain(net, &lines).await.unwrap();
        let answers = world.net.own(customers, ZONE, &customers_zone(customers, ""), None).await.unwrap();
        let pebble = Pebble::start(options).await;
        let api_root = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(api_root.path(), pebble.authority("").api_roots.unwrap()).unwrap();
        let records = Mutex::default();
        Self { pebble, cdn, world, answers, customers_server: customers, platforms_server, records, api_root }
    }

    /// Adds lines to the customer's zone.
    pub fn set(&self, lines: &str) {
        let mut records = self.records.lock().unwrap();
        records.push_str(lines);
        self.publish(&records);
    }

    /// Empties it.
    pub fn clear(&self) {
        let mut records = self.records.lock().unwrap();
        records.clear();
        self.publish(&records);
    }

    fn publish(&self, records: &str) {
        let changed = zone(ZONE, &customers_zone(self.customers_server, records), None).unwrap();
        self.answers.publish(Arc::new(changed));
    }

    /// A platform whose certificates come from the authority; `more` is added to its settings.
    pub async fn platform(&self, more: &str) -> Platform {
        self.platform_of(&self.pebble.directory(), self.api_root.path().to_str().unwrap(), more).await
    }

    /// A platform that asks an authority at another address.
    pub async fn platform_of(&self, directory: &str, root_file: &str, more: &str) -> Platform {
        let Pebble { http, tls, .. } = self.pebble;
        let text = format!(
            r#"
base_domain = "{BASE}"
[listen]
http = "127.0.0.1:{http}"
https = "127.0.0.1:{tls}"
api = "127.0.0.1:0"
[lookup]
roots = ["{}"]
servers = {:?}
trust_anchors = []
[domains]
addresses = ["127.0.0.1"]
[doctor]
resolvers = []
rdap = "http://127.0.0.1:1/"
inner = ["127.0.0.0/8"]
[dns]
listen = ["{}"]
nameservers = ["ns.nic.example"]
[acme]
authorities = [{{ id = "pebble", directory = "{directory}", root_file = "{root_file}" }}]
{more}
"#,
            self.world.root(),
            self.world.net.servers(),
            self.platforms_server,
        );
        Platform::start_with_file(&text).await
    }

    /// What a visitor gets over HTTPS who trusts the authority alone; none when the certificate is not trusted.
    pub async fn visit(&self, host: &str, root: &str) -> Option<String> {
        self.visit_by(&self.visitor(host, root), host).await
    }

    /// A visitor of a host who trusts the authority alone.
    pub fn visitor(&self, host: &str, root: &str) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(root.as_bytes()).unwrap()])
            .resolve(host, SocketAddr::from(([127, 0, 0, 1], self.pebble.tls)))
            .build()
            .unwrap()
    }

    /// What that visitor gets.
    pub async fn visit_by(&self, visitor: &reqwest::Client, host: &str) -> Option<String> {
        let answer = visitor.get(format!("https://{host}:{}/", self.pebble.tls)).send().await.ok()?;
        answer.text().await.ok()
    }
}

fn customers_zone(server: IpAddr, records: &str) -> String {
    format!("{}ns IN A {server}\n{records}", head("ns"))
}

/// Deploys a page that says who it is.
pub async fn deploy(platform: &Platform, project: &str) {
    let source = folder(&[("index.html", &format!("<h1>{project}</h1>"))]);
    platform.deploy_live(source.path(), project, &[]).await;
}

/// A domain as the command line shows it.
pub async fn shown(platform: &Platform, name: &str) -> Value {
    platform.cli(&["domains", "show", name, "--json"]).await.ok().json()
}

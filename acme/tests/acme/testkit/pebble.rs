//! Pebble, started on free ports in a folder of its own, and stopped with the test.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::testkit::ports::free;
use acme::authority::Authority;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::PATIENCE;

/// How Pebble is set.
#[derive(Default)]
pub struct Options {
    /// External account: its id and key, base64url.
    pub external: Option<(&'static str, &'static str)>,
    /// Names that it refuses.
    pub blocked: Vec<&'static str>,
    /// Number of chains besides the default one.
    pub alternates: u32,
    /// Part of good nonces that it refuses, in percent; 20 unless set.
    pub bad_nonces: Option<u32>,
    /// Waits before it validates, up to some seconds, as real authorities do.
    pub sleepy: bool,
    /// The server that it asks for names; one of its own, where every name is this machine's, unless set.
    pub dns: Option<SocketAddr>,
}

/// A running Pebble with its DNS server.
pub struct Pebble {
    children: Vec<Child>,
    folder: TempDir,
    /// Where it looks for HTTP-01.
    pub http: u16,
    /// Where it looks for TLS-ALPN-01.
    pub tls: u16,
    /// Where its DNS server takes records, over HTTP.
    pub records: u16,
    api: u16,
    management: u16,
    root: String,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Pebble {
    pub async fn start(options: Options) -> Self {
        let [http, tls, records, dns, api, management] = free();
        Self::start_on(options, [http, tls, records, dns, api, management]).await
    }

    /// Another one that looks at the same edges and records.
    pub async fn beside(other: &Self, options: Options) -> Self {
        let [dns, api, management] = free();
        let mut pebble = Self::start_on(options, [other.http, other.tls, 0, dns, api, management]).await;
        pebble.records = other.records;
        pebble
    }

    async fn start_on(options: Options, [http, tls, records, dns, api, management]: [u16; 6]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, certificate, key) = api_certificate();
        std::fs::write(folder.path().join("api.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("api.key"), key).unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{api}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("api.pem"),
            "privateKey": path("api.key"),
            "httpPort": http,
            "tlsPort": tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.external.is_some(),
            "domainBlocklist": options.blocked,
        });
        if let Some((id, key)) = options.external {
            config["externalAccountMACKeys"] = json!({ id: key });
        }
        std::fs::write(path("pebble.json"), json!({ "pebble": config }).to_string()).unwrap();

        let mut children = Vec::new();
        let log = |name: &str| Stdio::from(std::fs::File::create(folder.path().join(name)).unwrap());
        // Each has a DNS server; one with port 0 for its records is not written to.
        let [records_here] = if records == 0 { free() } else { [records] };
        let dns_server = Command::new("pebble-challtestsrv")
            .args(["-management", &format!("127.0.0.1:{records_here}"), "-dns01", &format!("127.0.0.1:{dns}")])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .stdout(log("dns.log"))
            .stderr(log("dns.err"))
            .spawn()
            .expect("pebble-challtestsrv is installed: deploy/local/test-tools.sh");
        children.push(dns_server);
        let dns = options.dns.unwrap_or_else(|| ([127, 0, 0, 1], dns).into());
        let server = Command::new("pebble")
            .args(["-strict", "-config", &path("pebble.json"), "-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", if options.sleepy { "0" } else { "1" })
            .env("PEBBLE_VA_SLEEPTIME", "2")
            .env("PEBBLE_WFE_NONCEREJECT", options.bad_nonces.unwrap_or(20).to_string())
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_ALTERNATE_ROOTS", options.alternates.to_string())
            .stdout(log("pebble.log"))
            .stderr(log("pebble.err"))
            .spawn()
            .expect("pebble is installed: deploy/local/test-tools.sh");
        children.push(server);
        let pebble = Self { children, folder, http, tls, records, api, management, root };
        pebble.answers().await;
        pebble
    }

    fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(self.root.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    }

    async fn answers(&self) {
        let client = self.client();
        let up = async {
            while client.get(self.directory()).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("Pebble answers");
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.api)
    }

    /// It as an authority.
    pub fn authority(&self, id: &str) -> Authority {
        Authority { api_roots: Some(self.root.clone()), ..Authority::new(id, self.directory()) }
    }

    /// A root of what it issues, by its number.
    pub async fn root(&self, number: u32) -> String {
        let url = format!("https://127.0.0.1:{}/roots/{number}", self.management);
        self.client().get(url).send().await.unwrap().text().await.unwrap()
    }

    /// How often a line of its log has this in it.
    pub fn logged(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("pebble.log")).unwrap();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// What it says of a certificate: `Valid` or `Revoked`.
    pub async fn status_of(&self, serial: &str) -> String {
        let url = format!("https://127.0.0.1:{}/cert-status-by-serial/{serial}", self.management);
        let status: serde_json::Value = self.client().get(url).send().await.unwrap().json().await.unwrap();
        status["Status"].as_str().unwrap().to_owned()
    }

    /// Stops it, as when an authority is away.
    pub fn stop(&mut self) {
        let mut server = self.children.pop().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

/// A root to trust, a certificate for an authority's API, and its key, PEM.
pub fn api_certificate() -> (String, String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (root, params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
}

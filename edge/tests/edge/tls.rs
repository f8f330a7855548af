//! Visitors with TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use common::certificate::{Certificate, CertificateRef, Challenge, TicketKey};
use common::route::Change;
use common::secret::Secret;
use common::time::Timestamp;
use edge::Edge;
use futures::StreamExt as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use crate::testkit::{ControlPlane, World, file, soon, start_edge};

/// An authority that the tests' visitors trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Not that of the certificates below: who issues for its own name vouches for itself alone.
        params.distinguished_name.push(DnType::CommonName, "Authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn issue(&self, id: &str, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        Certificate {
            id: id.to_owned(),
            chain_pem: own.pem(),
            key_pem: Secret::new(key.serialize_pem()),
            not_after: Timestamp::now().after(Duration::from_secs(86_400)),
            ocsp: None,
        }
    }

    pub fn client(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        // As browsers do.
        let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
        let provider = CryptoProvider { kx_groups, ..default_provider() };
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

pub type Visitor = TlsStream<TcpStream>;

pub async fn visit(edge: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Visitor> {
    let socket = TcpStream::connect(edge).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    soon(tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, socket)).await
}

/// Asks over HTTP/1.1 and returns all that comes until the connection is closed.
pub async fn ask(visitor: &mut Visitor, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    visitor.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    soon(visitor.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks for the start page of each host over HTTP/2, on one connection.
async fn ask_h2(visitor: Visitor, hosts: &[&str]) -> Vec<(u16, String)> {
    let (mut sender, connection) = h2::client::handshake(visitor).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    for host in hosts {
        sender = soon(sender.ready()).await.unwrap();
        let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        let (head, mut body) = soon(answer).await.unwrap().into_parts();
        let mut text = Vec::new();
        while let Some(piece) = soon(body.data()).await {
            text.extend_from_slice(&piece.unwrap());
        }
        answers.push((head.status.as_u16(), String::from_utf8(text).unwrap()));
    }
    answers
}

/// Gives names a certificate, and waits until an edge knows.
pub async fn certify(control_plane: &ControlPlane, certificate: Certificate, names: &[&str]) {
    let named = |name: &&str| CertificateRef { name: (*name).to_owned(), id: certificate.id.clone() };
    let certificates = names.iter().map(named).collect();
    control_plane.add_certificate(certificate);
    change(control_plane, Change { certificates, ..Change::default() }).await;
}

async fn change(control_plane: &ControlPlane, change: Change) {
    let version = control_plane.change_all(change);
    soon(control_plane.applied(version)).await;
}

fn https(edge: &Edge) -> SocketAddr {
    edge.https_addr().unwrap()
}

/// The certificate that a visitor was shown.
fn shown(visitor: &Visitor) -> Vec<u8> {
    visitor.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

fn der(certificate: &Certificate) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes()).unwrap().to_vec()
}

fn is_resumed(visitor: &Visitor) -> bool {
    visitor.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[tokio::test]
async fn a_site_is_served_over_http_1_and_2_and_either_version_of_tls() {
    let world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("blog", &["blog.localhost"]), &["blog.localhost"]).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    for version in [&TLS12, &TLS13] {
        let config = authority.client(&[version], &["http/1.1"]);
        let mut visitor = visit(https(&world.edge), &config, "blog.localhost").await.unwrap();
        let answer = ask(&mut visitor, "blog.localhost", "/").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\npage"), "{answer}");
    }
    let visitor = visit(https(&world.edge), &authority.client(&[&TLS13], &["h2"]), "blog.localhost").await.unwrap();
    let group = visitor.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    let answers = ask_h2(visitor, &["blog.localhost", "blog.localhost"]).await;
    assert_eq!(answers, [(200, "page".to_owned()), (200, "page".to_owned())]);
}

#[tokio::test]
async fn a_name_gets_its_own_certificate_then_its_wildcards_and_without_one_an_alert() {
    let world = World::start().await;
    let authority = Authority::new();
    let (own, wild) = (authority.issue("own", &["a.b.localhost"]), authority.issue("wild", &["*.b.localhost"]));
    certify(&world.control_plane, own.clone(), &["a.b.localhost"]).await;
    certify(&world.control_plane, wild.clone(), &["*.b.localhost"]).await;
    let config = authority.client(&[&TLS13, &TLS12], &["h2", "http/1.1"]);
    for (name, expected) in [("a.b.localhost", &own), ("A.B.LocalHost", &own), ("c.b.localhost", &wild)] {
        let visitor = visit(https(&world.edge), &config, name).await.unwrap();
        assert!(shown(&visitor) == der(expected), "{name}");
    }
    for name in ["b.localhost", "x.y.b.localhost", "other.example"] {
        let error = visit(https(&world.edge), &config, name).await.unwrap_err().to_string();
        assert!(error.contains("UnrecognisedName"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_visitor_and_open_connections_go_on() {
    let world = World::start().await;
    let authority = Authority::new();
    let (first, second) = (authority.issue("c1", &["blog.localhost"]), authority.issue("c2", &["blog.localhost"]));
    certify(&world.control_plane, first.clone(), &["blog.localhost"]).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    let mut early = visit(https(&world.edge), &config, "blog.localhost").await.unwrap();
    assert!(shown(&early) == der(&first));

    certify(&world.control_plane, second.clone(), &["blog.localhost"]).await;
    // Without tickets of the first.
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    soon(async {
        loop {
            let visitor = visit(https(&world.edge), &config, "blog.localhost").await.unwrap();
            if shown(&visitor) == der(&second) {
                break;
            }
        }
    })
    .await;
    assert!(ask(&mut early, "blog.localhost", "/").await.ends_with("page"));

    let broken = Certificate { key_pem: first.key_pem.clone(), ..authority.issue("c3", &["blog.localhost"]) };
    certify(&world.control_plane, broken, &["blog.localhost"]).await;
    for _ in 0..5 {
        let config = authority.client(&[&TLS13], &["http/1.1"]);
        let visitor = visit(https(&world.edge), &config, "blog.localhost").await.unwrap();
        assert!(shown(&visitor) == der(&second), "a broken one does not take its place");
    }
}

#[tokio::test]
async fn without_the_control_plane_certificates_are_shown_and_sessions_resumed_also_after_a_restart() {
    let world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("blog", &["blog.localhost"]), &["blog.localhost"]).await;
    certify(&world.control_plane, authority.issue("cold", &["cold.localhost"]), &["cold.localhost"]).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let configs = [&TLS12, &TLS13].map(|version| authority.client(&[version], &["http/1.1"]));
    for config in &configs {
        let mut visitor = visit(https(&world.edge), config, "blog.localhost").await.unwrap();
        assert!(!is_resumed(&visitor));
        ask(&mut visitor, "blog.localhost", "/").await;
    }
    world.control_plane.stop();
    soon(world.edge.drain(Duration::from_secs(10))).await;

    let again = start_edge(world.config(), &world.store);
    for config in &configs {
        let mut visitor = visit(https(&again), config, "blog.localhost").await.unwrap();
        assert!(is_resumed(&visitor));
        assert!(ask(&mut visitor, "blog.localhost", "/").await.ends_with("page"));
    }
    let error = visit(https(&again), &configs[1], "cold.localhost").await.unwrap_err().to_string();
    assert!(error.contains("InternalError"), "{error}");
}

#[tokio::test]
async fn edges_that_are_told_the_same_keys_resume_each_others_sessions() {
    let world = World::start().await;
    let mut config = world.config();
    config.folder = world.folder.path().join("other");
    config.key_file = config.folder.join("edge.key");
    let other = start_edge(config, &world.store);
    other.connected().await;
    let authority = Authority::new();
    let keys = (0..2_u8).map(|n| TicketKey {
        name: format!("{n:032x}"),
        key: Secret::new(base64::engine::general_purpose::STANDARD.encode([n; 64])),
        since: Timestamp::now().before(Duration::from_secs(60)),
    });
    let ticket_keys = Some(keys.collect());
    change(&world.control_plane, Change { ticket_keys, ..Change::default() }).await;
    certify(&world.control_plane, authority.issue("blog", &["*.b.localhost"]), &["*.b.localhost"]).await;
    for version in [&TLS12, &TLS13] {
        // Keys come into use a moment after they are applied.
        soon(async {
            loop {
                let config = authority.client(&[version], &["http/1.1"]);
                let mut here = visit(https(&world.edge), &config, "a.b.localhost").await.unwrap();
                ask(&mut here, "a.b.localhost", "/").await;
                if visit(https(&other), &config, "a.b.localhost").await.is_ok_and(|there| is_resumed(&there)) {
                    break;
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_for_a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("wild", &["*.b.localhost"]), &["*.b.localhost"]).await;
    certify(&world.control_plane, authority.issue("own", &["own.b.localhost"]), &["own.b.localhost"]).await;
    certify(&world.control_plane, authority.issue("c", &["c.localhost"]), &["c.localhost"]).await;
    for host in ["a.b", "own.b", "c"] {
        world.site(host, vec![file("/index.html", "page")], false).await;
    }
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    for (name, host, status) in [
        ("a.b.localhost", "a.b.localhost", "200"),
        ("a.b.localhost", "A.B.localhost:443", "200"),
        ("z.b.localhost", "a.b.localhost", "200"),
        ("a.b.localhost", "own.b.localhost", "200"),
        ("own.b.localhost", "a.b.localhost", "421"),
        ("a.b.localhost", "c.localhost", "421"),
        ("c.localhost", "unknown.localhost", "421"),
    ] {
        for _ in 0..2 {
            let mut visitor = visit(https(&world.edge), &config, name).await.unwrap();
            let answer = ask(&mut visitor, host, "/").await;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{name} {host}: {answer}");
        }
    }
    // Over HTTP/2 the connection is good for other hosts afterwards.
    let visitor = visit(https(&world.edge), &authority.client(&[&TLS13], &["h2"]), "c.localhost").await.unwrap();
    let answers = ask_h2(visitor, &["own.b.localhost", "c.localhost"]).await;
    assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [421, 200]);
}

#[tokio::test]
async fn slow_and_silent_visitors_do_not_hold_up_a_thousand_handshakes() {
    let world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("blog", &["*.b.localhost"]), &["*.b.localhost"]).await;
    let mut slow = Vec::new();
    for i in 0..200 {
        let mut socket = TcpStream::connect(https(&world.edge)).await.unwrap();
        // Some say nothing, some stop within their first message.
        socket.write_all(&[22, 3, 1, 2, 0, 1][..i % 7]).await.unwrap();
        slow.push(socket);
    }
    let handshakes = futures::stream::iter(0..1000).map(|i| {
        let (config, edge) = (authority.client(&[&TLS13], &["h2"]), https(&world.edge));
        async move { visit(edge, &config, &format!("host-{i}.b.localhost")).await.unwrap() }
    });
    assert_eq!(handshakes.buffer_unordered(50).count().await, 1000);
}

#[tokio::test]
async fn a_visitor_who_does_not_end_the_handshake_is_closed() {
    let world = World::start_with(|config| config.timeouts.handshake = Duration::from_millis(100)).await;
    let mut silent = TcpStream::connect(https(&world.edge)).await.unwrap();
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap_or(0), 0);
    let mut plain = TcpStream::connect(https(&world.edge)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_proof_of_control_is_shown_as_soon_as_it_is_told() {
    let world = World::start().await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["new.example".to_owned()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let proof = Challenge::TlsAlpn01 {
        host: "new.example".to_owned(),
        certificate_pem: params.self_signed(&key).unwrap().pem(),
        key_pem: Secret::new(key.serialize_pem()),
    };
    let config = Authority::new().client(&[&TLS13], &["acme-tls/1"]);
    let why = async |name: &str| visit(https(&world.edge), &config, name).await.unwrap_err().to_string();
    assert!(why("new.example").await.contains("UnrecognisedName"));
    change(&world.control_plane, Change { challenges: Some(vec![proof]), ..Change::default() }).await;
    // It is shown, and a visitor does not trust it: its extension is critical.
    let error = why("new.example").await;
    assert!(error.contains("certificate"), "{error}");
    change(&world.control_plane, Change { challenges: Some(Vec::new()), ..Change::default() }).await;
    assert!(why("new.example").await.contains("UnrecognisedName"));
}

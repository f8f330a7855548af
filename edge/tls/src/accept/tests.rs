#![allow(clippy::unwrap_used)]
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::secret::Secret;
use common::time::Timestamp;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, NamedGroup, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::testkit::{Authority, DAY, Memory, certificates, ocsp_response, settings};

const DEADLINE: Duration = Duration::from_secs(10);

fn acceptor(folder: &Path, source: &Arc<Memory>) -> Acceptor {
    Acceptor::new(settings(folder), Arc::new(certificates(folder, source)), DEADLINE)
}

fn client(authority: &Authority, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    // As browsers do.
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    let mut config = ClientConfig::builder_with_provider(CryptoProvider { kx_groups, ..default_provider() }.into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

fn is_a(host: &str) -> Option<Found> {
    host.ends_with(".example").then(|| Found { id: "a1".into(), renews: None })
}

/// Both ends of a handshake.
async fn meet(
    acceptor: &Acceptor,
    config: &Arc<ClientConfig>,
    name: &str,
    challenges: &[Challenge],
) -> (Result<Accepted<DuplexStream>, AcceptError>, io::Result<client::TlsStream<DuplexStream>>) {
    let (here, there) = duplex(64 << 10);
    let connector = TlsConnector::from(Arc::clone(config));
    let connect = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), there);
    tokio::join!(acceptor.accept(here, is_a, || challenges.into()), connect)
}

#[tokio::test]
async fn the_newest_version_the_hybrid_group_and_http_2_are_preferred() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let acceptor = acceptor(folder.path(), &Memory::new(vec![authority.issue("a1", &["*.sites.example"])]));
    for (versions, alpn, version, is_h2) in [
        (&[&TLS13, &TLS12][..], &["http/1.1", "h2"][..], ProtocolVersion::TLSv1_3, true),
        (&[&TLS13], &["http/1.1"], ProtocolVersion::TLSv1_3, false),
        (&[&TLS12], &["h2"], ProtocolVersion::TLSv1_2, true),
        (&[&TLS12], &[], ProtocolVersion::TLSv1_2, false),
    ] {
        let config = Arc::new(client(&authority, versions, alpn));
        let (accepted, connected) = meet(&acceptor, &config, "A.Sites.Example", &[]).await;
        let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
        let connection = connected.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(version));
        assert_eq!((accepted.is_h2, &*accepted.server_name), (is_h2, "a.sites.example"));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        let expected =
            if version == ProtocolVersion::TLSv1_3 { NamedGroup::X25519MLKEM768 } else { NamedGroup::X25519 };
        assert_eq!(group, expected);
    }
}

#[tokio::test]
async fn ecdsa_and_rsa_certificates_are_shown_with_their_stapled_response() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    for (id, algorithm) in [("a1", &rcgen::PKCS_ECDSA_P384_SHA384), ("a1", &rcgen::PKCS_RSA_SHA256)] {
        let mut certificate = authority.issue_for(id, &["a.example"], &KeyPair::generate_for(algorithm).unwrap());
        let response = ocsp_response(Some(Timestamp::now().after(DAY)));
        certificate.ocsp = Some(response.clone());
        let own = folder.path().join(format!("{algorithm:?}"));
        std::fs::create_dir(&own).unwrap();
        let acceptor = acceptor(&own, &Memory::new(vec![certificate]));
        for version in [&TLS12, &TLS13] {
            let mut config = client(&authority, &[version], &[]);
            let (accepted, connected) = meet(&acceptor, &Arc::new(config.clone()), "a.example", &[]).await;
            assert!(accepted.is_ok() && connected.is_ok(), "{algorithm:?} {version:?}");
            let seen = Arc::new(Recorder::default());
            config.dangerous().set_certificate_verifier(Arc::<Recorder>::clone(&seen));
            meet(&acceptor, &Arc::new(config), "a.example", &[]).await.1.unwrap();
            let (_, staple) = seen.0.lock().unwrap().take().unwrap();
            assert_eq!(STANDARD.encode(staple), response);
        }
    }
}

#[tokio::test]
async fn names_without_a_certificate_are_refused_by_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let source = Memory::new(vec![]);
    let acceptor = acceptor(folder.path(), &source);
    let config = Arc::new(client(&authority, &[&TLS13, &TLS12], &["acme-tls/1", "h2"]));
    let (accepted, connected) = meet(&acceptor, &config, "a.other", &[]).await;
    assert!(matches!(accepted, Err(AcceptError::UnknownName(Some(name))) if &*name == "a.other"));
    let alert = connected.unwrap_err().to_string();
    assert!(alert.contains("UnrecognisedName"), "{alert}");

    let mut nameless = client(&authority, &[&TLS13], &[]);
    nameless.enable_sni = false;
    let (accepted, connected) = meet(&acceptor, &Arc::new(nameless), "a.example", &[]).await;
    assert!(matches!(accepted, Err(AcceptError::UnknownName(None))));
    assert!(connected.unwrap_err().to_string().contains("UnrecognisedName"));
    assert_eq!(source.fetches(), 0);

    let (accepted, connected) = meet(&acceptor, &config, "a.example", &[]).await;
    assert!(matches!(accepted, Err(AcceptError::Unavailable { .. })));
    let alert = connected.unwrap_err().to_string();
    assert!(alert.contains("InternalError"), "{alert}");
}

#[tokio::test]
async fn the_alert_has_seven_bytes_and_then_the_stream_ends() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = acceptor(folder.path(), &Memory::new(vec![]));
    let mut hello = Vec::new();
    let name = ServerName::try_from("a.other").unwrap();
    let config = Arc::new(client(&Authority::new(), &[&TLS13], &[]));
    rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    let (here, mut there) = duplex(64 << 10);
    there.write_all(&hello).await.unwrap();
    assert!(acceptor.accept(here, is_a, Arc::default).await.is_err());
    let mut answer = Vec::new();
    there.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 112]);
}

#[tokio::test]
async fn sessions_are_resumed_after_a_restart_and_on_another_edge_with_the_same_keys() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new();
    let source = Memory::new(vec![authority.issue("a1", &["*.sites.example"])]);
    let first = acceptor(one.path(), &source);
    std::fs::copy(one.path().join("key"), two.path().join("key")).unwrap();
    std::fs::copy(one.path().join("ticket-keys"), two.path().join("ticket-keys")).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client(&authority, &[version], &["h2"]));
        let mut kinds = Vec::new();
        for edge in [&first, &first, &acceptor(one.path(), &source), &acceptor(two.path(), &source)] {
            let (accepted, connected) = meet(edge, &config, "a.sites.example", &[]).await;
            let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
            // The tickets of TLS 1.3 come with the first bytes.
            accepted.stream.write_all(b"x").await.unwrap();
            accepted.stream.flush().await.unwrap();
            connected.read_u8().await.unwrap();
            assert!(accepted.is_h2);
            kinds.push(accepted.resumed);
        }
        assert_eq!(kinds, [false, true, true, true], "{version:?}");
        let (accepted, _) = meet(&first, &config, "b.sites.example", &[]).await;
        assert!(!accepted.unwrap().resumed, "not for another host");
    }
}

#[tokio::test]
async fn a_certificate_authority_sees_the_proof_and_visitors_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let acceptor = acceptor(folder.path(), &Memory::new(vec![authority.issue("a1", &["*.sites.example"])]));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["new.other".to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let proof = Challenge::TlsAlpn01 {
        host: "new.other".to_owned(),
        certificate_pem: params.self_signed(&key).unwrap().pem(),
        key_pem: Secret::new(key.serialize_pem()),
    };

    let mut config = client(&authority, &[&TLS13, &TLS12], &["acme-tls/1"]);
    let seen = Arc::new(Recorder::default());
    config.dangerous().set_certificate_verifier(Arc::<Recorder>::clone(&seen));
    let (accepted, connected) =
        meet(&acceptor, &Arc::new(config.clone()), "new.other", std::slice::from_ref(&proof)).await;
    let error = accepted.unwrap_err();
    assert!(matches!(error, AcceptError::Proved(_)), "{error}");
    assert_eq!(connected.unwrap().get_ref().1.alpn_protocol(), Some(challenge::ALPN));
    let (shown, _) = seen.0.lock().unwrap().take().unwrap();
    assert!(shown.windows(9).any(|w| w == [6, 8, 43, 6, 1, 5, 5, 7, 1]), "it has the extension of the proof");

    let (_, connected) = meet(&acceptor, &Arc::new(config), "a.example", std::slice::from_ref(&proof)).await;
    assert!(connected.unwrap_err().to_string().contains("NoApplicationProtocol"));
    let visitor = Arc::new(client(&authority, &[&TLS13], &["h2"]));
    let (accepted, _) = meet(&acceptor, &visitor, "new.other", &[proof]).await;
    assert!(matches!(accepted, Err(AcceptError::UnknownName(_))));
}

#[tokio::test(start_paused = true)]
async fn a_visitor_who_is_too_slow_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = acceptor(folder.path(), &Memory::new(vec![]));
    let (here, _there) = duplex(1024);
    let started = tokio::time::Instant::now();
    let error = acceptor.accept(here, is_a, Arc::default).await.unwrap_err();
    assert!(matches!(error, AcceptError::TooSlow) && started.elapsed() >= DEADLINE);
}

#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = acceptor(folder.path(), &Memory::new(vec![]));
    let (here, mut there) = duplex(1024);
    there.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    assert!(matches!(acceptor.accept(here, is_a, Arc::default).await, Err(AcceptError::Io(_))));
}

/// Trusts everything, and remembers the certificate and the stapled response.
#[derive(Debug, Default)]
struct Recorder(std::sync::Mutex<Option<(Vec<u8>, Vec<u8>)>>);

impl rustls::client::danger::ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = Some((end_entity.to_vec(), ocsp.to_vec()));
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

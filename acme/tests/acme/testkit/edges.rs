//! Edges and name servers that show what they are told: over HTTP and TLS by themselves, as TXT with Pebble's DNS.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use acme::challenge::{Answer, ChallengeError, Challenges};
use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use common::certificate::Challenge;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

use super::Pebble;

/// What is shown now.
#[derive(Debug, Default)]
struct Shown {
    /// Bodies by token.
    bodies: Mutex<HashMap<String, String>>,
    /// Certificates by host.
    certificates: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    /// TXT records.
    records: Mutex<HashSet<(String, String)>>,
}

pub struct Edges {
    shown: Arc<Shown>,
    records: u16,
    client: reqwest::Client,
    /// How often something was published.
    pub published: Mutex<u32>,
    /// Whether nothing is shown really: a domain that does not point here.
    pub deaf: std::sync::atomic::AtomicBool,
}

impl Edges {
    /// Edges at which this Pebble looks.
    pub async fn of(pebble: &Pebble) -> Arc<Self> {
        let shown = Arc::new(Shown::default());
        let http = TcpListener::bind(("127.0.0.1", pebble.http)).await.unwrap();
        let body = |State(shown): State<Arc<Shown>>, Path(token): Path<String>| async move {
            shown.bodies.lock().unwrap().get(&token).cloned().ok_or(StatusCode::NOT_FOUND)
        };
        let app = Router::new().route("/.well-known/acme-challenge/{token}", get(body)).with_state(shown.clone());
        tokio::spawn(async move { axum::serve(http, app).await });

        let tls = TcpListener::bind(("127.0.0.1", pebble.tls)).await.unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((socket, _)) = tls.accept().await {
                tokio::spawn(acceptor.accept(socket));
            }
        });
        Arc::new(Self {
            shown,
            records: pebble.records,
            client: reqwest::Client::new(),
            published: Mutex::new(0),
            deaf: false.into(),
        })
    }

    pub fn port(self: &Arc<Self>) -> Arc<dyn Challenges> {
        self.clone()
    }

    /// How many answers are shown.
    pub fn count(&self) -> usize {
        self.shown.bodies.lock().unwrap().len()
            + self.shown.certificates.lock().unwrap().len()
            + self.shown.records.lock().unwrap().len()
    }

    async fn record(&self, call: &str, body: serde_json::Value) {
        let url = format!("http://127.0.0.1:{}/{call}", self.records);
        let sent = self.client.post(url).body(body.to_string()).send().await.unwrap();
        assert!(sent.status().is_success());
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.lock().unwrap().get(hello.server_name()?).cloned()
    }
}

#[async_trait]
impl Challenges for Edges {
    async fn publish(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        *self.published.lock().unwrap() += 1;
        if self.deaf.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(());
        }
        for answer in answers {
            match answer.for_edges().map_err(|e| ChallengeError(e.to_string()))? {
                Some(Challenge::Http01 { token, key_authorization, .. }) => {
                    self.shown.bodies.lock().unwrap().insert(token, key_authorization);
                }
                Some(Challenge::TlsAlpn01 { host, certificate_pem, key_pem }) => {
                    let chain = vec![CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()];
                    let key = PrivateKeyDer::from_pem_slice(key_pem.reveal().as_bytes()).unwrap();
                    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
                    let certified = Arc::new(CertifiedKey::new(chain, key));
                    self.shown.certificates.lock().unwrap().insert(host, certified);
                }
                None => {
                    let (record, value) = answer.for_name_servers().unwrap();
                    let new = self.shown.records.lock().unwrap().insert((record.to_owned(), value.to_owned()));
                    if new {
                        let body = serde_json::json!({ "host": format!("{record}."), "value": value });
                        self.record("set-txt", body).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn withdraw(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        for answer in answers {
            match answer {
                Answer::Http01 { token, .. } => drop(self.shown.bodies.lock().unwrap().remove(token)),
                Answer::TlsAlpn01 { host, .. } => drop(self.shown.certificates.lock().unwrap().remove(host)),
                Answer::Dns01 { record, value } | Answer::DnsPersist01 { record, value } => {
                    let known = self.shown.records.lock().unwrap().remove(&(record.clone(), value.clone()));
                    if known {
                        self.record("clear-txt", serde_json::json!({ "host": format!("{record}.") })).await;
                    }
                }
            }
        }
        Ok(())
    }
}

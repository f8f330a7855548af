//! What answers at addresses: HTTP, HTTPS with a certificate, and things that are neither.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// A certificate of a test's own, with its SHA-256.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    key: rcgen::KeyPair,
}

impl Identity {
    pub fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        Self { certificate: made.cert.der().clone(), key: made.signing_key }
    }

    pub fn fingerprint(&self) -> String {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, &self.certificate);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Answers each request over HTTP with these lines of a head.
pub async fn http(at: SocketAddr, lines: &'static str) {
    raw(at, move |_| format!("HTTP/1.1 {lines}\r\ncontent-length: 0\r\n\r\n")).await;
}

/// The same over TLS.
pub async fn https(at: SocketAddr, identity: &Identity, lines: String) {
    let (listener, acceptor) = (TcpListener::bind(at).await.unwrap(), identity.acceptor());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, lines) = (acceptor.clone(), lines.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, |_| format!("HTTP/1.1 {lines}\r\ncontent-length: 0\r\n\r\n")).await;
                }
            });
        }
    });
}

/// Answers what comes with what the function makes of the first line.
pub async fn raw(at: SocketAddr, reply: impl Fn(&str) -> String + Clone + Send + Sync + 'static) {
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, reply.clone()));
        }
    });
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: impl Fn(&str) -> String) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..length]);
        // A TLS hello has no line's end that matters: whoever speaks no HTTP answers at once.
        if request.windows(4).any(|end| end == b"\r\n\r\n") || request[0] == 0x16 {
            let text = String::from_utf8_lossy(&request).into_owned();
            let _ = stream.write_all(reply(text.lines().next().unwrap_or_default()).as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
    }
}

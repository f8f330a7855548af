//! A TLS client of our own, for what is held open and what is looked at once.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore};

use crate::fixture::HOST;

/// Sessions that are kept for resumption: those of one server.
const SESSIONS: usize = 8;

/// Whether and how sessions are resumed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    Kept,
    Forgotten,
}

/// A client that trusts the fixture's certificate.
pub fn connector(certificate: &Path, sessions: Sessions) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.resumption = match sessions {
        Sessions::Kept => Resumption::in_memory_sessions(SESSIONS),
        Sessions::Forgotten => Resumption::disabled(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection that has been greeted.
pub async fn connect(address: SocketAddr, connector: &TlsConnector) -> anyhow::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    Ok(connector.connect(ServerName::try_from(HOST)?, socket).await?)
}

/// One request for the small file, and its answer to the end.
pub async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> anyhow::Result<()> {
    stream.write_all(format!("GET /1k.txt HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    while !is_whole(&answer)? {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the server closed the connection");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "the server does not answer 200");
    Ok(())
}

/// Whether an answer with `Content-Length` has come to its end.
fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Ok(answer.len() >= head + 4 + length.context("the answer has no Content-Length")?)
}

/// Makes sure that the server resumes a TLS 1.3 session.
pub async fn ensure_resumes(address: SocketAddr, certificate: &Path) -> anyhow::Result<()> {
    let connector = connector(certificate, Sessions::Kept)?;
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(address, &connector).await?;
        // Tickets come after the handshake, with or before the answer.
        ask(&mut stream).await?;
        let connection = stream.get_ref().1;
        ensure!(connection.protocol_version() == Some(ProtocolVersion::TLSv1_3), "it does not speak TLS 1.3");
        kinds.push(connection.handshake_kind());
    }
    ensure!(kinds.last() == Some(&Some(HandshakeKind::Resumed)), "it does not resume sessions: {kinds:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_ends_where_it_says() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n").unwrap());
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx").unwrap());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nxy").unwrap());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}

//! What answers at ports 80 and 443 of an address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use http_body_util::Empty;
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs as provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::examine::Ports;
use crate::observation::{Certificate, Head, Secure, Unreached, Visit};

/// Bytes of a head at most.
const HEAD_MAX: usize = 32 << 10;
/// Names of a certificate that are kept.
const NAMES_MAX: usize = 20;

/// Visits addresses.
pub(crate) struct Web {
    trusted: Arc<Verifier>,
    provider: Arc<CryptoProvider>,
    timeout: Duration,
    ports: Ports,
}

impl Web {
    /// A visitor that trusts whom browsers of this machine trust, and the given authorities.
    pub(crate) fn new(
        roots: Vec<CertificateDer<'static>>,
        timeout: Duration,
        ports: Ports,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider::default_provider());
        let trusted = Arc::new(Verifier::new_with_extra_roots(roots, Arc::clone(&provider))?);
        Ok(Self { trusted, provider, timeout, ports })
    }

    /// Both ports at once.
    pub(crate) async fn visit(&self, address: IpAddr, host: &str) -> Visit {
        let (plain, secure) = tokio::join!(self.plain(address, host), self.secure(address, host));
        Visit { address, plain, secure }
    }

    async fn plain(&self, address: IpAddr, host: &str) -> Result<Head, Unreached> {
        let stream = self.connect(SocketAddr::new(address, self.ports.http)).await?;
        match timeout(self.timeout, head(stream, host)).await {
            Ok(head) => head.map_err(|error| Unreached::Protocol(error.to_string())),
            Err(_) => Err(Unreached::Timeout),
        }
    }

    async fn secure(&self, address: IpAddr, host: &str) -> Result<Secure, Unreached> {
        let stream = self.connect(SocketAddr::new(address, self.ports.https)).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Unreached::Protocol(error.to_string()))?;
        let witness = Arc::new(Witness { trusted: Arc::clone(&self.trusted), saw: Mutex::new(None) });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Unreached::Protocol(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::<Witness>::clone(&witness))
            .with_no_client_auth();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = match timeout(self.timeout, handshake).await {
            Ok(stream) => stream.map_err(|error| Unreached::Protocol(error.to_string()))?,
            Err(_) => return Err(Unreached::Timeout),
        };
        let certificate = witness.saw.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let head = match timeout(self.timeout, head(stream, host)).await {
            Ok(head) => head.map_err(|error| error.to_string()),
            Err(_) => Err("nothing came in time".to_owned()),
        };
        Ok(Secure { certificate, head })
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, Unreached> {
        match timeout(self.timeout, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(Unreached::Refused),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => Err(Unreached::Timeout),
            Ok(Err(error)) => Err(Unreached::Network(error.to_string())),
            Err(_) => Err(Unreached::Timeout),
        }
    }
}

/// The head of the answer to `GET /`. Its body is not read.
async fn head(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, host: &str) -> hyper::Result<Head> {
    let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/")
        .header(HOST, host)
        .header(USER_AGENT, concat!("AstroCloud/", env!("CARGO_PKG_VERSION"), " (domain check)"))
        .body(Empty::<Bytes>::new());
    // A host that was read before makes a request.
    let Ok(request) = request else { return Ok(Head::default()) };
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer?,
        // It ends by itself only when the connection fails, which the request then tells better.
        Err(error) = connection => return Err(error),
    };
    let field = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Head { status: answer.status().as_u16(), fields: answer.headers().iter().map(field).collect() })
}

/// Lets every certificate pass, to see what comes through it, and says what browsers would say.
#[derive(Debug)]
struct Witness {
    trusted: Arc<Verifier>,
    saw: Mutex<Option<Certificate>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.trusted.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        let mut certificate = read(end_entity);
        certificate.refused = verdict.err().map(|error| error.to_string());
        *self.saw.lock().unwrap_or_else(PoisonError::into_inner) = Some(certificate);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}

fn read(der: &CertificateDer<'_>) -> Certificate {
    let digest = digest::digest(&digest::SHA256, der);
    let fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let Ok((_, certificate)) = parse_x509_certificate(der) else {
        return Certificate { fingerprint, issuer: "an unreadable issuer".to_owned(), ..Certificate::default() };
    };
    let names = match certificate.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        }),
        _ => return Certificate { fingerprint, issuer: certificate.issuer().to_string(), ..Certificate::default() },
    };
    Certificate {
        fingerprint,
        names: names.take(NAMES_MAX).collect(),
        issuer: certificate.issuer().to_string(),
        ends: Timestamp::from_second(certificate.validity().not_after.timestamp()).ok(),
        refused: None,
    }
}

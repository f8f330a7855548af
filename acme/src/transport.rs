//! HTTPS to an authority: bounded in time and size, and with the last answer of a call at hand.
//!
//! `instant-acme` speaks the protocol, but gives only what it understands of an answer. The status of one that is no
//! JSON, `Retry-After`, links to other chains and members of challenges that are newer than it are read here.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{LINK, RETRY_AFTER};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Longest wait for an answer: busy authorities take seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Largest answer, in bytes: a chain has some ten thousand.
const MAX_ANSWER: usize = 512 * 1024;
/// How long an idle connection is kept: an order's next request comes within seconds.
const IDLE: Duration = Duration::from_secs(30);

/// Why an authority can't be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The roots that it is to be trusted by can't be used.
    #[error("the roots for the certificate authority's API can't be used: {0}")]
    Roots(String),
    /// The system's roots can't be used.
    #[error("the system's trusted roots can't be used: {0}")]
    System(#[from] std::io::Error),
}

/// An HTTPS client. Cheap to clone: clones share connections.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

impl Transport {
    /// A client that trusts `roots`, PEM, or the system's.
    pub(crate) fn new(roots: Option<&str>) -> Result<Self, TransportError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = match roots {
            None => HttpsConnectorBuilder::new().with_provider_and_platform_verifier(provider)?,
            Some(pem) => {
                let failed = |e: &dyn std::fmt::Display| TransportError::Roots(e.to_string());
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(root.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
                }
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .map_err(|e| failed(&e))?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                HttpsConnectorBuilder::new().with_tls_config(config)
            }
        };
        let connector = builder.https_only().enable_http1().enable_http2().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { client })
    }
}

impl HttpClient for Transport {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let sent = self.client.request(request);
        Box::pin(async move {
            let answer = async {
                let (parts, body) = sent.await.map_err(|e| Error::Other(Box::new(e)))?.into_parts();
                let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(Error::Other)?.to_bytes();
                Ok::<_, Error>((parts, body))
            };
            let (parts, body) = tokio::time::timeout(ANSWER_LIMIT, answer)
                .await
                .map_err(|_| Error::Other(format!("no answer within {} s", ANSWER_LIMIT.as_secs()).into()))??;
            note(&parts, &body);
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// The last answer of a call.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub status: StatusCode,
    /// How long the authority wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Addresses of other chains for the same certificate.
    pub alternates: Vec<String>,
    pub body: Bytes,
}

tokio::task_local! {
    static SEEN: RefCell<Option<Seen>>;
}

/// A call's result, and the last answer that it got.
pub(crate) async fn seeing<T>(call: impl Future<Output = T>) -> (T, Option<Seen>) {
    let call = async {
        let result = call.await;
        (result, SEEN.with(RefCell::take))
    };
    SEEN.scope(RefCell::new(None), call).await
}

fn note(parts: &http::response::Parts, body: &Bytes) {
    // Calls that nobody looks at are not noted.
    let _ = SEEN.try_with(|seen| {
        seen.replace(Some(Seen {
            status: parts.status,
            retry_after: parts.headers.get(RETRY_AFTER).and_then(|v| retry_after(v.to_str().ok()?)),
            alternates: parts.headers.get_all(LINK).iter().filter_map(|v| alternate(v.to_str().ok()?)).collect(),
            body: body.clone(),
        }));
    });
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// The address of a link with relation `alternate` (RFC 8288 section 3).
fn alternate(value: &str) -> Option<String> {
    let (address, parameters) = value.trim().strip_prefix('<')?.split_once('>')?;
    let is = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("alternate")
    };
    parameters.split(';').any(is).then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_other_chains_are_followed() {
        assert_eq!(alternate("<https://ca/cert/1>;rel=\"alternate\""), Some("https://ca/cert/1".into()));
        assert_eq!(alternate("<https://ca/cert/1>; title=x; REL=alternate"), Some("https://ca/cert/1".into()));
        assert_eq!(alternate("<https://ca/directory>;rel=\"index\""), None);
        assert_eq!(alternate("https://ca/cert/1;rel=alternate"), None);
    }

    #[test]
    fn a_wait_is_read_as_seconds_or_as_a_date_and_one_that_passed_is_none() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let later = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(900));
        assert!(retry_after(&later) > Some(Duration::from_secs(800)));
        assert_eq!(retry_after("soon"), None);
    }
}

//! The control plane's API as the edge reaches it: with the edges' token, over HTTP or HTTPS, and never by way of
//! another host.

use std::path::Path;
use std::time::Duration;

use common::id::EdgeId;
use common::route::{EDGE_HEADER, EDGE_ID_HEADER};
use common::secret::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::config::Config;
use crate::listener::StartError;

/// Longest time to connect, TLS included: the control plane is near, or unreachable.
const CONNECT: Duration = Duration::from_secs(3);

/// Why a WebSocket is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Nobody answers, or not in HTTP, or its certificate is not trusted.
    #[error("{}", root_cause(.0))]
    Http(#[from] reqwest::Error),
    /// Something else answers.
    #[error("the control plane answers {0}")]
    Status(StatusCode),
    /// What answers does not know WebSockets.
    #[error("what answers does not let WebSockets through")]
    NoWebSocket,
}

/// The innermost reason: the outer ones only repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The control plane's API. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ControlPlane {
    client: Client,
    folder: Url,
}

impl ControlPlane {
    pub(crate) fn new(config: &Config) -> Result<Self, StartError> {
        let Config { feed: api, feed_token: token, feed_ca, .. } = config;
        let wrong = || StartError::Feed(api.clone());
        if !matches!(api.scheme(), "http" | "https") || !api.has_host() {
            return Err(wrong());
        }
        let mut folder = api.clone();
        folder.set_query(None);
        folder.set_fragment(None);
        if !folder.path().ends_with('/') {
            folder.set_path(&format!("{}/", api.path()));
        }
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| StartError::Token)?;
        bearer.set_sensitive(true);
        let process = HeaderValue::from_str(Secret::random("edge-").reveal()).map_err(|_| wrong())?;
        let mut client = Client::builder()
            .default_headers(HeaderMap::from_iter([
                (header::AUTHORIZATION, bearer),
                (HeaderName::from_static(EDGE_HEADER), process),
            ]))
            .connect_timeout(CONNECT)
            // WebSockets begin as HTTP/1.1.
            .http1_only()
            // The token is for the control plane alone.
            .redirect(Policy::none())
            .no_proxy();
        if let Some(path) = feed_ca {
            client = client.tls_certs_only(certificates(path)?);
        }
        Ok(Self { client: client.build().map_err(|_| wrong())?, folder })
    }

    /// The address of something below the API. The path is a constant, or ids, which have no character that means
    /// something in a path.
    fn url(&self, path: &str) -> Url {
        let mut url = self.folder.clone();
        url.set_path(&format!("{}{path}", self.folder.path()));
        url
    }

    /// A request for what lies at a path below the API.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    /// Opens the WebSocket at a path below the API (RFC 6455 section 4.1), as the edge that this is.
    pub(crate) async fn open(
        &self,
        path: &str,
        edge: &EdgeId,
        config: WebSocketConfig,
    ) -> Result<WebSocketStream<Upgraded>, OpenError> {
        let key = generate_key();
        let request = self
            .get(path)
            .header(EDGE_ID_HEADER, edge.as_str())
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, &key);
        let answer = request.send().await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(OpenError::Status(answer.status()));
        }
        let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(OpenError::NoWebSocket);
        }
        Ok(WebSocketStream::from_raw_socket(answer.upgrade().await?, Role::Client, Some(config)).await)
    }
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate>, StartError> {
    let failed = |reason: String| StartError::FeedCa { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| failed(root_cause(&e)))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reach(api: &str, token: &str, ca: Option<&Path>) -> Result<ControlPlane, StartError> {
        let mut config = Config::new(api.parse().unwrap(), Secret::new(token), "unused".into());
        config.feed_ca = ca.map(Path::to_owned);
        ControlPlane::new(&config)
    }

    #[test]
    fn what_an_edge_asks_for_lies_below_the_api_over_http_or_https() {
        for (api, url) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081/internal/v1/routes"),
            ("https://cp.local/base?x#y", "https://cp.local/base/internal/v1/routes"),
        ] {
            let plane = reach(api, "t0ken", None).unwrap();
            assert_eq!(plane.url("internal/v1/routes").as_str(), url);
            assert!(!format!("{plane:?}").contains("t0ken"));
        }
        let message = reach("ftp://x/", "t0ken", None).err().unwrap().to_string();
        assert!(message.contains("http://host:port"), "{message}");
        assert!(reach("http://x/", "a\nb", None).is_err());
    }

    #[test]
    fn a_file_without_certificates_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for text in [None, Some("nothing")] {
            text.iter().for_each(|text| std::fs::write(&path, text).unwrap());
            let message = reach("https://x/", "t", Some(&path)).err().unwrap().to_string();
            assert!(message.contains("ca.pem"), "{message}");
        }
    }
}

//! Certificates out of the control plane.

use std::time::Duration;

use ::tls::{Source, SourceError};
use async_trait::async_trait;
use common::certificate::Certificate;
use common::secret::Secret;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use crate::listener::StartError;

/// Where certificates lie below the control plane's API, with an id behind it.
const PATH: &str = "internal/v1/certificates/";
/// Longest time to connect: the control plane is near, or unreachable.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time for a whole answer.
const ANSWER: Duration = Duration::from_secs(7);
/// Largest answer in bytes: a chain of ten long certificates and a key, in PEM within JSON.
const MAX_ANSWER: usize = 256 << 10;

/// The control plane's certificates.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    client: Client,
    folder: Url,
}

impl ControlPlane {
    pub(crate) fn new(api: &Url, token: &Secret) -> Result<Self, StartError> {
        let wrong = || StartError::Feed(api.clone());
        let mut folder = api.clone();
        folder.set_query(None);
        folder.set_fragment(None);
        if !folder.path().ends_with('/') {
            folder.set_path(&format!("{}/", api.path()));
        }
        let folder = folder.join(PATH).map_err(|_| wrong())?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| StartError::Token)?;
        bearer.set_sensitive(true);
        let client = Client::builder()
            .default_headers(HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // The token is for the control plane alone.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|_| wrong())?;
        Ok(Self { client, folder })
    }
}

#[async_trait]
impl Source for ControlPlane {
    async fn fetch(&self, id: &str) -> Result<Certificate, SourceError> {
        let failed = |e: &dyn std::error::Error| SourceError::Failed(e.to_string());
        // An id has no character that means something in a path.
        let url = self.folder.join(id).map_err(|e| failed(&e))?;
        let answer = self.client.get(url).send().await.map_err(|e| failed(&e.without_url()))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(SourceError::Unknown),
            status => return Err(SourceError::Failed(format!("the control plane answers {status}"))),
        }
        let mut body = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(|e| failed(&e.without_url()))?);
            if body.len() > MAX_ANSWER {
                return Err(SourceError::Failed(format!("the answer has more than {MAX_ANSWER} bytes")));
            }
        }
        serde_json::from_slice(&body).map_err(|e| failed(&e))
    }
}

//! Requests to one registry: signed, and tried again while what failed may pass.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderName, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use crate::auth::{Auth, Login};
use crate::failure::Failure;
use crate::retry::Retry;

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How patiently a registry is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For one answer, or the next bytes of one.
    pub(crate) answer: Duration,
    /// For a registry that is away or asks to wait, while nothing goes on.
    pub(crate) away: Duration,
}

/// One registry.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    auth: Auth,
    patience: Patience,
}

/// A request. Bodies are in memory, so that it can be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Bytes,
    /// What it does, as the issuer of tokens calls it: `repository:shop:pull,push`.
    pub(crate) scopes: Vec<String>,
    /// Whether the body of the answer is long: only its silences are limited.
    pub(crate) is_long: bool,
}

impl Call {
    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }
}

/// What is done to a repository.
pub(crate) fn scope(repository: &str, actions: &str) -> String {
    format!("repository:{repository}:{actions}")
}

/// Scope of reading.
pub(crate) fn pull(repository: &str) -> Vec<String> {
    vec![scope(repository, "pull")]
}

/// Scope of writing.
pub(crate) fn push(repository: &str) -> Vec<String> {
    vec![scope(repository, "pull,push")]
}

impl Client {
    /// # Errors
    /// When the system's certificates can't be read.
    pub(crate) fn new(url: Url, login: Arc<Login>, patience: Patience) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(patience.answer).build()?;
        let auth = Auth::new(http.clone(), url.clone(), login);
        Ok(Self { http, url, auth, patience })
    }

    /// New tries of one thing.
    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.patience.away)
    }

    /// A request to the API: `path` is below `/v2/`.
    pub(crate) fn call(&self, method: Method, path: &str, scopes: Vec<String>) -> Result<Call, Failure> {
        let url = self.url.join(&format!("v2/{path}")).map_err(malformed)?;
        Ok(Call { method, url, headers: Vec::new(), body: Bytes::new(), scopes, is_long: false })
    }

    /// The address that an answer leads to.
    pub(crate) fn location(&self, response: &Response) -> Result<Option<Url>, Failure> {
        let Some(text) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) else {
            return Ok(None);
        };
        // Relative to what was asked (RFC 9110 section 10.2.2).
        response.url().join(text).map(Some).map_err(malformed)
    }

    /// Sends a request until it is answered for good.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, Failure> {
        let mut retry = self.retry();
        loop {
            match self.once(call).await {
                Err(failure) => retry.wait(failure).await?,
                answer => return answer,
            }
        }
    }

    /// Sends a request once; an answer that is no success is a failure.
    pub(crate) async fn once(&self, call: &Call) -> Result<Response, Failure> {
        let mut response = self.signed(call).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_own(&call.url) {
            self.auth.challenged(response.headers(), &call.scopes).await?;
            response = self.signed(call).await?;
        }
        if response.status().is_success() { Ok(response) } else { Err(Failure::of(response).await) }
    }

    async fn signed(&self, call: &Call) -> Result<Response, Failure> {
        let mut request = self.http.request(call.method.clone(), call.url.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if !call.is_long {
            request = request.timeout(self.patience.answer);
        }
        if call.method != Method::GET && call.method != Method::HEAD && call.method != Method::DELETE {
            request = request.body(call.body.clone());
        }
        // Uploads may be led to another host, which is not to see the login.
        if self.is_own(&call.url) {
            request = self.auth.sign(request, &call.scopes).await?;
        }
        Ok(request.send().await?)
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.url.origin()
    }
}

fn malformed(error: url::ParseError) -> Failure {
    Failure::Other(common::registry::RegistryError::Refused(format!("it leads to an address that is none: {error}")))
}

//! Documents of other people's services.

use std::time::Duration;

use reqwest::{Client, StatusCode, header::ACCEPT, redirect::Policy};
use serde::de::DeserializeOwned;
use thiserror::Error;
use url::Url;

/// Bytes of a document at most. IANA's list of registries has about 50 KiB, others about 10.
const BODY_MAX: usize = 1 << 20;
/// Redirects that are followed, as RDAP has them (RFC 7480 5.2).
const REDIRECTS: usize = 3;

/// Fetches documents.
#[derive(Clone, Debug)]
pub(crate) struct Json(Client);

/// Why there is no document.
#[derive(Debug, Error)]
pub(crate) enum Trouble {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{0} answered with the status {1}")]
    Status(Url, StatusCode),
    #[error("{0} answered with more than {BODY_MAX} bytes")]
    TooLong(Url),
    #[error("{0} answered with what is not expected there: {1}")]
    Form(Url, serde_json::Error),
}

impl Json {
    pub(crate) fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let agent = concat!("AstroCloud/", env!("CARGO_PKG_VERSION"));
        let client = Client::builder().timeout(timeout).redirect(Policy::limited(REDIRECTS)).user_agent(agent);
        Ok(Self(client.build()?))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Trouble> {
        let accept = "application/rdap+json, application/json";
        let mut answer = self.0.get(url.clone()).header(ACCEPT, accept).send().await?;
        if !answer.status().is_success() {
            return Err(Trouble::Status(url.clone(), answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_MAX {
                return Err(Trouble::TooLong(url.clone()));
            }
        }
        serde_json::from_slice(&body).map_err(|error| Trouble::Form(url.clone(), error))
    }
}

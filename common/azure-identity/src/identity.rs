//! One identity's tokens for one resource.

use std::time::Duration;

use common::secret::Secret;
use tokio::sync::Mutex;
use url::Url;

use crate::token::{Credential, Endpoints, Token, ask};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The setting is no base of addresses.
    #[error("`{0}` can't be Azure's address: write one like https://login.microsoftonline.com/")]
    Endpoint(Url),
    /// The file that the cluster should write.
    #[error("the workload's token {path} can't be read: {source}")]
    TokenFile {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is refused.
    #[error("Azure gives no token: {0}")]
    Login(String),
    /// No answer.
    #[error("Azure can't be reached: {}", cause(.0))]
    Unreachable(#[from] reqwest::Error),
}

/// The innermost reason: the outer ones repeat the address.
#[must_use]
pub fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Gets tokens for one resource, and keeps the last one.
#[derive(Debug)]
pub struct Identity {
    http: reqwest::Client,
    credential: Credential,
    endpoints: Endpoints,
    resource: Url,
    token: Mutex<Option<Token>>,
}

impl Identity {
    /// Asks nothing yet. `resource` is what the tokens are for, like `https://management.azure.com/`.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub fn new(credential: Credential, endpoints: Endpoints, resource: Url) -> Result<Self, IdentityError> {
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if matches!(credential, Credential::ManagedIdentity { .. }) {
            // The metadata service answers the machine itself alone.
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build()?, credential, endpoints, resource, token: Mutex::new(None) })
    }

    /// A token that a request may begin with.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn token(&self) -> Result<Secret, IdentityError> {
        // Held while it is asked for: others wait for the same.
        let mut token = self.token.lock().await;
        if let Some(kept) = token.as_ref().filter(|kept| kept.is_good()) {
            return Ok(kept.access.clone());
        }
        let new = ask(&self.http, &self.endpoints, &self.credential, &self.resource).await?;
        Ok(token.insert(new).access.clone())
    }

    /// The token was refused: the next one is asked for anew.
    pub async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

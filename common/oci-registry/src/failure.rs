//! Why a request to a registry failed.

use std::time::Duration;

use common::registry::RegistryError;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// Bytes of an answer's words that are read: they are for people.
const WORDS: usize = 2 << 10;

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may pass: no answer, or one that says so.
    Passing {
        /// What was seen.
        why: String,
        /// For how long the registry asks to wait.
        wait: Option<Duration>,
    },
    /// There is no such thing.
    Missing(String),
    /// The registry does not allow or understand it.
    Refused {
        /// With which status.
        status: StatusCode,
        /// What it said.
        said: String,
    },
    /// Something else: files, bytes that are not what they should be.
    Other(RegistryError),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Other(error)
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // The innermost reason: the outer ones repeat the address, which may hold the state of an upload.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        if error.is_builder() || error.is_redirect() {
            let said = cause.to_string();
            return Self::Other(RegistryError::Refused(said));
        }
        Self::Passing { why: cause.to_string(), wait: None }
    }
}

impl Failure {
    /// What an answer that is no success means.
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(seconds);
        let said = words(response).await;
        let passes = matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        match status {
            _ if passes => Self::Passing { why: said, wait },
            StatusCode::NOT_FOUND => Self::Missing(said),
            _ => Self::Refused { status, said },
        }
    }

    /// What it means for who uses the registry; `what` was wanted of `host`.
    pub(crate) fn told(self, host: &str, what: &str) -> RegistryError {
        match self {
            Self::Passing { why, .. } => RegistryError::Away(format!("{host}: {what}: {why}")),
            Self::Missing(said) => RegistryError::Refused(format!("{host}: {what}: {said}")),
            Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, said } => {
                RegistryError::Refused(format!(
                    "{host}: {what}: {said}. The operator checks the login and what it may do (pull, push and delete)"
                ))
            }
            Self::Refused { status: StatusCode::METHOD_NOT_ALLOWED, said } => RegistryError::Refused(format!(
                "{host}: {what}: {said}. The operator allows deleting in the registry's own settings"
            )),
            Self::Refused { said, .. } => RegistryError::Refused(format!("{host}: {what}: {said}")),
            Self::Other(error) => error,
        }
    }
}

/// `Retry-After` in seconds; a date is as good as nothing said.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// What a registry says of a refusal (distribution specification, "Error Codes").
async fn words(response: Response) -> String {
    #[derive(Deserialize)]
    struct Said {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    match serde_json::from_str::<Said>(&text) {
        Ok(Said { errors }) if !errors.is_empty() => {
            let each = errors.into_iter().map(|one| format!("{} ({})", one.message, one.code));
            each.collect::<Vec<_>>().join("; ").chars().take(WORDS).collect()
        }
        _ => format!("HTTP {status}"),
    }
}

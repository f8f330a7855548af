//! Certificates out of the control plane.

use std::time::Duration;

use ::tls::{Source, SourceError};
use async_trait::async_trait;
use common::certificate::Certificate;
use futures::StreamExt as _;
use http::StatusCode;

use crate::control_plane;

/// Where certificates lie below the control plane's API, with an id behind it.
const PATH: &str = "internal/v1/certificates/";
/// Longest time for a whole answer.
const ANSWER: Duration = Duration::from_secs(7);
/// Largest answer in bytes: a chain of ten long certificates and a key, in PEM within JSON.
const MAX_ANSWER: usize = 256 << 10;

/// The control plane's certificates.
#[derive(Debug)]
pub(crate) struct ControlPlane(control_plane::ControlPlane);

impl ControlPlane {
    pub(crate) fn new(plane: control_plane::ControlPlane) -> Self {
        Self(plane)
    }
}

#[async_trait]
impl Source for ControlPlane {
    async fn fetch(&self, id: &str) -> Result<Certificate, SourceError> {
        let failed = |e: &dyn std::error::Error| SourceError::Failed(e.to_string());
        let answer =
            self.0.get(&format!("{PATH}{id}")).timeout(ANSWER).send().await.map_err(|e| failed(&e.without_url()))?;
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

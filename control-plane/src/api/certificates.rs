//! Certificates for edges, and the development authority's own for whoever wants to trust it.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use common::certificate::Certificate;
use common::time::Timestamp;

use super::State;
use super::error::{ApiError, Path};
use crate::auth;
use crate::certificates::CertificateError;

impl From<CertificateError> for ApiError {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Store(e) => e.into(),
            error @ CertificateError::Authority(_) => Self::internal(&error),
        }
    }
}

/// A certificate with its key, for edges.
pub(super) async fn read(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Certificate>, ApiError> {
    if !auth::shows(&headers, &state.0.config.feed_token) {
        return Err(ApiError::new(401, "unauthorized", "Certificates need the edges' token."));
    }
    let none = || ApiError::not_found(format!("No host has the certificate `{id}` now."));
    if let Some(issued) = state.0.certificates.issued(&id).await? {
        return Ok(Json(issued));
    }
    let host = state.0.hub.host_of(&id).await.ok_or_else(none)?;
    state.0.certificates.contents(&id, &host, Timestamp::now()).await?.map(Json).ok_or_else(none)
}

/// The development authority's certificate.
pub(super) async fn authority(Extract(state): Extract<State>) -> Result<impl IntoResponse, ApiError> {
    let none = || ApiError::not_found("This installation has no certificate authority of its own.");
    let pem = state.0.certificates.authority_pem().ok_or_else(none)?.to_owned();
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem))
}

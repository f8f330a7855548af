//! Certificates that are wanted from authorities.

use acme::manager::ManagerError;
use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::{HostCertificate, Page};
use common::problem::Problem;

use super::State;
use super::error::{ApiError, Path, Query};
use super::projects::Paging;
use crate::issuing::{IssuingError, show};

impl From<IssuingError> for ApiError {
    fn from(error: IssuingError) -> Self {
        let detail = error.to_string();
        match error {
            IssuingError::Manager(ManagerError::Names(_)) => Self::invalid(detail),
            IssuingError::Manager(ManagerError::Unknown(_)) => Self::not_found(detail),
            IssuingError::Manager(ManagerError::Busy(_)) => Self::new(409, "busy", detail),
            error @ IssuingError::Manager(ManagerError::Store(_) | ManagerError::Sealed(_)) => Self::internal(&error),
            IssuingError::Store(error) => error.into(),
        }
    }
}

impl State {
    async fn certificate(&self, name: &str) -> Result<HostCertificate, ApiError> {
        let found = self.0.issuing.entry(name).await?;
        let none = || ApiError::not_found(format!("No certificate is wanted for `{name}`."));
        Ok(show(&found.ok_or_else(none)?))
    }
}

/// Lists certificates that are wanted from authorities, by name.
#[utoipa::path(get, path = "/certificates", tag = "certificates", params(Paging),
    responses((status = 200, body = Page<HostCertificate>)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<HostCertificate>>, ApiError> {
    let limit = paging.limit()?;
    let entries = state.0.issuing.list(paging.cursor.as_deref().unwrap_or(""), limit + 1).await?;
    let (entries, next_cursor) = Paging::page(entries, limit, |entry| entry.name().to_owned());
    Ok(Json(Page { items: entries.iter().map(show).collect(), next_cursor }))
}

/// Shows how a certificate stands, and why.
#[utoipa::path(get, path = "/certificates/{name}", tag = "certificates",
    params(("name" = String, Path, description = "The host, or `*.` and a domain")),
    responses((status = 200, body = HostCertificate), (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<HostCertificate>, ApiError> {
    state.certificate(&name).await.map(Json)
}

/// Replaces a certificate whose private key may be known to others; the old one is revoked once the new one is there.
#[utoipa::path(post, path = "/certificates/{name}/replace", tag = "certificates",
    operation_id = "replace_certificate",
    params(("name" = String, Path, description = "The host, or `*.` and a domain")),
    responses((status = 202, body = HostCertificate), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn replace(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<HostCertificate>), ApiError> {
    state.0.issuing.replace(&name).await?;
    Ok((StatusCode::ACCEPTED, Json(state.certificate(&name).await?)))
}

/// Tries at once what waits.
#[utoipa::path(post, path = "/certificates/{name}/retry", tag = "certificates",
    operation_id = "retry_certificate",
    params(("name" = String, Path, description = "The host, or `*.` and a domain")),
    responses((status = 202, body = HostCertificate), (status = 404, body = Problem)))]
pub(super) async fn retry(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<(StatusCode, Json<HostCertificate>), ApiError> {
    state.0.issuing.retry_now(&name).await?;
    Ok((StatusCode::ACCEPTED, Json(state.certificate(&name).await?)))
}

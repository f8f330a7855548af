//! What this installation is, and whether it answers.

use axum::Json;
use axum::extract::State as Extract;
use common::api::System;

use super::State;
use super::error::ApiError;
use crate::issuing::{show, wildcard};

/// What this installation is and can do.
#[utoipa::path(get, path = "/system", tag = "system", responses((status = 200, body = System)))]
pub(super) async fn system(Extract(state): Extract<State>) -> Result<Json<System>, ApiError> {
    let config = &state.0.config;
    let wildcard = state.0.issuing.entry(&wildcard(&config.base_domain)).await?;
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        base_domain: config.base_domain.clone(),
        isolation: config.isolation.clone(),
        max_upload_bytes: config.max_upload_bytes,
        name_servers: state.0.zones.name_servers().await?,
        authorities: state.0.issuing.authorities().to_vec(),
        certificate: wildcard.as_ref().map(show),
        control_planes: state.0.hub.company().await?,
    }))
}

/// Whether the API and its database answer.
pub(super) async fn health(Extract(state): Extract<State>) -> Result<&'static str, ApiError> {
    state.0.store.projects("", 1).await?;
    Ok("ok")
}

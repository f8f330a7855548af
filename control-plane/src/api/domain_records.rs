//! The records that a custom domain needs, set in the zone held here.

use axum::extract::State as Extract;
use axum::{Extension, Json};
use common::domain::api::Domain;
use common::problem::Problem;
use common::zone::{NewZoneEdit, ZoneOffer};

use super::State;
use super::error::{ApiError, Path};
use crate::auth::Actor;

impl State {
    async fn offered(&self, domain: &Domain) -> Result<ZoneOffer, ApiError> {
        self.0.zones.offer(&domain.records).await?.ok_or_else(|| {
            let detail =
                format!("{} lies in no zone held here: set its records where its DNS is managed.", domain.name);
            ApiError::new(409, "no_zone", detail)
        })
    }
}

/// Reads the edit that gives a domain its records in the zone held here; without changes when they stand there already.
#[utoipa::path(get, path = "/domains/{name}/records", tag = "domain_records",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = ZoneOffer), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<ZoneOffer>, ApiError> {
    let domain = state.0.domains.show(state.domain(&name).await?).await?;
    Ok(Json(state.offered(&domain).await?))
}

/// Makes that edit, and looks at the domain's DNS; answers with what came of it.
#[utoipa::path(post, path = "/domains/{name}/records", tag = "domain_records",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Domain), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn set(
    Extract(state): Extract<State>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let domain = state.0.domains.show(row.clone()).await?;
    let offer = state.offered(&domain).await?;
    if !offer.changes.is_empty() {
        let note = format!("Records of the domain {}", domain.name);
        let edit = NewZoneEdit { changes: offer.changes, note, serial: None };
        state.0.zones.edit(&offer.zone, &edit, actor.as_str()).await?;
    }
    let row = state.0.domains.check(row).await?;
    Ok(Json(state.0.domains.show(row).await?))
}

//! DNS zones that are held here.

use axum::extract::State as Extract;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use common::api::Page;
use common::problem::Problem;
use common::zone::{NewZone, NewZoneEdit, SetDnssec, UndoZoneEdit, Zone, ZoneEdit, ZoneEdited, ZoneRecord};
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::error::{ApiError, Body, Path, Query};
use super::projects::Paging;
use crate::auth::Actor;
use crate::zones::ZoneError;

/// The media type of master files (RFC 4027).
const MASTER_FILE: HeaderValue = HeaderValue::from_static("text/dns; charset=utf-8");

impl From<ZoneError> for ApiError {
    fn from(error: ZoneError) -> Self {
        let detail = error.to_string();
        match error {
            ZoneError::NoZone(_) | ZoneError::NoEdit(_) => Self::not_found(detail),
            ZoneError::Exists(_) => Self::new(409, "zone_exists", detail),
            ZoneError::Name(_) | ZoneError::Unfit(..) => Self::new(422, "invalid_name", detail),
            ZoneError::Input(_) | ZoneError::Edit(_) | ZoneError::Broken(_) => Self::new(422, "invalid_zone", detail),
            ZoneError::Changed(_) | ZoneError::Busy => Self::new(409, "changed_meanwhile", detail),
            ZoneError::NothingToUndo | ZoneError::Undone(..) | ZoneError::First | ZoneError::Overtaken(..) => {
                Self::new(409, "cannot_undo", detail)
            }
            ZoneError::StillOn | ZoneError::DsThere { .. } => Self::new(409, "ds_first", detail),
            ZoneError::Key(_) => Self::internal(&error),
            ZoneError::Store(e) => e.into(),
        }
    }
}

/// Lists the zones that are held here, by name.
#[utoipa::path(get, path = "/zones", tag = "zones", params(Paging), responses((status = 200, body = Page<Zone>)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Zone>>, ApiError> {
    let limit = paging.limit()?;
    let zones = state.0.zones.list(paging.cursor.as_deref().unwrap_or_default(), limit + 1).await?;
    let (items, next_cursor) = Paging::page(zones, limit, |zone| zone.name.clone());
    Ok(Json(Page { items, next_cursor }))
}

/// Creates a zone, empty or from a master file. Answers when the name servers answer for it.
#[utoipa::path(post, path = "/zones", tag = "zones", request_body = NewZone,
    responses((status = 201, body = Zone), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn create(
    Extract(state): Extract<State>,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewZone>,
) -> Result<(StatusCode, Json<Zone>), ApiError> {
    let name = state.0.zones.create(&new, actor.as_str()).await?;
    Ok((StatusCode::CREATED, Json(state.0.zones.show(&name).await?)))
}

/// Reads a zone: also which name servers and which DS record to set at the registrar.
#[utoipa::path(get, path = "/zones/{zone}", tag = "zones", params(("zone" = String, Path, description = "Its name")),
    responses((status = 200, body = Zone), (status = 404, body = Problem)))]
pub(super) async fn read(Extract(state): Extract<State>, Path(zone): Path<String>) -> Result<Json<Zone>, ApiError> {
    Ok(Json(state.0.zones.show(&zone).await?))
}

/// Deletes a zone with its history. Answers when the name servers no longer answer for it.
#[utoipa::path(delete, path = "/zones/{zone}", tag = "zones", params(("zone" = String, Path, description = "Its name")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn remove(Extract(state): Extract<State>, Path(zone): Path<String>) -> Result<StatusCode, ApiError> {
    state.0.zones.remove(&zone).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a zone is written.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Form {
    /// ALIAS records as comments, so that other servers take the file.
    #[serde(default)]
    portable: bool,
}

/// Writes a zone as a master file (RFC 1035 section 5).
#[utoipa::path(get, path = "/zones/{zone}/master", tag = "zones",
    params(("zone" = String, Path, description = "Its name"), Form),
    responses((status = 200, body = String, content_type = "text/dns"), (status = 404, body = Problem)))]
pub(super) async fn export(
    Extract(state): Extract<State>,
    Path(zone): Path<String>,
    Query(form): Query<Form>,
) -> Result<Response, ApiError> {
    let text = state.0.zones.export(&zone, !form.portable).await?;
    Ok(([(CONTENT_TYPE, MASTER_FILE)], text).into_response())
}

/// Turns DNSSEC on, or off in two steps. Answers when the name servers answer accordingly.
#[utoipa::path(put, path = "/zones/{zone}/dnssec", tag = "zones", params(("zone" = String, Path, description = "Its name")),
    request_body = SetDnssec,
    responses((status = 200, body = Zone), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn set_dnssec(
    Extract(state): Extract<State>,
    Path(zone): Path<String>,
    Body(set): Body<SetDnssec>,
) -> Result<Json<Zone>, ApiError> {
    state.0.zones.set_dnssec(&zone, set).await?;
    Ok(Json(state.0.zones.show(&zone).await?))
}

/// Which records.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those of this name within the zone.
    #[serde(default)]
    name: Option<String>,
    /// Those of this type.
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// Lists a zone's records.
#[utoipa::path(get, path = "/zones/{zone}/records", tag = "zones",
    params(("zone" = String, Path, description = "Its name"), Which),
    responses((status = 200, body = Page<ZoneRecord>), (status = 404, body = Problem)))]
pub(super) async fn records(
    Extract(state): Extract<State>,
    Path(zone): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Page<ZoneRecord>>, ApiError> {
    let items = state.0.zones.records(&zone, which.name.as_deref(), which.kind.as_deref()).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Edits a zone's records: all changes or none. Answers when the name servers answer accordingly; with 204 when the zone
/// was so already.
#[utoipa::path(patch, path = "/zones/{zone}/records", tag = "zones",
    params(("zone" = String, Path, description = "Its name")), request_body = NewZoneEdit,
    responses((status = 200, body = ZoneEdited), (status = 204), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(super) async fn edit(
    Extract(state): Extract<State>,
    Extension(actor): Extension<Actor>,
    Path(zone): Path<String>,
    Body(edit): Body<NewZoneEdit>,
) -> Result<Response, ApiError> {
    Ok(match state.0.zones.edit(&zone, &edit, actor.as_str()).await? {
        Some(edited) => Json(edited).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Lists a zone's edits, newest first.
#[utoipa::path(get, path = "/zones/{zone}/edits", tag = "zones",
    params(("zone" = String, Path, description = "Its name"), Paging),
    responses((status = 200, body = Page<ZoneEdit>), (status = 404, body = Problem)))]
pub(super) async fn edits(
    Extract(state): Extract<State>,
    Path(zone): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ZoneEdit>>, ApiError> {
    let limit = paging.limit()?;
    let before = match &paging.cursor {
        Some(text) => text.parse().map_err(|_| ApiError::invalid(format!("`{text}` is no cursor of this list")))?,
        None => i64::MAX,
    };
    let edits = state.0.zones.edits(&zone, before, limit + 1).await?;
    let (items, next_cursor) = Paging::page(edits, limit, |edit| edit.number.to_string());
    Ok(Json(Page { items, next_cursor }))
}

/// Takes an edit back. Answers when the name servers answer accordingly.
#[utoipa::path(post, path = "/zones/{zone}/undo", tag = "zones", params(("zone" = String, Path, description = "Its name")),
    request_body = UndoZoneEdit,
    responses((status = 200, body = ZoneEdited), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn undo(
    Extract(state): Extract<State>,
    Extension(actor): Extension<Actor>,
    Path(zone): Path<String>,
    Body(undo): Body<UndoZoneEdit>,
) -> Result<Json<ZoneEdited>, ApiError> {
    Ok(Json(state.0.zones.undo(&zone, undo.number, actor.as_str()).await?))
}

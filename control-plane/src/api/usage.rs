//! What a project was served.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use common::api::{UsageHour, UsageReport};
use common::problem::Problem;
use common::time::Timestamp;
use common::usage::LATENCY_BOUNDS_MS;
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::error::{ApiError, Path, Query};
use crate::usage;

/// How far back is looked when nothing is said.
const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Which hours.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Hours {
    /// From the hour of this time on; 24 hours before `to` when absent.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before this time; now when absent. Counts are kept for 90 days.
    #[serde(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

/// Counts of a project's requests, hour by hour.
#[utoipa::path(get, path = "/projects/{project}/usage", tag = "usage",
    params(("project" = String, Path, description = "Name or id"), Hours),
    responses((status = 200, body = UsageReport), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Query(hours): Query<Hours>,
) -> Result<Json<UsageReport>, ApiError> {
    let project = state.project(&project).await?;
    let to = hours.to.unwrap_or_else(Timestamp::now);
    let from = usage::hour(hours.from.unwrap_or_else(|| to.before(DEFAULT_SPAN)));
    if from > to {
        return Err(ApiError::invalid("`from` must be before `to`."));
    }
    let rows = state.0.store.usage(&project.id, from, to).await?;
    let name = project.name.to_string();
    let hours = rows.into_iter().map(|(hour, mut usage)| {
        usage.project.clone_from(&name);
        UsageHour { hour, usage }
    });
    let hours = hours.collect();
    Ok(Json(UsageReport { project: project.name, latency_bounds_ms: LATENCY_BOUNDS_MS.to_vec(), hours }))
}

//! Deployments.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::{Deployment, NewDeployment, Page};
use common::id::DeploymentId;
use common::problem::Problem;
use common::source::Source;

use super::State;
use super::error::{ApiError, Body, Path, Query};
use super::projects::Paging;

/// Lists a project's deployments, newest first.
#[utoipa::path(get, path = "/projects/{project}/deployments", tag = "deployments",
    params(("project" = String, Path, description = "Name or id"), Paging),
    responses((status = 200, body = Page<Deployment>), (status = 404, body = Problem)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Deployment>>, ApiError> {
    let project = state.project(&project).await?;
    let limit = paging.limit()?;
    let before: Option<DeploymentId> = match &paging.cursor {
        Some(text) => Some(text.parse().map_err(|_| ApiError::invalid(format!("`{text}` is no cursor of this list")))?),
        None => None,
    };
    let rows = state.0.store.deployments(&project.id, before.as_ref(), limit + 1).await?;
    let (rows, next_cursor) = Paging::page(rows, limit, |row| row.id.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        items.push(state.0.lifecycle.show(row).await?);
    }
    Ok(Json(Page { items, next_cursor }))
}

/// Asks for a deployment.
#[utoipa::path(post, path = "/projects/{project}/deployments", tag = "deployments",
    params(("project" = String, Path, description = "Name or id")), request_body = NewDeployment,
    responses((status = 202, body = Deployment), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn create(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(new): Body<NewDeployment>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let project = state.project(&project).await?;
    match &new.source {
        Source::Upload { upload, .. } => state.0.uploads.accept(upload).await?,
        Source::Git { url, .. } => {
            if !matches!(url.scheme(), "http" | "https") {
                let detail = format!("Repositories are fetched over http or https, not `{}`.", url.scheme());
                return Err(ApiError::invalid(detail));
            }
        }
    }
    let row = state.0.lifecycle.deploy(&project, new.source, new.settings).await?;
    Ok((StatusCode::ACCEPTED, Json(state.0.lifecycle.show(row).await?)))
}

/// Reads a deployment.
#[utoipa::path(get, path = "/deployments/{deployment}", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = Deployment), (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(deployment): Path<String>,
) -> Result<Json<Deployment>, ApiError> {
    let row = state.0.lifecycle.row(&deployment.parse()?).await?;
    Ok(Json(state.0.lifecycle.show(row).await?))
}

/// Cancels a deployment that has not ended; every process of its build is killed.
#[utoipa::path(post, path = "/deployments/{deployment}/cancel", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 200, body = Deployment), (status = 404, body = Problem)))]
pub(super) async fn cancel(
    Extract(state): Extract<State>,
    Path(deployment): Path<String>,
) -> Result<Json<Deployment>, ApiError> {
    let row = state.0.lifecycle.cancel(&deployment.parse()?).await?;
    Ok(Json(state.0.lifecycle.show(row).await?))
}

/// Builds the same source again, as it was asked for, with the project's present settings and variables.
#[utoipa::path(post, path = "/deployments/{deployment}/redeploy", tag = "deployments", params(("deployment" = String, Path)),
    responses((status = 202, body = Deployment), (status = 404, body = Problem)))]
pub(super) async fn redeploy(
    Extract(state): Extract<State>,
    Path(deployment): Path<String>,
) -> Result<(StatusCode, Json<Deployment>), ApiError> {
    let old = state.0.lifecycle.row(&deployment.parse()?).await?;
    let project = state.project(old.project.as_str()).await?;
    let row = state.0.lifecycle.redeploy(&project, old).await?;
    Ok((StatusCode::ACCEPTED, Json(state.0.lifecycle.show(row).await?)))
}

//! Projects.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::{Deployment, MAX_PAGE, NewProject, Page, Project, Rollback};
use common::id::ProjectId;
use common::problem::Problem;
use common::project::Settings;
use common::time::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::State;
use super::error::{ApiError, Body, Path, Query};
use crate::store::projects::{OWNER, ProjectRow};

/// Which page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Rows wanted.
    #[serde(default)]
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
}

impl Paging {
    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        match self.limit.unwrap_or(MAX_PAGE) {
            limit @ 1..=MAX_PAGE => Ok(limit),
            other => Err(ApiError::invalid(format!("limit must be 1 to {MAX_PAGE}, not {other}"))),
        }
    }

    /// Cuts the extra row that tells whether there is a next page.
    pub(super) fn page<T>(mut rows: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(cursor);
        (rows, next)
    }
}

impl State {
    /// The project with this name or id.
    pub(super) async fn project(&self, name_or_id: &str) -> Result<ProjectRow, ApiError> {
        let found = self.0.store.project(name_or_id).await?;
        found.ok_or_else(|| {
            ApiError::not_found(format!("There is no project `{name_or_id}`. `astrocloud projects ls` lists them."))
        })
    }
}

/// Lists projects by name.
#[utoipa::path(get, path = "/projects", tag = "projects", params(Paging),
    responses((status = 200, body = Page<Project>)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Project>>, ApiError> {
    let limit = paging.limit()?;
    let rows = state.0.store.projects(paging.cursor.as_deref().unwrap_or(""), limit + 1).await?;
    let (rows, next_cursor) = Paging::page(rows, limit, |row| row.name.to_string());
    Ok(Json(Page { items: rows.into_iter().map(|row| state.0.lifecycle.show_project(row)).collect(), next_cursor }))
}

/// Creates a project.
#[utoipa::path(post, path = "/projects", tag = "projects", request_body = NewProject,
    responses((status = 201, body = Project), (status = 409, body = Problem, description = "The name is taken")))]
pub(super) async fn create(
    Extract(state): Extract<State>,
    Body(new): Body<NewProject>,
) -> Result<(StatusCode, Json<Project>), ApiError> {
    let row = ProjectRow {
        id: ProjectId::new(),
        name: new.name,
        account: OWNER.to_owned(),
        settings: new.settings,
        live_deployment: None,
        created_at: Timestamp::now(),
    };
    let taken = || {
        let detail = format!("The name `{}` is taken. Choose another one with --project.", row.name);
        ApiError::new(409, "name_taken", detail)
    };
    match state.0.store.insert_project(&row).await {
        Ok(true) => Ok((StatusCode::CREATED, Json(state.0.lifecycle.show_project(row)))),
        Ok(false) => Err(taken()),
        Err(e) if e.is_duplicate() => Err(taken()),
        Err(e) => Err(e.into()),
    }
}

/// Reads a project by name or id.
#[utoipa::path(get, path = "/projects/{project}", tag = "projects", params(("project" = String, Path, description = "Name or id")),
    responses((status = 200, body = Project), (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
) -> Result<Json<Project>, ApiError> {
    let row = state.project(&project).await?;
    Ok(Json(state.0.lifecycle.show_project(row)))
}

/// Changes settings: those given replace the project's.
#[utoipa::path(patch, path = "/projects/{project}", tag = "projects", params(("project" = String, Path, description = "Name or id")),
    request_body = Settings, responses((status = 200, body = Project), (status = 404, body = Problem)))]
pub(super) async fn update(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(settings): Body<Settings>,
) -> Result<Json<Project>, ApiError> {
    let mut row = state.project(&project).await?;
    row.settings = row.settings.overlaid(settings);
    state.0.store.set_settings(&row.id, &row.settings).await?;
    Ok(Json(state.0.lifecycle.show_project(row)))
}

/// Deletes a project with its deployments: its addresses stop answering at once.
#[utoipa::path(delete, path = "/projects/{project}", tag = "projects", params(("project" = String, Path, description = "Name or id")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn remove(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
) -> Result<StatusCode, ApiError> {
    let row = state.project(&project).await?;
    let domains = state.0.domains.of_project(&row.id).await?;
    state.0.lifecycle.delete_project(&row).await?;
    state.0.domains.gone(&domains).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes an earlier deployment live; answers when visitors get it.
#[utoipa::path(post, path = "/projects/{project}/rollback", tag = "projects", params(("project" = String, Path, description = "Name or id")),
    request_body = Rollback,
    responses((status = 200, body = Deployment), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn rollback(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(rollback): Body<Rollback>,
) -> Result<Json<Deployment>, ApiError> {
    let project = state.project(&project).await?;
    let row = state.0.lifecycle.rollback(&project, rollback.deployment).await?;
    Ok(Json(state.0.lifecycle.show(row).await?))
}

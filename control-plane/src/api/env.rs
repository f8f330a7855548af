//! Environment variables of a project. Values go in and are never told again.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::{EnvVariable, Page, SetEnv};
use common::name::check_variable;
use common::problem::Problem;

use super::State;
use super::error::{ApiError, Body, Path};

/// Most variables of a project.
const MAX_VARIABLES: usize = 200;
/// Longest value, bytes: the kernel takes 128 KiB for one string (`MAX_ARG_STRLEN`).
const MAX_VALUE: usize = 64 << 10;

/// Lists the names of a project's variables.
#[utoipa::path(get, path = "/projects/{project}/env", tag = "env", params(("project" = String, Path, description = "Name or id")),
    responses((status = 200, body = Page<EnvVariable>), (status = 404, body = Problem)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
) -> Result<Json<Page<EnvVariable>>, ApiError> {
    let project = state.project(&project).await?;
    let items = state.0.store.env_names(&project.id).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Sets variables, all or none; deployments from now on get them.
#[utoipa::path(put, path = "/projects/{project}/env", tag = "env", params(("project" = String, Path, description = "Name or id")),
    request_body = SetEnv,
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn set(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(set): Body<SetEnv>,
) -> Result<StatusCode, ApiError> {
    let project = state.project(&project).await?;
    for (name, value) in &set.variables {
        check_variable(name).map_err(|e| ApiError::invalid(format!("{e}.")))?;
        if value.reveal().len() > MAX_VALUE || value.reveal().contains('\0') {
            return Err(ApiError::invalid(format!(
                "The value of `{name}` is longer than {MAX_VALUE} bytes or holds a NUL character."
            )));
        }
    }
    let mut names: std::collections::BTreeSet<String> =
        state.0.store.env_names(&project.id).await?.into_iter().map(|v| v.name).collect();
    names.extend(set.variables.keys().cloned());
    if names.len() > MAX_VARIABLES {
        return Err(ApiError::invalid(format!("A project has at most {MAX_VARIABLES} variables.")));
    }
    state.0.store.set_env(&state.0.config.keys, &project.id, &set.variables).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a variable.
#[utoipa::path(delete, path = "/projects/{project}/env/{name}", tag = "env",
    params(("project" = String, Path, description = "Name or id"), ("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn unset(
    Extract(state): Extract<State>,
    Path((project, name)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let project = state.project(&project).await?;
    if state.0.store.unset_env(&project.id, &name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found(format!("The project `{}` has no variable `{name}`.", project.name)))
    }
}

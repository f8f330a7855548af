//! How the edge treats a project's visitors.

use axum::Json;
use axum::extract::State as Extract;
use common::api::EdgePolicy;
use common::problem::Problem;
use serde_json::Value;

use super::State;
use super::error::{ApiError, Body, Path};
use crate::policies::{Mode, PolicyError};

impl From<PolicyError> for ApiError {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::Wrong(problems) => {
                let line = |problem: guard::Problem| match problem.path.as_str() {
                    "" => problem.message,
                    path => format!("`{path}`: {}", problem.message),
                };
                let lines: Vec<String> = problems.into_iter().map(line).collect();
                Self::new(422, "invalid_policy", lines.join("\n"))
            }
            PolicyError::NoProject => Self::not_found("The project was deleted meanwhile."),
            PolicyError::Busy => {
                Self::new(409, "changed_meanwhile", "Others change this policy at the same time. Try again.")
            }
            PolicyError::Hash(_) => Self::internal(&error),
            PolicyError::Store(e) => e.into(),
        }
    }
}

impl State {
    async fn set_policy(&self, project: &str, given: &Value, mode: Mode) -> Result<Json<EdgePolicy>, ApiError> {
        let project = self.project(project).await?;
        let policy = self.0.policies.set(&self.0.store, &project.id, given, mode).await?;
        self.0.hub.refresh(&project.id).await?;
        Ok(Json(policy.into()))
    }
}

/// Reads how the edge treats a project's visitors, defaults included.
#[utoipa::path(get, path = "/projects/{project}/edge", tag = "edge", params(("project" = String, Path, description = "Name or id")),
    responses((status = 200, body = EdgePolicy), (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
) -> Result<Json<EdgePolicy>, ApiError> {
    let project = state.project(&project).await?;
    let stored = state.0.store.policy(&project.id).await?;
    let policy = state.0.policies.effective(stored.as_deref())?;
    Ok(Json((*policy).clone().into()))
}

/// Sets how the edge treats a project's visitors; what is absent has its default. Answers when visitors meet it.
#[utoipa::path(put, path = "/projects/{project}/edge", tag = "edge", params(("project" = String, Path, description = "Name or id")),
    request_body = EdgePolicy,
    responses((status = 200, body = EdgePolicy), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn replace(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(given): Body<Value>,
) -> Result<Json<EdgePolicy>, ApiError> {
    state.set_policy(&project, &given, Mode::Replace).await
}

/// Changes how the edge treats a project's visitors: what is given is merged into what was set, `null` takes back (RFC 7396).
/// Answers when visitors meet it.
#[utoipa::path(patch, path = "/projects/{project}/edge", tag = "edge", params(("project" = String, Path, description = "Name or id")),
    request_body = EdgePolicy,
    responses((status = 200, body = EdgePolicy), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn change(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(given): Body<Value>,
) -> Result<Json<EdgePolicy>, ApiError> {
    state.set_policy(&project, &given, Mode::Merge).await
}

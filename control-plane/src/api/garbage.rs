//! The object store's garbage.

use axum::Json;
use axum::extract::State as Extract;
use common::api::GarbageRequest;
use common::problem::Problem;
use garbage::{GarbageError, Report};

use super::State;
use super::error::{ApiError, Body};

/// Removes from the object store what no deployment needs any more, or says what would be removed; answers when it is
/// done.
#[utoipa::path(post, path = "/garbage", tag = "garbage", request_body = GarbageRequest,
    responses((status = 200, body = Report), (status = 409, body = Problem)))]
pub(super) async fn collect(
    Extract(state): Extract<State>,
    Body(request): Body<GarbageRequest>,
) -> Result<Json<Report>, ApiError> {
    let garbage = &state.0.garbage;
    Ok(Json(if request.dry_run { garbage.look().await? } else { garbage.pass().await? }))
}

impl From<GarbageError> for ApiError {
    fn from(error: GarbageError) -> Self {
        match error {
            GarbageError::Busy(_) => Self::new(409, "garbage_busy", error.to_string()),
            GarbageError::Foreign { .. } => Self::new(409, "garbage_foreign", error.to_string()),
            GarbageError::Store(e) => e.into(),
            GarbageError::Records(_) | GarbageError::Unreadable { .. } => Self::internal(&error),
        }
    }
}

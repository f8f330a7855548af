//! The one conversion of errors to problem details.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use common::problem::{MEDIA_TYPE, Problem};

use crate::lifecycle::LifecycleError;
use crate::store::StoreError;

/// The stable word for a database that can't be reached.
const DATABASE_AWAY: &str = "database_away";
/// When whoever finds a part away should try again: seconds, for `Retry-After`.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("5");

/// Marks an answer that only says that the database can't be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct DatabaseAway;

/// An answer that is a problem.
#[derive(Debug)]
pub struct ApiError(Problem);

impl ApiError {
    /// A problem with its HTTP status, stable word and sentence.
    pub fn new(status: u16, word: &str, detail: impl Into<String>) -> Self {
        Self(Problem::new(status, word, detail))
    }

    /// Nothing is there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not_found", detail)
    }

    /// The request itself is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", detail)
    }

    /// The address is right, the method is not.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "method_not_allowed",
            "This address does not take this method; the Allow header lists those it takes.",
        )
    }

    /// No good credentials.
    pub fn unauthorized() -> Self {
        Self::new(
            401,
            "unauthorized",
            "A valid token is needed: run `astrocloud login`, or open the login link that `astrocloud up` printed.",
        )
    }

    /// Nothing can be stored any more.
    fn disk_full() -> Self {
        Self::new(
            507,
            "disk_full",
            "AstroCloud's disk is full: nothing was stored, and what is live goes on. Ask its operator for room, then try \
             again.",
        )
    }

    /// The database can't be reached.
    fn database_away() -> Self {
        Self::new(
            503,
            DATABASE_AWAY,
            "AstroCloud's database can't be reached at the moment. What is live goes on, and no deployment is lost. Try \
             again in some seconds.",
        )
    }

    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %error, "a request failed");
        if says(error, StoreError::is_disk_full) || says_full(error) {
            return Self::disk_full();
        }
        if says(error, StoreError::is_away) {
            return Self::database_away();
        }
        Self::new(500, "internal", "AstroCloud failed to do this; its log says why. Try again in a moment.")
    }
}

/// Whether an error comes from one that is of type `E` and `so`.
fn says<E: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static), so: impl Fn(&E) -> bool) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.downcast_ref().is_some_and(&so))
}

/// Whether an error comes from a full disk.
fn says_full(error: &(dyn std::error::Error + 'static)) -> bool {
    says(error, StoreError::is_disk_full)
        || says(error, |e: &std::io::Error| e.kind() == std::io::ErrorKind::StorageFull)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_away = self.0.word() == DATABASE_AWAY;
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], Json(self.0)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, TRY_AGAIN);
        }
        if is_away {
            response.extensions_mut().insert(DatabaseAway);
        }
        response
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<common::bus::BusError> for ApiError {
    fn from(error: common::bus::BusError) -> Self {
        Self::internal(&error)
    }
}

impl From<common::blob::BlobError> for ApiError {
    fn from(error: common::blob::BlobError) -> Self {
        Self::internal(&error)
    }
}

impl From<common::id::InvalidId> for ApiError {
    fn from(error: common::id::InvalidId) -> Self {
        Self::not_found(error.to_string())
    }
}

impl From<LifecycleError> for ApiError {
    fn from(error: LifecycleError) -> Self {
        let detail = error.to_string();
        match error {
            LifecycleError::NoSuchDeployment(_) => Self::not_found(detail),
            LifecycleError::NotReady { .. } => Self::new(409, "not_ready", detail),
            LifecycleError::DidNotStart { .. } => Self::new(409, "did_not_start", detail),
            LifecycleError::NotDead(_) => Self::new(409, "not_dead", detail),
            LifecycleError::NoImage(_) => Self::new(409, "image_deleted", detail),
            LifecycleError::NothingBefore => Self::new(409, "nothing_to_roll_back_to", detail),
            LifecycleError::Queue(_) => Self::new(503, "queue_away", detail),
            LifecycleError::Store(e) => e.into(),
            LifecycleError::Bus(e) => e.into(),
            LifecycleError::Blob(e) => e.into(),
        }
    }
}

/// A JSON body whose errors are problem details.
#[derive(axum::extract::FromRequest)]
#[from_request(via(Json), rejection(ApiError))]
pub struct Body<T>(pub T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status().as_u16(), "invalid_request", rejection.body_text())
    }
}

/// A query string whose errors are problem details.
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

impl From<axum::extract::rejection::QueryRejection> for ApiError {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

/// Parts of the path, whose errors are problem details.
#[derive(axum::extract::FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Path<T>(pub T);

impl From<axum::extract::rejection::PathRejection> for ApiError {
    fn from(rejection: axum::extract::rejection::PathRejection) -> Self {
        Self::new(rejection.status().as_u16(), "invalid_request", rejection.body_text())
    }
}

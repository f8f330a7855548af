//! Links that log a browser in, for those who have a token.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::LoginLink;
use common::secret::Secret;
use common::time::Timestamp;
use url::Url;

use super::State;
use super::error::ApiError;
use crate::store::tokens::TokenKind;
use crate::store::{Store, StoreError};

/// How long a login link works.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Makes a link to the API at `api_url`.
pub(crate) async fn make(store: &Store, api_url: &Url) -> Result<LoginLink, StoreError> {
    let token = Secret::random("login_");
    let expires_at = Timestamp::now().after(LIFETIME);
    store.add_token(&token, TokenKind::Login, Some(expires_at)).await?;
    let mut url = api_url.clone();
    url.set_path("/login");
    url.set_query(Some(&format!("token={}", token.reveal())));
    Ok(LoginLink { url, expires_at })
}

/// Makes a link that logs a browser in, once, within 15 minutes.
#[utoipa::path(post, path = "/login-links", tag = "system", responses((status = 201, body = LoginLink)))]
pub(super) async fn create(Extract(state): Extract<State>) -> Result<(StatusCode, Json<LoginLink>), ApiError> {
    let link = make(&state.0.store, &state.0.api_url).await?;
    Ok((StatusCode::CREATED, Json(link)))
}

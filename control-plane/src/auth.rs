//! Who may use the API: a bearer token, or a browser's session cookie.

use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use common::secret::Secret;
use common::time::Timestamp;
use serde::Deserialize;

use crate::api::State as ApiState;
use crate::api::error::ApiError;
use crate::store::tokens::TokenKind;

/// How long a browser stays logged in.
const SESSION_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const COOKIE_NAME: &str = "astrocloud_session";

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    cookies.filter_map(|c| c.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

/// A cookie is sent by the browser whoever makes it call: accept it for reads, and else only when the
/// page that calls is our own.
fn from_our_page(method: &Method, headers: &HeaderMap) -> bool {
    let upgrade = headers.contains_key(axum::http::header::UPGRADE);
    if matches!(*method, Method::GET | Method::HEAD) && !upgrade {
        return true;
    }
    let text = |name| headers.get(name).and_then(|v: &axum::http::HeaderValue| v.to_str().ok());
    match (text(ORIGIN).and_then(|o| o.split_once("://")), text(HOST)) {
        (Some((_, origin)), Some(host)) => origin == host,
        _ => false,
    }
}

/// Who makes a request, for what is kept of it.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// One with an API token.
    Token,
    /// A browser that is logged in.
    Session,
}

impl Actor {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Session => "session",
        }
    }
}

/// Lets a request through when it carries a good token or session.
pub async fn require(State(state): State<ApiState>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let headers = request.headers();
    let (actor, allowed) = if let Some(token) = bearer(headers) {
        (Actor::Token, state.store().token_is_good(token, TokenKind::Api).await?)
    } else if let Some(token) = session(headers) {
        let ours = from_our_page(request.method(), headers);
        (Actor::Session, ours && state.store().token_is_good(token, TokenKind::Session).await?)
    } else {
        return Err(ApiError::unauthorized());
    };
    if !allowed {
        return Err(ApiError::unauthorized());
    }
    request.extensions_mut().insert(actor);
    Ok(next.run(request).await)
}

/// The token of a login link.
#[derive(Deserialize)]
pub struct Login {
    #[serde(default)]
    token: String,
}

/// A page of one paragraph, for a person who followed a link.
fn page(head: &str, text: &str) -> axum::response::Html<String> {
    axum::response::Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>AstroCloud</title>\
         <link rel=\"icon\" href=\"data:,\">{head}<p>{text}</p></html>"
    ))
}

/// Turns a login link into a session and leads to the dashboard.
pub async fn login(State(state): State<ApiState>, Query(login): Query<Login>) -> Result<Response, ApiError> {
    if !state.store().redeem_token(&login.token, TokenKind::Login).await? {
        let text =
            "This login link was used already or is too old. <code>astrocloud login-link</code> prints a new one.";
        return Ok((StatusCode::UNAUTHORIZED, page("", text)).into_response());
    }
    let session = Secret::random("ses_");
    let expires = Timestamp::now().after(SESSION_LIFETIME);
    state.store().add_token(&session, TokenKind::Session, Some(expires)).await?;
    let cookie = format!(
        "{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}",
        session.reveal(),
        SESSION_LIFETIME.as_secs()
    );
    // A page of our own, not a redirect: a strict cookie is not sent on a navigation that began elsewhere.
    let head = "<meta http-equiv=\"refresh\" content=\"0; url=/\">";
    Ok(([(SET_COOKIE, cookie)], page(head, "<a href=\"/\">Go on to AstroCloud</a>")).into_response())
}

/// Ends a session.
pub async fn logout(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = session(&headers) {
        state.store().redeem_token(token, TokenKind::Session).await?;
    }
    let gone = format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::SEE_OTHER, [(SET_COOKIE, gone), (LOCATION, "/".to_owned())]).into_response())
}

/// Whether a part of the platform shows its token.
pub fn shows(headers: &HeaderMap, token: &Secret) -> bool {
    let given = bearer(headers).unwrap_or_default();
    bool::from(subtle::ConstantTimeEq::ct_eq(given.as_bytes(), token.reveal().as_bytes()))
}

//! The start page, until the dashboards replace it: three files, built into the program.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;

use super::State;

/// Everything comes from here; nothing is inline but the empty icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn router() -> Router<State> {
    let file = |media_type: &'static str, text: &'static str| {
        let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, media_type), (CONTENT_SECURITY_POLICY, POLICY)];
        get(move || async move { (headers, text) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("../../../dashboards/start/index.html")))
        .route("/start.css", file("text/css; charset=utf-8", include_str!("../../../dashboards/start/start.css")))
        .route("/start.js", file("text/javascript; charset=utf-8", include_str!("../../../dashboards/start/start.js")))
}

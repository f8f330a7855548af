//! The start page, until the dashboards replace it: three files, built into the program.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;

use super::State;

/// Everything comes from here, but archives may go to `uploads`; nothing is inline but the empty icon.
fn policy(uploads: Option<&str>) -> String {
    let uploads = uploads.map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{uploads}; img-src data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// The page, which may send archives to the object store at `uploads`.
pub(super) fn router(uploads: Option<String>) -> Router<State> {
    let policy = policy(uploads.as_deref());
    let file = |media_type: &'static str, text: &'static str| {
        let headers: [(HeaderName, String); 2] =
            [(CONTENT_TYPE, media_type.to_owned()), (CONTENT_SECURITY_POLICY, policy.clone())];
        get(move || async move { (headers, text) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("../../../dashboards/start/index.html")))
        .route("/start.css", file("text/css; charset=utf-8", include_str!("../../../dashboards/start/start.css")))
        .route("/start.js", file("text/javascript; charset=utf-8", include_str!("../../../dashboards/start/start.js")))
}

//! Phase: a request has ended. Writes the access log: one event a request, without query and fields,
//! which may hold secrets.

use http::header;
use pingora_proxy::Session;
use tracing::Level;

use super::Ctx;

/// The access log's target.
const ACCESS: &str = "edge::access";
/// Characters of a host name or path that are logged: what is longer is a visitor's mischief.
const MAX_LOGGED: usize = 512;

pub(super) fn logging(session: &Session, ctx: &Ctx) {
    if !tracing::enabled!(target: ACCESS, Level::INFO) {
        return;
    }
    let request = session.req_header();
    let route = ctx.entry.as_ref().map(|e| &e.route);
    let named = || request.headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let host = route.map(|r| r.host.as_str()).or_else(named).unwrap_or_default();
    tracing::info!(
        target: ACCESS,
        host = cut(host),
        project = route.map(|r| r.project.as_str()),
        deployment = route.map(|r| r.deployment.as_str()),
        method = request.method.as_str(),
        path = cut(request.uri.path()),
        status = session.response_written().map(|r| r.status.as_u16()),
        bytes = session.body_bytes_sent(),
        duration_ms = ctx.started.elapsed().as_secs_f64() * 1000.0,
    );
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LOGGED)]
}

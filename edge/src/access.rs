//! Tells of a request that has ended: the operator's access log, metrics, usage and traces, and the platform's own
//! log where its reader asked for requests.

use observe::{Observer, Record};
use tracing::Level;

/// The target of requests in the platform's own log.
const ACCESS: &str = "edge::access";
/// Bytes of a host name or path that are logged there: what is longer is a visitor's mischief.
const MAX_LOGGED: usize = 512;

/// Whether anybody is told more of a request than what is counted: which one it was.
pub(crate) fn names(observer: &Observer) -> bool {
    observer.needs_trace() || tracing::enabled!(target: ACCESS, Level::INFO)
}

/// Tells of a request.
pub(crate) fn tell(observer: &Observer, record: &Record<'_>) {
    observer.record(record);
    if tracing::enabled!(target: ACCESS, Level::INFO) {
        tracing::info!(
            target: ACCESS,
            request = Some(record.request_id).filter(|id| !id.is_empty()),
            client = record.client.map(tracing::field::display),
            tls = record.tls,
            host = cut(record.host),
            project = record.project,
            deployment = record.deployment,
            method = record.method,
            path = cut(record.path),
            status = record.status,
            bytes = record.bytes_out,
            duration_ms = record.duration.as_secs_f64() * 1000.0,
        );
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LOGGED)]
}

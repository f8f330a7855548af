//! Requests whose target two servers in a row may read differently. Whoever can make them differ reaches another
//! visitor's answer, so what is in doubt is refused, and its connection closed.
//!
//! Over HTTP/1 the connection's own reading, [`wire::parse`], has refused these and all that is unclear in a head or a
//! body before; HTTP/2 frames bodies and fields by itself.

use http::Method;
use pingora_http::RequestHeader;

use super::{Request, visitor};
use crate::page::Page;

const CONNECTION: Page = Page::BadRequest("The connection claims a field that is not its own.");
const TARGET: Page = Page::BadRequest("The address is neither a path nor a whole URL.");

/// Refuses what Pingora accepts and another server may read otherwise.
pub(super) fn refuse(request: &Request<'_>) -> Result<(), Page> {
    // Whoever passes the request on would take away what apps rely on (RFC 9110 section 7.6.1).
    let is_ours = |name: &[u8]| name.eq_ignore_ascii_case(b"host") || visitor::is_claim(name);
    if request.named_by_connection().any(is_ours) {
        return Err(CONNECTION);
    }
    if request.is_usual() || is_clear_target(request.header()) { Ok(()) } else { Err(TARGET) }
}

/// Whether the target is a path, a whole URL, or the `*` of `OPTIONS` (RFC 9112 section 3.2).
fn is_clear_target(request: &RequestHeader) -> bool {
    let raw = request.raw_path();
    let is_url = |scheme: &[u8]| raw.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    raw.starts_with(b"/")
        || is_url(b"http://")
        || is_url(b"https://")
        || (raw == b"*" && request.method == Method::OPTIONS)
}

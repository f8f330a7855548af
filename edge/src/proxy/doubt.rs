//! Requests that two servers in a row may read differently: where one ends, or what it is for. Whoever can make
//! them differ reaches another visitor's answer, so what is in doubt is refused, and its connection closed.

use http::{HeaderMap, Method, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::page::Page;

const FRAMING: Page = Page::BadRequest("The request does not say clearly where its body ends.");
const LINES: Page = Page::BadRequest("The lines of the request's head do not all end with CR LF.");
const TARGET: Page = Page::BadRequest("The address is neither a path nor a whole URL.");

/// Refuses what Pingora accepts and another server may read otherwise.
pub(super) fn refuse(session: &Session) -> Result<(), Page> {
    let request = session.req_header();
    if !is_clear_target(request) {
        return Err(TARGET);
    }
    // HTTP/2 frames bodies and fields by itself.
    let Some(http1) = session.as_downstream().as_http1() else { return Ok(()) };
    let head = http1.get_headers_raw_bytes();
    if has_bare_line_feed(&head) {
        return Err(LINES);
    }
    if is_clear_framing(&request.headers, &head) { Ok(()) } else { Err(FRAMING) }
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

fn has_bare_line_feed(head: &[u8]) -> bool {
    // Every piece but the last ended with a line feed.
    let mut lines = head.split(|b| *b == b'\n');
    lines.next_back();
    lines.any(|line| !line.ends_with(b"\r"))
}

/// Whether the body's end is given once, in a way that everybody reads alike (RFC 9112 section 6.3).
fn is_clear_framing(headers: &HeaderMap, head: &[u8]) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => true,
        (None, Some(length)) => lengths.next().is_none() && length.as_bytes().iter().all(u8::is_ascii_digit),
        // Pingora takes the length away where there is a coding, so it is looked for in what was sent.
        (Some(coding), _) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none() && !names_length(head)
        }
    }
}

fn names_length(head: &[u8]) -> bool {
    let name = header::CONTENT_LENGTH.as_str().as_bytes();
    head.split(|b| *b == b'\n').any(|line| line.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_feed_stands_only_after_a_carriage_return() {
        for (head, bare) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], false),
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", true),
            (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", true),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", true),
            (b"\nGET / HTTP/1.1\r\n\r\n", true),
            (b"", false),
        ] {
            assert_eq!(has_bare_line_feed(head), bare, "{}", head.escape_ascii());
        }
    }
}

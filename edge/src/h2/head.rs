//! What the heads of requests must be, beyond what the protocol's own reading refuses (RFC 9113 section 8.1.1: fields
//! of a connection, pseudo-fields out of place, bodies longer or shorter than they say).

use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is malformed (RFC 9113 section 8.1.1): the stream is reset.
    Stream,
    /// It is refused with this status.
    Request(StatusCode),
}

/// Refuses what an app over HTTP/1 could read otherwise, as [`wire::parse`] does for HTTP/1. Names the site in `Host`
/// where an app needs it.
pub(super) fn check(head: &mut Parts, limits: &wire::Limits) -> Result<(), Wrong> {
    const BAD: Wrong = Wrong::Request(StatusCode::BAD_REQUEST);
    if head.headers.len() > limits.fields {
        return Err(Wrong::Request(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    let path = head.uri.path_and_query().map_or("", |p| p.as_str());
    if path.len() > limits.line {
        return Err(Wrong::Request(StatusCode::URI_TOO_LONG));
    }
    if path.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(Wrong::Stream);
    }
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    let is_number = |l: &HeaderValue| !l.is_empty() && l.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some_and(|l| !is_number(l)) || lengths.next().is_some() {
        return Err(Wrong::Stream);
    }
    let is_websocket = is_websocket(head);
    if head.method == Method::CONNECT && !is_websocket {
        return Err(Wrong::Request(StatusCode::NOT_IMPLEMENTED));
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let named = match (head.uri.authority(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) | (None, None, _) => return Err(BAD),
        (Some(authority), Some(host), None) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            return Err(BAD);
        }
        (Some(authority), _, None) if authority.as_str().contains('@') => return Err(BAD),
        (Some(authority), None, None) => Some(authority.as_str()),
        (_, Some(_), None) => None,
    };
    if let Some(host) = named.filter(|_| is_websocket) {
        let host = HeaderValue::from_str(host).map_err(|_| BAD)?;
        head.headers.insert(header::HOST, host);
    }
    join_cookies(&mut head.headers);
    Ok(())
}

/// Whether a request opens a WebSocket over its stream (RFC 8441 section 4).
pub(super) fn is_websocket(head: &Parts) -> bool {
    head.extensions.get::<Protocol>().is_some_and(|p| p.as_str() == "websocket")
}

/// Cookies may come in several fields over HTTP/2 and are one over HTTP/1 (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::Request;

    use super::*;

    fn read(uri: &str, fields: &[(&str, &str)]) -> (Result<(), Wrong>, Parts) {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        (check(&mut head, &wire::Limits { fields: 4, line: 20, ..wire::Limits::default() }), head)
    }

    #[test]
    fn what_two_servers_may_read_differently_is_refused() {
        let status = |code| Err(Wrong::Request(StatusCode::from_u16(code).unwrap()));
        for (uri, fields, expected) in [
            ("http://a.test/", &[][..], Ok(())),
            ("http://a.test/", &[("host", "A.test")], Ok(())),
            ("http://a.test/", &[("host", "b.test")], status(400)),
            ("http://a.test/", &[("host", "a.test"), ("host", "a.test")], status(400)),
            ("http://user@a.test/", &[], status(400)),
            ("http://user@a.test/", &[("host", "user@a.test")], status(400)),
            ("/", &[], status(400)),
            ("/", &[("host", "a.test")], Ok(())),
            ("http://a.test/twenty-one-characters", &[], status(414)),
            ("http://a.test/", &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")], status(431)),
            ("http://a.test/", &[("content-length", "5")], Ok(())),
            ("http://a.test/", &[("content-length", "+5")], Err(Wrong::Stream)),
            ("http://a.test/", &[("content-length", "5, 5")], Err(Wrong::Stream)),
            ("http://a.test/", &[("content-length", "5"), ("content-length", "5")], Err(Wrong::Stream)),
        ] {
            assert_eq!(read(uri, fields).0, expected, "{uri} {fields:?}");
        }
    }

    #[test]
    fn cookies_are_one_field() {
        let (result, head) = read("http://a.test/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        assert_eq!(result, Ok(()));
        let cookies: Vec<_> = head.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }
}

//! Fields that concern one connection alone (RFC 9110 section 7.6.1), and so are not passed on.

use http::{HeaderMap, HeaderName, StatusCode, header};
use pingora_http::{RequestHeader, ResponseHeader};

/// The fields that a value of `Connection` names.
pub(super) fn named(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty())
}

/// The fields that `Connection` names.
pub(super) fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    values.flat_map(|v| named(v.as_bytes())).filter_map(|name| HeaderName::from_bytes(name).ok())
}

/// Whether a visitor's field concerns its connection, whether `Connection` names it or not.
pub(super) fn is_visitors(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // By length, because every field of every request comes by here.
    match name.len() {
        2 => is(b"te"),
        7 => is(b"upgrade") || is(b"trailer"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"http2-settings"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        18 => is(b"proxy-authenticate"),
        19 => is(b"proxy-authorization"),
        _ => false,
    }
}

/// Whether a visitor's field stays whatever `Connection` names: without it the request would be another one.
pub(super) fn stays(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host") || name.eq_ignore_ascii_case(b"content-length")
}

/// Takes away the fields that belong to the visitor's connection.
pub(super) fn remove_visitors(request: &mut RequestHeader) {
    let named = named_by_connection(&request.headers);
    let mut gone: Vec<HeaderName> = named.filter(|name| !stays(name.as_str().as_bytes())).collect();
    gone.extend(request.headers.keys().filter(|name| is_visitors(name.as_str().as_bytes())).cloned());
    for name in &gone {
        request.remove_header(name);
    }
}

/// Whether an app's field concerns its connection. What frames the body is looked at elsewhere.
pub(super) fn is_apps(name: &[u8], status: StatusCode) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 => is(b"te"),
        // 426 must say what is required (RFC 9110 section 15.5.22), and the edge would pass a wish for it on.
        7 => is(b"upgrade") && !matches!(status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED),
        10 => is(b"keep-alive") || (is(b"connection") && status != StatusCode::SWITCHING_PROTOCOLS),
        16 => is(b"proxy-connection"),
        18 => is(b"proxy-authenticate"),
        _ => false,
    }
}

/// Whether an app's `Connection` takes a field away by naming it: not one that says where the body ends, nor one that
/// [`is_apps`] decides about.
pub(super) fn may_name(name: &[u8]) -> bool {
    let stays: [&[u8]; 4] = [b"transfer-encoding", b"content-length", b"connection", b"upgrade"];
    !stays.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Takes away the fields that belong to the app's connection.
pub(super) fn remove_apps(response: &mut ResponseHeader) {
    let named = named_by_connection(&response.headers);
    let mut gone: Vec<HeaderName> = named.filter(|name| may_name(name.as_str().as_bytes())).collect();
    let status = response.status;
    gone.extend(response.headers.keys().filter(|name| is_apps(name.as_str().as_bytes(), status)).cloned());
    for name in &gone {
        response.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_concerned_the_apps_connection_is_not_passed_on() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "X-Secret, keep-alive, content-length"),
            ("connection", "close"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("x-kept", "1"),
        ] {
            response.append_header(name, value).unwrap();
        }
        remove_apps(&mut response);
        let left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-length", "x-kept"]);
    }
}

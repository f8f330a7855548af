//! Which host a request is for.

use std::borrow::Cow;

use http::{Version, header};
use pingora_http::RequestHeader;

/// The host name of a request: lower case, without port and trailing dot. `None` when it names none or
/// none that can exist.
pub(crate) fn of(request: &RequestHeader) -> Option<Cow<'_, str>> {
    // Pingora has refused requests with several hosts and those whose target names another.
    let text = match request.headers.get(header::HOST) {
        Some(value) => value.to_str().ok()?,
        None if request.version == Version::HTTP_2 => request.uri.authority()?.as_str(),
        None => return None,
    };
    normalized(text)
}

/// The host name that a `Host` field names.
pub(crate) fn normalized(text: &str) -> Option<Cow<'_, str>> {
    // What most visitors write stands as it is.
    let is_usual = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    if !text.is_empty() && text.bytes().all(is_usual) && !text.ends_with('.') {
        return Some(Cow::Borrowed(text));
    }
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')? + 1;
        text.split_at(end)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let port_is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(|port| wire::is_port(port.as_bytes()));
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    if !port_is_fine || host.is_empty() || !host.bytes().all(is_host_byte) {
        return None;
    }
    if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Some(Cow::Owned(host.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_case_port_and_trailing_dot() {
        for (given, expected) in [
            ("blog.localhost", Some("blog.localhost")),
            ("Blog.LocalHost:8080", Some("blog.localhost")),
            ("blog.localhost.", Some("blog.localhost")),
            ("blog.localhost.:80", Some("blog.localhost")),
            ("blog.localhost:", Some("blog.localhost")),
            ("[::1]:8080", Some("[::1]")),
            ("127.0.0.1:8080", Some("127.0.0.1")),
            ("", None),
            (".", None),
            (":80", None),
            ("a:b", None),
            ("a:65535", Some("a")),
            ("a:65536", None),
            ("a:123456", None),
            ("::1", None),
            ("[::1", None),
            ("a b", None),
            ("a/b", None),
            ("ä.localhost", None),
        ] {
            assert_eq!(normalized(given).as_deref(), expected, "{given}");
        }
    }
}

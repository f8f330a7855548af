//! Wishes of visitors for another protocol (RFC 9110 section 7.8).

use http::Version;

use super::Request;

/// Whether the app may be asked for what this request wishes. HTTP is none that a visitor may speak with it: no request
/// after the first would pass the edge's rules.
pub(super) fn may_pass(request: &Request<'_>) -> bool {
    if request.version() != Version::HTTP_11 || !request.named_by_connection().any(is_upgrade) {
        return false;
    }
    let (mut wishes, mut names_http) = (false, false);
    request.each_field(|name, value| {
        if is_upgrade(name) {
            wishes = true;
            names_http |= value.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(is_http);
        }
    });
    wishes && !names_http
}

/// Whether a field is `Upgrade`.
pub(super) fn is_upgrade(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"upgrade")
}

fn is_http(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c") || protocol.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"http"))
}

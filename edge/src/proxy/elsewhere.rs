//! Hosts that only lead to another one, as `www.example.com` to `example.com`: the path and the query stay.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::visitor::Scheme;
use super::{Ctx, Request, kept};
use crate::answer::{self, Reply};
use crate::page::Page;
use crate::routes::Entry;

/// The redirect of a request for such a host. It stays with the visitor's scheme and port: whether the other host wants
/// HTTPS is its own affair.
pub(super) fn lead(request: &Request<'_>, ctx: &Ctx, entry: &Entry, to: &str, status: u16) -> Reply {
    let request = request.header();
    let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let Some(location) = location(ctx.scheme, to, kept::port(request), path) else {
        return Page::Internal.reply(request, Some(entry));
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    let mut head = answer::head(status, Some(entry));
    head.headers.insert(header::LOCATION, location);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Reply::new(head, Bytes::new())
}

fn location(scheme: Scheme, host: &str, port: Option<u16>, path: &str) -> Option<HeaderValue> {
    let path = if path.starts_with('/') { path } else { "/" };
    let scheme_text = scheme.as_str();
    let url = match port.filter(|port| *port != scheme.port()) {
        Some(port) => format!("{scheme_text}://{host}:{port}{path}"),
        None => format!("{scheme_text}://{host}{path}"),
    };
    HeaderValue::try_from(url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_the_address_changes() {
        for (scheme, port, path, expected) in [
            (Scheme::Https, None, "/a?b=%20", "https://a.example/a?b=%20"),
            (Scheme::Https, Some(443), "/", "https://a.example/"),
            (Scheme::Http, Some(8080), "//b.example/", "http://a.example:8080//b.example/"),
            (Scheme::Http, Some(443), "*", "http://a.example:443/"),
        ] {
            assert_eq!(
                location(scheme, "a.example", port, path).as_ref(),
                HeaderValue::from_str(expected).as_ref().ok()
            );
        }
    }
}

//! Leads visitors of plain HTTP to the same address over HTTPS, where the project wishes so.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::visitor::Scheme;
use super::{Ctx, Proxy, Request};
use crate::answer::{self, Reply};
use crate::routes::Entry;

/// The port that an address with `https` leaves out.
const USUAL_PORT: u16 = 443;

/// The redirect of a request that is to have one.
pub(super) fn redirect(proxy: &Proxy, request: &Request<'_>, ctx: &Ctx, entry: &Entry) -> Option<Reply> {
    let host = &entry.route.host;
    if ctx.scheme == Scheme::Https || !entry.route.policy.https.redirect {
        return None;
    }
    // Without a certificate the visitor would only be led to an error.
    proxy.routes.now().certificate(host)?;
    let path = request.header().uri.path_and_query().map_or("/", |p| p.as_str());
    let location = location(host, proxy.front.https_port, path)?;
    // 308 keeps the method and the body (RFC 9110 section 15.4.9).
    let mut head = answer::head(StatusCode::PERMANENT_REDIRECT, Some(entry));
    head.headers.insert(header::LOCATION, location);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Some(Reply::new(head, Bytes::new()))
}

fn location(host: &str, port: Option<u16>, path: &str) -> Option<HeaderValue> {
    let path = if path.starts_with('/') { path } else { "/" };
    let url = match port.filter(|p| *p != USUAL_PORT) {
        Some(port) => format!("https://{host}:{port}{path}"),
        None => format!("https://{host}{path}"),
    };
    HeaderValue::try_from(url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_over_https_is_the_same_but_for_scheme_and_port() {
        for (port, path, expected) in [
            (None, "/a?b=%20", "https://a.example/a?b=%20"),
            (Some(443), "/", "https://a.example/"),
            (Some(8443), "//b.example/", "https://a.example:8443//b.example/"),
            (None, "*", "https://a.example/"),
        ] {
            assert_eq!(location("a.example", port, path).as_ref(), HeaderValue::from_str(expected).as_ref().ok());
        }
    }
}

//! Phase: the request's head as the app gets it. The app may trust what these fields say of the visitor,
//! because whatever a stranger wrote there was taken away (see `visitor`). Pingora has removed what concerns the
//! visitor's connection alone: the hop-by-hop fields (RFC 9110 section 7.6.1), and those that `Connection` names.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

use super::upstream_response_filter::named_by_connection;
use super::visitor::{FOR, HOST, PORT, REAL_IP};
use super::{Ctx, trace};
use crate::transport::Peer;

/// Fields that concern one connection (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Takes away the fields that belong to the visitor's connection, as Pingora does on its way.
pub(super) fn remove_hop_by_hop(request: &mut RequestHeader) {
    let named = named_by_connection(&request.headers);
    let mut gone: Vec<HeaderName> = named.filter(|name| !KEPT.contains(name)).collect();
    gone.extend(request.headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned());
    for name in &gone {
        request.remove_header(name);
    }
}

/// Fields that stay whatever `Connection` names: without them the request would be another one.
const KEPT: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

pub(super) fn upstream_request_filter(peer: &Peer, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let mut told = Vec::with_capacity(TOLD);
    tell(peer, request, ctx, |name, value| told.push((name, value)))?;
    for (name, value) in told {
        request.insert_header(name, value)?;
    }
    adjust(request, ctx)
}

/// Fields that an app is told.
const TOLD: usize = 7;

/// What the app is told of the visitor, beside what `visitor` has put in the request already. Each replaces what the
/// request may have of that name; only `Host` is left out where it has one.
pub(super) fn tell(
    peer: &Peer,
    request: &RequestHeader,
    ctx: &Ctx,
    mut put: impl FnMut(HeaderName, HeaderValue),
) -> Result<()> {
    let named = request.headers.get(header::HOST).cloned();
    let has_host = named.is_some();
    let authority = || request.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
    let host = named.or_else(authority);
    if let Some(client) = ctx.client {
        let neighbour = Some(peer.address.ip().to_canonical()).filter(|ip| *ip != client);
        let proxies = || ctx.proxies.iter().copied().chain(neighbour);
        let text = |text: String| HeaderValue::try_from(text).map_err(|e| invalid("the visitor's address", e));
        let mut forwarded_for = client.to_string();
        let host = host.as_ref().and_then(|h| h.to_str().ok()).filter(|h| is_plain(h));
        let mut forwarded = element(client);
        if let Some(host) = host {
            // Writing to a string can't fail.
            let _ = write!(forwarded, ";host=\"{host}\"");
        }
        let _ = write!(forwarded, ";proto={}", ctx.scheme.as_str());
        let real_ip = text(forwarded_for.clone())?;
        for proxy in proxies() {
            let _ = write!(forwarded_for, ", {proxy}");
            let _ = write!(forwarded, ", {}", element(proxy));
        }
        put(REAL_IP, real_ip);
        put(FOR, text(forwarded_for)?);
        put(header::FORWARDED, text(forwarded)?);
    }
    if let Some(host) = host {
        let port = port(host.as_bytes()).unwrap_or_else(|| ctx.scheme.port());
        put(PORT, HeaderValue::from(port));
        if !has_host {
            // Over HTTP/2 it was in the target alone, of which only the path is kept.
            put(header::HOST, host.clone());
        }
        put(HOST, host);
    }
    if let Some(field) = ctx.trace.field() {
        put(trace::PARENT, field);
    }
    Ok(())
}

/// Takes from the request what the app is not to see as it came.
pub(super) fn adjust(request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    if ctx.trace.parent.is_none() {
        request.remove_header(&trace::STATE);
    }
    // An app expects the origin form (RFC 9112 section 3.2.1).
    let is_origin_form = request.uri.authority().is_none() && request.raw_path().starts_with(b"/");
    let path = request.uri.path_and_query().filter(|_| !is_origin_form).map(|p| p.as_str().as_bytes().to_vec());
    if let Some(path) = path {
        request.set_raw_path(&path)?;
    }
    Ok(())
}

/// Asks for the other protocol that the visitor asks for. Pingora passes only WebSocket on.
pub(super) fn pass_upgrade(asked: &RequestHeader, request: &mut RequestHeader) -> Result<()> {
    if request.version != Version::HTTP_11 {
        return Ok(());
    }
    // `request_filter` has left only what may be passed on.
    request.remove_header(&header::UPGRADE);
    for wish in asked.headers.get_all(header::UPGRADE) {
        request.insert_header(header::CONNECTION, HeaderValue::from_static("Upgrade"))?;
        request.append_header(header::UPGRADE, wish.clone())?;
    }
    Ok(())
}

/// Says to an app over HTTP/2 that trailers are taken, if the visitor does: a server of gRPC takes whoever does not for
/// unfit. The visitor's own word was for the edge alone.
pub(super) fn pass_trailers(asked: &RequestHeader, request: &mut RequestHeader) -> Result<()> {
    let takes_them = |te: &HeaderValue| te.as_bytes().eq_ignore_ascii_case(b"trailers");
    if request.version != Version::HTTP_2 || !asked.headers.get(header::TE).is_some_and(takes_them) {
        return Ok(());
    }
    request.insert_header(header::TE, HeaderValue::from_static("trailers"))
}

fn invalid(what: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Box<Error> {
    Error::because(ErrorType::InternalError, what, error)
}

/// A hop of `Forwarded` (RFC 7239 section 6).
fn element(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    }
}

/// Whether a host can stand in quotes as it is.
fn is_plain(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

pub(super) fn port(host: &[u8]) -> Option<u16> {
    let host = std::str::from_utf8(host).ok()?;
    let (_, port) = host.rsplit_once(':')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_what_stands_after_the_last_colon() {
        for (host, expected) in [
            (&b"a.example:8080"[..], Some(8080)),
            (b"a.example", None),
            (b"[::1]:8443", Some(8443)),
            (b"[::1]", None),
            (b"a.example:", None),
            (b"a.example:70000", None),
        ] {
            assert_eq!(port(host), expected, "{}", host.escape_ascii());
        }
    }
}

//! Phase: the request's head as the app gets it. The app may trust what these fields say of the visitor,
//! because whatever a stranger wrote there was taken away (see `visitor`). Pingora has removed what concerns the
//! visitor's connection alone: the hop-by-hop fields (RFC 9110 section 7.6.1), and those that `Connection` names.

use http::{HeaderName, HeaderValue, Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;

use super::address::Text;
use super::visitor::{self, FOR, HOST, PORT, PROTO, REAL_IP};
use super::{Ctx, Request, hop_by_hop, trace};
use crate::answer::REQUEST_ID;
use crate::transport::Peer;

/// Whether a visitor's field goes on to the app as it is. What `Connection` names is looked at elsewhere.
pub(super) fn passes(name: &[u8], ctx: &Ctx) -> bool {
    // The app is told these by `tell`.
    let is_told = visitor::is_claim(name) || is(name, &trace::PARENT);
    // Nobody's, where it belongs to no trace.
    let is_stray = ctx.trace.parent.is_none() && is(name, &trace::STATE);
    !(is_told || is_stray || hop_by_hop::is_visitors(name))
}

fn is(name: &[u8], known: &HeaderName) -> bool {
    name.eq_ignore_ascii_case(known.as_str().as_bytes())
}

pub(super) fn upstream_request_filter(peer: &Peer, request: &mut RequestHeader, ctx: &Ctx) -> Result<()> {
    let mut told = Vec::with_capacity(TOLD);
    tell(peer, Request::from(&mut *request).authority(), ctx, |name, value| told.push((name, value.concat())));
    for (name, value) in told {
        request.insert_header(name, value)?;
    }
    if ctx.trace.parent.is_none() {
        request.remove_header(&trace::STATE);
    }
    // An app expects the origin form (RFC 9112 section 3.2.1).
    let target = Request::from(&mut *request).target().to_vec();
    if target != request.raw_path() {
        request.set_raw_path(&target)?;
    }
    Ok(())
}

/// Fields that an app is told.
const TOLD: usize = 9;

/// What the app is told of the visitor, of whom `authority` says by which host it came, and whether by `Host`. Each
/// replaces what the request may have of that name. Values come in parts, because every request of an app comes by
/// here.
pub(super) fn tell(
    peer: &Peer,
    (host, has_host): (Option<&str>, bool),
    ctx: &Ctx,
    mut put: impl FnMut(HeaderName, &[&[u8]]),
) {
    let (scheme, host) = (ctx.scheme.as_str().as_bytes(), host.map(str::as_bytes));
    put(REQUEST_ID, &[ctx.request_id.as_bytes()]);
    put(PROTO, &[scheme]);
    if let Some(client) = ctx.client {
        let neighbour = Some(peer.address.ip().to_canonical()).filter(|ip| *ip != client);
        let (mut addresses, mut hops) = (Vec::new(), Vec::new());
        // The trusted proxies, from the visitor on.
        for proxy in ctx.proxies.iter().copied().chain(neighbour) {
            let proxy = Text::of(proxy);
            [&b", "[..], proxy.as_bytes()].into_iter().for_each(|part| addresses.extend_from_slice(part));
            [&b", "[..]].into_iter().chain(node(proxy.as_bytes())).for_each(|part| hops.extend_from_slice(part));
        }
        let client = Text::of(client);
        let client = client.as_bytes();
        put(REAL_IP, &[client]);
        put(FOR, &[client, &addresses]);
        let [open, client, close] = node(client);
        let by_host = host.filter(|host| is_plain(host)).map(|host| [&b";host=\""[..], host, b"\""]);
        let [before, by_host, after] = by_host.unwrap_or_default();
        put(header::FORWARDED, &[open, client, close, before, by_host, after, b";proto=", scheme, &hops]);
    }
    if let Some(host) = host {
        match port(host).unwrap_or_else(|| ctx.scheme.port()) {
            80 => put(PORT, &[b"80"]),
            443 => put(PORT, &[b"443"]),
            other => put(PORT, &[other.to_string().as_bytes()]),
        }
        if !has_host {
            // Over HTTP/2 it was in the target alone, of which only the path is kept.
            put(header::HOST, &[host]);
        }
        put(HOST, &[host]);
    }
    put(trace::PARENT, &[&ctx.trace.text()]);
}

/// A hop of `Forwarded` (RFC 7239 sections 4 and 6).
fn node(address: &[u8]) -> [&[u8]; 3] {
    // Of the two kinds of addresses, only the longer has colons.
    if address.contains(&b':') { [b"for=\"[", address, b"]\""] } else { [b"for=", address, b""] }
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

/// Whether a host can stand in quotes as it is.
fn is_plain(host: &[u8]) -> bool {
    host.iter().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

pub(super) fn port(host: &[u8]) -> Option<u16> {
    let colon = memchr::memrchr(b':', host)?;
    std::str::from_utf8(&host[colon + 1..]).ok()?.parse().ok()
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

//! Who asks, and under which ids the request is known.
//!
//! What a visitor says of itself is believed only of the proxies that the operator trusts. Everything that other
//! visitors wrote into those fields is taken away here, before anything else looks at the request.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use pingora_http::RequestHeader;

use super::trace::{self, Trace};
use super::{Ctx, Proxy, Request};
use crate::answer::REQUEST_ID;
use crate::request_id::RequestId;
use crate::transport::Peer;

const PREFIX: &str = "x-forwarded-";
/// No field of HTTP, but one that CGI turns into `HTTP_PROXY`, by which many clients choose their proxy
/// (CVE-2016-5385).
const CGI_PROXY: &[u8] = b"proxy";
pub(super) const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Longest id of a request that is taken from a trusted proxy, in characters: any scheme's ids are shorter.
const MAX_ID: usize = 128;
/// Most proxies in a row that are looked through to find the visitor.
const MAX_HOPS: usize = 16;

/// How a visitor's address begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In plain.
    #[default]
    Http,
    /// Over TLS, here or at a trusted proxy.
    Https,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Finds out who asks, gives the request its ids, and takes away what only a trusted proxy may say.
pub(super) fn introduce(proxy: &Proxy, request: &mut Request<'_>, peer: &Peer, ctx: &mut Ctx) {
    let neighbour = peer.address.ip().to_canonical();
    let is_trusted = is_trusted(&proxy.front.trusted_proxies, neighbour);

    ctx.scheme = if peer.tls.is_some() { Scheme::Https } else { Scheme::Http };
    ctx.client = Some(neighbour);
    let mut accepted = None;
    if is_trusted {
        let headers = &request.header().headers;
        let told = headers.get(&PROTO).map(HeaderValue::as_bytes);
        ctx.scheme = match told {
            Some(told) if told.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(told) if told.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => ctx.scheme,
        };
        (ctx.client, ctx.proxies) = through(&proxy.front.trusted_proxies, headers, neighbour);
        accepted = headers.get(&REQUEST_ID).filter(|id| is_id(id.as_bytes())).cloned();
    }
    ctx.request_id = accepted.unwrap_or_else(|| RequestId::generate().field());
    ctx.trace = Trace::of(request.traceparents(), is_trusted, &proxy.observer);
    request.introduce(&ctx.request_id, ctx.scheme);
}

/// Takes away what the visitor claims, and puts two fields in its place at which those look who make the edge's own
/// answers, and know nothing but the request.
pub(super) fn replace_claims(request: &mut RequestHeader, id: &HeaderValue, scheme: Scheme) {
    remove_claims(request);
    // Both are valid fields, so this can't fail.
    let _ = request.insert_header(REQUEST_ID, id.clone());
    let _ = request.insert_header(PROTO, HeaderValue::from_static(scheme.as_str()));
}

/// Whether the visitor of this request has come over TLS. True only after [`introduce`].
pub(crate) fn is_secure(request: &RequestHeader) -> bool {
    request.headers.get(&PROTO).is_some_and(|p| p == Scheme::Https.as_str())
}

fn remove_claims(request: &mut RequestHeader) {
    // Mostly there are none, and nothing is collected.
    let claims: Vec<HeaderName> = request.headers.keys().filter(|n| is_claim(n.as_str().as_bytes())).cloned().collect();
    for name in &claims {
        request.remove_header(name);
    }
    if !request.headers.contains_key(trace::PARENT) {
        request.remove_header(&trace::STATE);
    }
}

/// Whether an app would believe this field of the edge alone, in any spelling that it may read so.
pub(super) fn is_claim(name: &[u8]) -> bool {
    match name.len() {
        // By length, because every field of every request comes by here.
        5 if name.eq_ignore_ascii_case(CGI_PROXY) => true,
        9 if reads_as(name, header::FORWARDED.as_str()) || reads_as(name, REAL_IP.as_str()) => true,
        12 if reads_as(name, REQUEST_ID.as_str()) => true,
        _ => name.get(..PREFIX.len()).is_some_and(|start| reads_as(start, PREFIX)),
    }
}

/// Whether CGI, and what is made like it (WSGI, Rack, PHP), gives an app one name for both: there `-` is `_`.
fn reads_as(name: &[u8], known: &str) -> bool {
    let is_same = |(a, b): (&u8, u8)| a.to_ascii_lowercase() == b || (*a == b'_' && b == b'-');
    name.len() == known.len() && name.iter().zip(known.bytes()).all(is_same)
}

/// Whether an address is that of a proxy which the operator trusts.
pub(crate) fn is_trusted(nets: &[IpNet], address: IpAddr) -> bool {
    nets.iter().any(|net| net.contains(&address))
}

/// The visitor before the trusted proxies: the address furthest to the right in `X-Forwarded-For` that is none of
/// theirs. Also the trusted proxies between, from the visitor on, without the neighbour.
fn through(nets: &[IpNet], headers: &HeaderMap, neighbour: IpAddr) -> (Option<IpAddr>, Vec<IpAddr>) {
    let mut hops = vec![neighbour];
    let values: Vec<&HeaderValue> = headers.get_all(&FOR).iter().collect();
    let items = values.iter().rev().flat_map(|v| v.as_bytes().rsplit(|b| *b == b','));
    for item in items.take(MAX_HOPS) {
        // What is no address was written by nobody who is to be believed, nor is what stands before it.
        let Some(address) = address(item) else { break };
        hops.push(address);
        if !is_trusted(nets, address) {
            break;
        }
    }
    let client = hops.pop();
    hops.reverse();
    hops.pop();
    (client, hops)
}

/// An address as proxies write it: some with a port, some with brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    plain().or_else(with_port).or_else(in_brackets).map(|ip| ip.to_canonical())
}

fn is_id(text: &[u8]) -> bool {
    let is_fine = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b);
    (1..=MAX_ID).contains(&text.len()) && text.iter().all(is_fine)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_visitor_is_the_rightmost_address_that_is_not_trusted() {
        let nets = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (fields, client, proxies) in [
            (&["203.0.113.9"][..], "203.0.113.9", &[][..]),
            (&["6.6.6.6, 203.0.113.9"], "203.0.113.9", &[]),
            (&["6.6.6.6", "203.0.113.9, 10.2.2.2"], "203.0.113.9", &["10.2.2.2"]),
            (&["203.0.113.9,fd00::1 , 10.2.2.2"], "203.0.113.9", &["fd00::1", "10.2.2.2"]),
            (&["[2001:db8::1]:4711"], "2001:db8::1", &[]),
            (&["203.0.113.9:80"], "203.0.113.9", &[]),
            (&["::ffff:203.0.113.9"], "203.0.113.9", &[]),
            (&["10.3.3.3"], "10.3.3.3", &[]),
            (&["6.6.6.6, nonsense, 10.3.3.3"], "10.3.3.3", &[]),
            (&["nonsense"], "10.1.1.1", &[]),
            (&[""], "10.1.1.1", &[]),
            (&[], "10.1.1.1", &[]),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(FOR, field.parse().unwrap());
            }
            let proxies: Vec<IpAddr> = proxies.iter().map(|p| ip(p)).collect();
            assert_eq!(through(&nets, &headers, ip("10.1.1.1")), (Some(ip(client)), proxies), "{fields:?}");
        }
    }

    #[test]
    fn claims_are_known_in_every_spelling_and_nothing_else_is_one() {
        for (name, expected) in [
            ("x-forwarded-for", true),
            ("X_Forwarded_Anything", true),
            ("x-forwarded_", true),
            ("forwarded", true),
            ("x_real-ip", true),
            ("x-request_id", true),
            ("proxy", true),
            ("x-forwarded", false),
            ("x-forwarder-x", false),
            ("x-request-ids", false),
            ("proxy-status", false),
        ] {
            assert_eq!(is_claim(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn ids_of_requests_are_short_and_plain() {
        for good in ["a", "01JABCDEF", "9f1c-77:a/b+c=", &"x".repeat(128)] {
            assert!(is_id(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a\"b", "ä", "a,b", &"x".repeat(129)] {
            assert!(!is_id(bad.as_bytes()), "{bad}");
        }
        assert!(is_id(RequestId::generate().as_bytes()));
    }
}

//! What is told of a request that was answered by the lane: the same as of every other.

use http::request::Parts;
use http::{HeaderValue, header};
use observe::{CacheResult, Observer, Protocol, Record};
use tokio::time::Instant;
use wire::{Head, Method, Version};

use crate::access;
use crate::proxy::trace::{self, Trace};
use crate::request_id::RequestId;
use crate::routes::Entry;
use crate::transport::Peer;

/// What the lane answered.
pub(super) struct Answered<'a> {
    pub(super) entry: &'a Entry,
    pub(super) id: &'a RequestId,
    pub(super) peer: &'a Peer,
    pub(super) status: u16,
    /// Bytes of the answer's body.
    pub(super) sent: usize,
    /// When the request came.
    pub(super) since: Instant,
}

/// Tells of a request; `bytes` begin with its head.
pub(super) fn report(observer: &Observer, answered: &Answered<'_>, head: &Head, bytes: &[u8]) {
    let is_parent = |name: &[u8]| name.eq_ignore_ascii_case(trace::PARENT.as_str().as_bytes());
    let parents = || head.fields(bytes).filter(|(name, _)| is_parent(name)).map(|(_, value)| value);
    tell(
        observer,
        answered,
        Record {
            // No other is answered here.
            method: if head.method == Method::Head { "HEAD" } else { "GET" },
            path: if access::names(observer) { path(head, bytes) } else { "" },
            protocol: if head.version == Version::Http10 { Protocol::Http10 } else { Protocol::Http11 },
            user_agent: if observer.logs() { user_agent(head, bytes) } else { &[] },
            trace: observer.needs_trace().then(|| Trace::of_stranger(parents(), observer).told()).flatten(),
            ..Record::default()
        },
    );
}

/// The same over HTTP/2.
pub(super) fn report_h2(observer: &Observer, answered: &Answered<'_>, head: &Parts) {
    let parents = || head.headers.get_all(trace::PARENT).iter().map(HeaderValue::as_bytes);
    tell(
        observer,
        answered,
        Record {
            method: head.method.as_str(),
            path: head.uri.path(),
            protocol: Protocol::H2,
            user_agent: head.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default(),
            trace: observer.needs_trace().then(|| Trace::of_stranger(parents(), observer).told()).flatten(),
            ..Record::default()
        },
    );
}

fn tell<'a>(observer: &Observer, answered: &Answered<'a>, of_request: Record<'a>) {
    let route = &answered.entry.route;
    let record = Record {
        project: Some(&route.project),
        deployment: Some(route.deployment.as_str()),
        host: &route.host,
        status: Some(answered.status),
        bytes_out: u64::try_from(answered.sent).unwrap_or(u64::MAX),
        duration: answered.since.elapsed(),
        cache: Some(CacheResult::Hit),
        request_id: if access::names(observer) { answered.id.as_str() } else { "" },
        client: Some(answered.peer.address.ip().to_canonical()),
        tls: answered.peer.tls.as_ref().map(|tls| tls.version),
        ..of_request
    };
    access::tell(observer, &record);
}

fn path<'a>(head: &Head, bytes: &'a [u8]) -> &'a str {
    std::str::from_utf8(head.address.of(bytes)).unwrap_or_default()
}

fn user_agent<'a>(head: &Head, bytes: &'a [u8]) -> &'a [u8] {
    let mut fields = head.fields(bytes);
    let named = fields.find(|(name, _)| name.eq_ignore_ascii_case(header::USER_AGENT.as_str().as_bytes()));
    named.map(|(_, value)| value).unwrap_or_default()
}

/// Tells of what was sent as a request and is none; nothing in it can be relied upon.
pub(super) fn refused(observer: &Observer, status: u16, peer: &Peer) {
    let record = Record {
        status: Some(status),
        client: Some(peer.address.ip().to_canonical()),
        tls: peer.tls.as_ref().map(|tls| tls.version),
        refused: Some("malformed"),
        ..Record::default()
    };
    access::tell(observer, &record);
}

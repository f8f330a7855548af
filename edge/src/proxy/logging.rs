//! Phase: a request has ended. Tells of it, without query and fields, which may hold secrets.

use std::net::IpAddr;

use http::Version;
use observe::{CacheResult, Protocol, Record, Upstream};
use pingora_core::{Error, ErrorSource, ErrorType};
use response_cache::{Forward, Status};

use super::{Ctx, Proxy, Request};
use crate::access;
use crate::transport::Peer;

/// What an app says of a kept answer that still holds.
const NOT_MODIFIED: u16 = 304;

/// What passed between the visitor and the edge for one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    /// The answer's status; `None` when none was begun.
    pub(crate) status: Option<u16>,
    /// Bytes of the request's body.
    pub(crate) bytes_in: u64,
    /// Bytes of the answer's body.
    pub(crate) bytes_out: u64,
}

pub(super) fn logging(proxy: &Proxy, request: &Request<'_>, peer: Option<&Peer>, passed: Passed, ctx: &Ctx) {
    let route = ctx.entry.as_ref().map(|e| &e.route);
    let host = route.map(|r| &*r.host).or_else(|| request.authority().0);
    let is_named = access::names(&proxy.observer);
    let record = Record {
        project: route.map(|r| &*r.project),
        deployment: route.map(|r| r.deployment.as_str()),
        host: host.unwrap_or_default(),
        method: request.method().as_str(),
        path: if is_named { request.path() } else { "" },
        status: passed.status,
        bytes_in: passed.bytes_in,
        bytes_out: passed.bytes_out,
        duration: ctx.started.elapsed(),
        first_byte: ctx.first_byte.map(|at| at.saturating_duration_since(ctx.started)),
        cache: ctx.cached.map(cache_result),
        upstream: ctx.upstream,
        request_id: if is_named { ctx.request_id.to_str().unwrap_or_default() } else { "" },
        trace: ctx.trace.told(),
        client: ctx.client.as_ref().map(IpAddr::to_canonical),
        tls: peer.and_then(|p| p.tls.as_ref()).map(|tls| tls.version),
        protocol: match request.version() {
            Version::HTTP_10 => Protocol::Http10,
            Version::HTTP_2 => Protocol::H2,
            _ => Protocol::Http11,
        },
        user_agent: request.user_agent(),
        rules: if ctx.rules.is_empty() { ctx.permit.rules() } else { &ctx.rules },
        refused: ctx.refused,
    };
    access::tell(&proxy.observer, &record);
}

/// An app's instance did not answer; counts it, and whether another is asked.
pub(super) fn upstream_failed(proxy: &Proxy, error: &Error, is_connecting: bool) {
    use ErrorType::{ConnectTimedout, ReadTimedout, WriteTimedout};

    if !is_connecting && *error.esource() != ErrorSource::Upstream {
        return;
    }
    let metrics = proxy.observer.metrics();
    metrics.upstream(match error.etype() {
        _ if is_connecting => Upstream::ConnectFailed,
        ConnectTimedout | ReadTimedout | WriteTimedout => Upstream::TimedOut,
        _ => Upstream::Broken,
    });
    if error.retry() {
        metrics.upstream(Upstream::Retried);
    }
}

fn cache_result(status: Status) -> CacheResult {
    match status.forward {
        None if status.ttl.is_some_and(|ttl| ttl < 0) => CacheResult::Stale,
        None => CacheResult::Hit,
        Some(Forward::Bypass | Forward::Method) => CacheResult::Bypass,
        Some(Forward::Stale) if status.forward_status == Some(NOT_MODIFIED) => CacheResult::Revalidated,
        Some(_) => CacheResult::Miss,
    }
}

pub(super) fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

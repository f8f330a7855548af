//! Phase: how the chosen instance is reached, and another one when it fails.
//!
//! A request is tried again when the app has seen nothing of it, because the instance accepted no connection; or
//! when it is safe to repeat (RFC 9110 section 9.2.2), its body is still at hand, and nothing of an answer has
//! arrived, as far as the project's budget of retries goes. An app that is silent is not asked again: it may be at
//! work, and would have twice as much.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::Upstreams;
use common::policy::AppProtocol;
use pingora_core::protocols::{Digest, TcpKeepalive};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result, RetryType};
use pingora_proxy::Session;
use tokio::time::Instant;

use super::app::Patience;
use super::silence::{Dialer, Watch};
use super::{Ctx, Proxy, app};
use crate::config::Timeouts;

/// Most addresses that one request asks.
pub(crate) const UPSTREAM_TRIES: usize = 3;
/// How a connection whose other end is gone without a word is noticed within two minutes, however long the
/// silence that is allowed on it.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    user_timeout: Duration::ZERO,
};
/// Requests that share one connection to an app that speaks HTTP/2: as many as servers usually allow.
const STREAMS: usize = 100;
/// How often an unused connection over HTTP/2 is asked whether its other end is there.
const PING: Duration = Duration::from_secs(30);
/// Keeps connections that can be shut down from aside apart from the others.
const WATCHED: u64 = 1;

pub(super) fn upstream_peer(proxy: &Proxy, session: &mut Session, ctx: &Ctx) -> Result<Box<HttpPeer>> {
    let (Some(ticket), Some(patience)) = (&ctx.ticket, &ctx.patience) else {
        return Error::e_explain(ErrorType::InternalError, "no upstream was chosen");
    };
    if patience.is_upgrade {
        session.set_read_timeout(Some(patience.silence()));
    }
    Ok(peer(ticket.address(), patience, app::protocol(ctx), &proxy.timeouts))
}

/// How an instance is reached.
pub(super) fn peer(
    address: SocketAddr,
    patience: &Patience,
    protocol: AppProtocol,
    timeouts: &Timeouts,
) -> Box<HttpPeer> {
    let silence = patience.silence();
    let mut peer = Box::new(HttpPeer::new(address, false, String::new()));
    peer.options.connection_timeout = Some(patience.connect);
    peer.options.total_connection_timeout = Some(patience.connect);
    peer.options.read_timeout = Some(silence);
    peer.options.write_timeout = Some(silence);
    peer.options.idle_timeout = Some(timeouts.upstream_idle);
    peer.options.tcp_keepalive = Some(KEEPALIVE);
    if protocol == AppProtocol::H2c {
        peer.options.set_http_version(2, 2);
        // A connection that may be shut down because of one request carries no other.
        peer.options.max_h2_streams = if patience.is_special() { 1 } else { STREAMS };
        peer.options.h2_ping_interval = Some(PING);
    }
    if patience.is_special() {
        peer.group_key = WATCHED;
        peer.options.custom_l4 = Some(Arc::new(Dialer { patience: patience.connect }));
    }
    peer
}

/// The connection is there: watches it, where Pingora can't.
pub(super) fn connected_to_upstream(digest: Option<&Digest>, ctx: &mut Ctx) {
    ctx.watch = match &ctx.patience {
        Some(patience) if patience.is_special() => Watch::start(digest, patience, ctx.started),
        _ => None,
    };
}

/// An address accepted no connection: asks the routes again, which may have changed since, for another.
pub(super) fn fail_to_connect(proxy: &Proxy, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    look_elsewhere(proxy, ctx);
    error.set_retry(ctx.ticket.is_some());
    error
}

/// Makes another instance the one that is asked, if there is one, after one has accepted no connection.
pub(super) fn look_elsewhere(proxy: &Proxy, ctx: &mut Ctx) {
    conclude(ctx, true);
    if let Some(entry) = &ctx.entry {
        let now = proxy.routes.now().find(&entry.route.host).map(Cow::into_owned);
        if let Some(entry) = now
            && let Some(upstreams) = app::upstreams(proxy, &entry)
            && upstreams.has_other(&ctx.failed)
        {
            ctx.entry = Some(entry);
            app::choose(ctx, &upstreams);
        }
    }
}

/// Makes another instance the one that is asked, as far as there is one and the project's budget goes. Returns whether
/// it did.
pub(super) fn try_another(ctx: &mut Ctx, upstreams: &Arc<Upstreams>) -> bool {
    if upstreams.has_other(&ctx.failed) && upstreams.may_retry(Instant::now()) {
        app::choose(ctx, upstreams);
    }
    ctx.ticket.is_some()
}

/// A request failed on its way, or its answer did.
pub(super) fn error_while_proxy(
    session: &Session,
    ctx: &mut Ctx,
    mut error: Box<Error>,
    was_reused: bool,
) -> Box<Error> {
    // HTTP/2 says when a request was not looked at (RFC 9113 section 8.7).
    let is_unseen = !was_reused && matches!(error.retry, RetryType::Decided(true));
    error.set_retry(false);
    if *error.esource() != ErrorSource::Upstream {
        return error;
    }
    let has_begun = session.response_written().is_some();
    // A connection that was kept and is closed when it is used again says nothing about the instance.
    let is_stale = was_reused && !has_begun && is_break(error.etype());
    let fired = ctx.watch.as_ref().is_some_and(Watch::has_fired);
    let Some(ticket) = &ctx.ticket else { return error };
    let upstreams = Arc::clone(ticket.upstreams());
    let is_safe = is_unseen || (session.req_header().method.is_idempotent() && is_break(error.etype()));
    let is_at_hand = !session.as_downstream().retry_buffer_truncated();
    conclude(ctx, !is_stale);
    ctx.watch = None;
    if fired {
        ctx.was_silent = true;
        return error;
    }
    if !has_begun && is_safe && is_at_hand {
        error.set_retry(try_another(ctx, &upstreams));
    }
    error
}

/// Whether the app broke off, rather than being silent or saying what is no HTTP.
fn is_break(error: &ErrorType) -> bool {
    use ErrorType::{ConnectionClosed, H2Error, ReadError, WriteError};
    matches!(error, ConnectionClosed | H2Error | ReadError | WriteError)
}

/// The instance that was asked is done with, because it failed.
pub(super) fn conclude(ctx: &mut Ctx, is_its_fault: bool) {
    if let Some(mut ticket) = ctx.ticket.take()
        && is_its_fault
    {
        ctx.failed.push(ticket.address());
        ticket.failed(Instant::now());
    }
}

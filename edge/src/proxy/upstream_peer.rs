//! Phase: an app's address is chosen, and another one when it accepts no connection.
//!
//! Only that is retried, because the app has seen nothing of the request then. (Pingora also retries
//! idempotent requests when a connection that was kept from an earlier request turns out to be closed.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::route::Target;
use pingora_core::protocols::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use super::{Ctx, Proxy};
use crate::page;

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

/// One of the addresses at random, but none of those that failed.
pub(super) fn choose(upstreams: &[SocketAddr], failed: &[SocketAddr]) -> Option<SocketAddr> {
    let left = || upstreams.iter().filter(|u| !failed.contains(u));
    match left().count() {
        0 => None,
        1 => left().next().copied(),
        many => left().nth(rand::random_range(0..many)).copied(),
    }
}

pub(super) fn upstream_peer(proxy: &Proxy, session: &mut Session, ctx: &Ctx) -> Result<Box<HttpPeer>> {
    let Some(address) = ctx.upstream else {
        return Error::e_explain(ErrorType::InternalError, "no upstream was chosen");
    };
    let timeouts = &proxy.timeouts;
    let is_stream = session.is_upgrade_req() || page::accepts(&session.req_header().headers, b"text/event-stream");
    let silence = if is_stream { timeouts.stream } else { timeouts.upstream };
    if is_stream {
        session.set_read_timeout(Some(silence));
    }
    let mut peer = Box::new(HttpPeer::new(address, false, String::new()));
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(silence);
    peer.options.write_timeout = Some(silence);
    peer.options.idle_timeout = Some(timeouts.upstream_idle);
    peer.options.tcp_keepalive = Some(KEEPALIVE);
    Ok(peer)
}

/// An address accepted no connection: asks the routes again, which may have changed since, for another.
pub(super) fn fail_to_connect(proxy: &Proxy, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
    ctx.failed.extend(ctx.upstream);
    let mut next = None;
    if let Some(entry) = &ctx.entry {
        let now = proxy.routes.now().find(&entry.route.host).cloned();
        if let Some(entry) = now
            && let Target::App { upstreams, .. } = &entry.route.target
        {
            next = choose(upstreams, &ctx.failed);
            if next.is_some() {
                ctx.entry = Some(Arc::clone(&entry));
            }
        }
    }
    error.set_retry(next.is_some());
    // The one that failed stays for the log.
    ctx.upstream = next.or(ctx.upstream);
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_address_is_chosen_and_none_that_failed() {
        let addresses: Vec<SocketAddr> = (1..4).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        for wanted in &addresses {
            assert!((0..10_000).any(|_| choose(&addresses, &[]) == Some(*wanted)));
        }
        for _ in 0..100 {
            assert_eq!(choose(&addresses, &addresses[..2]), Some(addresses[2]));
        }
        assert_eq!(choose(&addresses, &addresses), None);
        assert_eq!(choose(&[], &[]), None);
    }
}

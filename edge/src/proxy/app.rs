//! A request for an app: chooses the instance that is asked, and how long is waited for it.

use std::sync::Arc;
use std::time::Duration;

use balance::{Check, Upstreams};
use common::policy::{AppProtocol, AppTimeouts};
use common::route::Target;
use tokio::time::Instant;

use super::{Ctx, Proxy, Request, wake};
use crate::answer::Reply;
use crate::config::Timeouts;
use crate::page::Page;
use crate::routes::Entry;

/// How long an app is waited for, for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    pub(super) first_byte: Duration,
    pub(super) between_bytes: Duration,
    pub(super) total: Option<Duration>,
    /// Whether it may become a tunnel, on which either side may be silent for long.
    pub(super) is_upgrade: bool,
}

/// Chooses an instance. Returns the answer instead, when there is none.
pub(super) fn prepare(
    proxy: &Proxy,
    request: &Request<'_>,
    is_upgrade: bool,
    ctx: &mut Ctx,
    entry: &Arc<Entry>,
) -> Option<Reply> {
    let Target::App { unavailable, .. } = &entry.route.target else { return None };
    wake::keep_awake(proxy, entry);
    ctx.patience = Some(Patience::of(request, is_upgrade, &entry.route.policy.app.timeouts, &proxy.timeouts));
    if let Some(upstreams) = upstreams(proxy, entry) {
        upstreams.request();
        choose(ctx, &upstreams);
    }
    ctx.ticket.is_none().then(|| Page::Unavailable(unavailable.clone()).reply(request.header(), Some(entry)))
}

/// Makes another instance the one that is asked, if there is one that has not failed for this request.
pub(super) fn choose(ctx: &mut Ctx, upstreams: &Arc<Upstreams>) {
    ctx.ticket = upstreams.pick(Instant::now(), &ctx.failed, rand::random());
    // The one that failed stays for the log.
    ctx.upstream = ctx.ticket.as_ref().map(balance::Ticket::address).or(ctx.upstream);
}

/// The instances of a route's app.
pub(super) fn upstreams(proxy: &Proxy, entry: &Entry) -> Option<Arc<Upstreams>> {
    let Target::App { upstreams, .. } = &entry.route.target else { return None };
    let set = entry.upstreams().get_or_init(|| {
        let app = &entry.route.policy.app;
        let check = app.health.as_ref().map(|health| {
            let interval = Duration::from_millis(health.interval_ms);
            Check::new(&entry.route.host, &health.path, interval, app.protocol)
        });
        proxy.fleet.upstreams(&entry.route.project, upstreams, check)
    });
    Some(Arc::clone(set))
}

impl Patience {
    pub(super) fn of(request: &Request<'_>, is_upgrade: bool, wished: &AppTimeouts, usual: &Timeouts) -> Self {
        let is_stream = is_upgrade || request.accepts(b"text/event-stream");
        let silence = if is_stream { usual.stream } else { usual.upstream };
        let or = |wished: Option<u64>, usual: Duration| wished.map_or(usual, Duration::from_millis);
        Self {
            connect: or(wished.connect_ms, usual.connect),
            first_byte: or(wished.first_byte_ms, silence),
            between_bytes: if is_upgrade { usual.stream } else { or(wished.between_bytes_ms, silence) },
            total: wished.total_ms.filter(|_| !is_upgrade).map(Duration::from_millis),
            is_upgrade,
        }
    }

    /// Longest silence at any time.
    pub(super) fn silence(&self) -> Duration {
        self.first_byte.max(self.between_bytes)
    }

    /// Whether more is to be watched than one longest silence.
    pub(super) fn is_special(&self) -> bool {
        self.first_byte != self.between_bytes || self.total.is_some()
    }
}

/// What the app of this request speaks.
pub(super) fn protocol(ctx: &Ctx) -> AppProtocol {
    ctx.entry.as_ref().map_or(AppProtocol::Http1, |entry| entry.route.policy.app.protocol)
}

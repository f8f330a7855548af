//! Phase: the head of a request is read. Chooses the route; answers what needs no app.

use std::sync::Arc;

use common::route::Target;
use pingora_core::Result;
use pingora_proxy::Session;

use super::{Ctx, Proxy, doubt, upstream_peer, wake};
use crate::page::Page;
use crate::routes::Entry;
use crate::{host, site};

/// Returns whether the answer is sent.
pub(super) async fn request_filter(proxy: &Proxy, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    prepare(proxy, session);
    if let Err(page) = doubt::refuse(session) {
        session.set_keepalive(None);
        page.send(session, None).await?;
        return Ok(true);
    }
    let found = match host::of(session.req_header()) {
        None => Err(Page::BadRequest("The request does not say which site it is for.")),
        Some(host) => find(proxy, &host),
    };
    let found = match found {
        Ok(entry) if wake::is_asleep(&entry) => wake::wait(proxy, entry).await,
        found => found,
    };
    let entry = match found {
        Ok(entry) => entry,
        Err(page) => {
            page.send(session, None).await?;
            return Ok(true);
        }
    };
    ctx.entry = Some(Arc::clone(&entry));
    match &entry.route.target {
        Target::Static { earlier } => {
            site::serve(session, &entry, earlier, &proxy.cache).await?;
            Ok(true)
        }
        Target::App { upstreams, unavailable, .. } => {
            wake::keep_awake(proxy, &entry);
            ctx.upstream = upstream_peer::choose(upstreams, &[]);
            if ctx.upstream.is_none() {
                Page::Unavailable(unavailable.clone()).send(session, Some(&entry)).await?;
            }
            Ok(ctx.upstream.is_none())
        }
    }
}

/// The route of a host now, or the page that says why there is none.
pub(super) fn find(proxy: &Proxy, host: &str) -> std::result::Result<Arc<Entry>, Page> {
    let table = proxy.routes.now();
    let missing = if table.is_known() { Page::NoSite } else { Page::NotReady };
    table.find(host).cloned().ok_or(missing)
}

/// Sets what Pingora decides otherwise for each request anew.
fn prepare(proxy: &Proxy, session: &mut Session) {
    let timeouts = &proxy.timeouts;
    session.set_read_timeout(Some(timeouts.client));
    session.set_total_drain_timeout(Some(timeouts.client));
    // Or a visitor who sends requests without waiting for answers would lose the second one.
    session.set_pipelining_enabled(true);
    // Only where the visitor lets the connection be used again; for HTTP/1.0 it mostly does not.
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(timeouts.client_idle.as_secs().max(1)));
    }
}

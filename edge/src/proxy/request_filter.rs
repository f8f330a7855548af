//! Phase: the head of a request is read. Chooses the route; answers what needs no app.
//!
//! In this order, each in a file of its own, and the first that answers ends it:
//! 1. `visitor`: who asks, and the request's ids; what strangers claim is taken away.
//! 2. `doubt`: requests that two servers could read differently are refused.
//! 3. `host`, and the route of the host.
//! 4. A host that the connection's certificate does not cover is refused (421).
//! 5. `challenge`: proofs of control for a certificate authority, also for hosts without a route.
//! 6. Hosts without a route are told so.
//! 7. `https`: plain HTTP is led to HTTPS.
//! 8. Guard: access lists, rules, limits, overload.
//! 9. Protection: passwords.
//! 10. A static site; or an app: its kept answer, or the instance that is asked.

use std::sync::Arc;

use common::route::Target;
use http::{Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::upstream_response_filter::named_by_connection;
use super::{Ctx, Proxy, app, challenge, doubt, guard, https, kept, protection, visitor, wake};
use crate::page::Page;
use crate::routes::Entry;
use crate::{host, site, transport};

/// Returns whether the answer is sent.
pub(super) async fn request_filter(proxy: &Proxy, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    prepare(proxy, session);
    visitor::introduce(proxy, session, ctx);
    if let Err(page) = doubt::refuse(session) {
        session.set_keepalive(None);
        page.send(session, None).await?;
        return Ok(true);
    }
    let found = match host::of(session.req_header()) {
        None => Err(Page::BadRequest("The request does not say which site it is for.")),
        Some(host) if is_misdirected(proxy, session, &host) => Err(Page::Misdirected),
        Some(host) => find(proxy, &host),
    };
    ctx.entry = found.as_ref().ok().map(Arc::clone);
    if challenge::answered(proxy, session, ctx).await? {
        return Ok(true);
    }
    let entry = match found {
        Ok(entry) => entry,
        Err(page) => {
            page.send(session, None).await?;
            return Ok(true);
        }
    };
    if https::redirected(proxy, session, ctx, &entry).await? {
        return Ok(true);
    }
    if guard::answered(proxy, session, ctx, &entry).await? {
        return Ok(true);
    }
    let protected = match protection::protect(proxy, session, &entry).await {
        Ok(protected) => protected,
        Err(page) => {
            page.send(session, Some(&entry)).await?;
            return Ok(true);
        }
    };
    serve(proxy, session, ctx, entry, protected).await
}

/// Whether the connection is for another host than the request.
fn is_misdirected(proxy: &Proxy, session: &Session, host: &str) -> bool {
    transport::peer(session).is_some_and(|peer| transport::is_misdirected(peer, &proxy.routes.now(), host))
}

/// The site or the app itself. `protected` says that the visitor has logged in.
async fn serve(
    proxy: &Proxy,
    session: &mut Session,
    ctx: &mut Ctx,
    mut entry: Arc<Entry>,
    protected: bool,
) -> Result<bool> {
    if wake::is_asleep(&entry) {
        entry = match wake::wait(proxy, entry).await {
            Ok(entry) => entry,
            Err(page) => {
                page.send(session, ctx.entry.as_deref()).await?;
                return Ok(true);
            }
        };
        ctx.entry = Some(Arc::clone(&entry));
    }
    match &entry.route.target {
        Target::Static { .. } => {
            let country = ctx.client.and_then(|client| proxy.guard.country(client));
            let visitor = site::Visitor {
                secure: ctx.scheme == visitor::Scheme::Https,
                country: country.as_ref().map(::guard::Country::as_str),
                protected,
                permit: Some(&ctx.permit),
            };
            site::serve(session, &entry, &proxy.cache, visitor).await?;
            Ok(true)
        }
        Target::App { .. } => {
            if kept::answered(proxy, session, ctx, &entry).await? {
                return Ok(true);
            }
            app::prepare(proxy, session, ctx, &entry).await
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
    if session.req_header().version < Version::HTTP_11 {
        // It neither waits for interim answers nor understands them (RFC 9110 sections 10.1.1 and 15.2).
        session.set_ignore_info_resp(true);
        session.req_header_mut().remove_header(&header::EXPECT);
    }
    if !may_upgrade(session.req_header()) {
        session.req_header_mut().remove_header(&header::UPGRADE);
    }
}

/// Whether the app may be asked for another protocol. HTTP/2 is none that a visitor may speak with it: no request
/// after the first would pass the edge's rules.
fn may_upgrade(request: &RequestHeader) -> bool {
    let wishes = request.headers.get_all(header::UPGRADE);
    let mut protocols = wishes.iter().flat_map(|w| w.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    let is_http =
        |p: &[u8]| p.eq_ignore_ascii_case(b"h2c") || p.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"http"));
    request.version == Version::HTTP_11
        && named_by_connection(&request.headers).any(|name| name == header::UPGRADE)
        && !protocols.any(is_http)
}

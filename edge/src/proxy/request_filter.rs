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
//! 10. `elsewhere`: hosts that only lead to another one.
//! 11. A static site; or an app: its kept answer, or the instance that is asked.

use std::borrow::Cow;
use std::sync::Arc;

use ::guard::Country;
use common::route::Target;
use http::{Version, header};
use pingora_core::Result;
use pingora_proxy::Session;

use super::{
    Ctx, Proxy, Request, app, challenge, doubt, elsewhere, guard, https, kept, protection, upgrade, visitor, wake,
};
use crate::answer::{self, Reply};
use crate::page::Page;
use crate::routes::Entry;
use crate::site;
use crate::transport::{self, Arrival};

/// What is done with a request.
pub(super) enum Decision {
    /// It is answered so.
    Reply(Reply),
    /// It is answered out of a static site. The visitor has logged in, or did not have to.
    Site(Arc<Entry>, IsProtected),
    /// An app answers it, or what is kept of the app's answers.
    App(Arc<Entry>),
}

/// Whether the visitor had to log in.
pub(super) type IsProtected = bool;

/// Decides by steps 1 to 10, and waits for an app that sleeps.
pub(super) async fn decide(proxy: &Proxy, request: &mut Request<'_>, arrival: Arrival<'_>, ctx: &mut Ctx) -> Decision {
    let peer = arrival.peer;
    visitor::introduce(proxy, request, peer, ctx);
    if let Err(page) = doubt::refuse(request) {
        return Decision::Reply(page.reply(request.header(), None).closing());
    }
    let found = match request.host() {
        None => Err(Page::BadRequest("The request does not say which site it is for.")),
        Some(host) if transport::is_misdirected(peer, &proxy.routes.now(), &host) => Err(Page::Misdirected),
        Some(host) => find(proxy, &host),
    };
    ctx.entry = found.as_ref().ok().map(Arc::clone);
    if let Some(reply) = challenge::answer(proxy, request, ctx) {
        return Decision::Reply(reply);
    }
    let mut entry = match found {
        Ok(entry) => entry,
        Err(page) => return Decision::Reply(page.reply(request.header(), None)),
    };
    let refused = https::redirect(proxy, request, ctx, &entry);
    let refused = refused.or_else(|| guard::answer(proxy, request, arrival, ctx, &entry));
    if let Some(reply) = refused {
        return Decision::Reply(reply);
    }
    let is_protected = match protection::protect(proxy, request, ctx, &entry).await {
        Ok(is_protected) => is_protected,
        Err(page) => return Decision::Reply(page.reply(request.header(), Some(&entry))),
    };
    if wake::is_asleep(&entry) {
        entry = match Box::pin(wake::wait(proxy, entry)).await {
            Ok(entry) => entry,
            Err(page) => return Decision::Reply(page.reply(request.header(), ctx.entry.as_deref())),
        };
        ctx.entry = Some(Arc::clone(&entry));
    }
    match &entry.route.target {
        Target::Static { .. } => Decision::Site(entry, is_protected),
        Target::App { .. } => Decision::App(entry),
        Target::Redirect { to, status } => Decision::Reply(elsewhere::lead(request, ctx, &entry, to, *status)),
    }
}

/// What a site's answer depends on beside the request.
pub(super) fn visitor<'a>(ctx: &'a Ctx, country: Option<&'a Country>, protected: bool) -> site::Visitor<'a> {
    site::Visitor {
        secure: ctx.scheme == visitor::Scheme::Https,
        country: country.map(Country::as_str),
        protected,
        permit: Some(&ctx.permit),
    }
}

/// Returns whether the answer is sent.
pub(super) async fn request_filter(proxy: &Proxy, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
    prepare(proxy, session);
    let peer = transport::peer(session).cloned().ok_or_else(transport::nobody)?;
    let arrival = Arrival { peer: &peer, since: transport::since(session) };
    let decision = decide(proxy, &mut session.req_header_mut().into(), arrival, ctx).await;
    let reply = match decision {
        Decision::Reply(reply) => Some(reply),
        Decision::Site(entry, is_protected) => {
            let country = ctx.client.and_then(|client| proxy.guard.country(client));
            site::serve(session, &entry, &proxy.cache, visitor(ctx, country.as_ref(), is_protected)).await?;
            return Ok(true);
        }
        Decision::App(entry) => {
            if kept::answered(proxy, session, ctx, &entry).await? {
                return Ok(true);
            }
            let is_upgrade = session.is_upgrade_req();
            app::prepare(proxy, &session.req_header_mut().into(), is_upgrade, ctx, &entry)
        }
    };
    let Some(reply) = reply else { return Ok(false) };
    answer::send(session, reply).await?;
    Ok(true)
}

/// The route of a host now, or the page that says why there is none.
pub(super) fn find(proxy: &Proxy, host: &str) -> std::result::Result<Arc<Entry>, Page> {
    let table = proxy.routes.now();
    let missing = if table.is_known() { Page::NoSite } else { Page::NotReady };
    table.find(host).map(Cow::into_owned).ok_or(missing)
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
    if !upgrade::may_pass(&session.req_header_mut().into()) {
        session.req_header_mut().remove_header(&header::UPGRADE);
    }
}

//! Phase: something failed. Tells the operator what, and the visitor as much as is useful.

use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};

use super::Ctx;
use crate::answer;
use crate::page::Page;

pub(super) async fn fail_to_proxy(session: &mut Session, error: &Error, ctx: &Ctx) -> FailToProxy {
    let page = if ctx.was_silent { Some(Page::GatewayTimeout) } else { page(error) };
    log(error, page.as_ref(), ctx);
    let mut told = 0;
    // An answer that has begun can only be broken off.
    if let Some(page) = page
        && session.response_written().is_none()
    {
        told = page.status().as_u16();
        let reply = page.reply(session.req_header(), ctx.entry.as_deref()).closing();
        if let Err(e) = answer::send(session, reply).await {
            tracing::debug!(error = %e, "the visitor left before the error could be told");
        }
    }
    FailToProxy { error_code: told, can_reuse_downstream: false }
}

/// The page for an error; `None` when nobody is there to read it.
fn page(error: &Error) -> Option<Page> {
    use ErrorType::{ConnectTimedout, ConnectionClosed, ReadError, ReadTimedout, WriteError, WriteTimedout};
    match (error.esource(), error.etype()) {
        (ErrorSource::Upstream, ConnectTimedout | ReadTimedout | WriteTimedout) => Some(Page::GatewayTimeout),
        (ErrorSource::Upstream, _) => Some(Page::BadGateway),
        (ErrorSource::Downstream, WriteError | ReadError | WriteTimedout | ConnectionClosed) => None,
        (ErrorSource::Downstream, ReadTimedout) => Some(Page::Timeout),
        (ErrorSource::Downstream, _) => Some(Page::BadRequest("The request can't be understood.")),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Page::Internal),
    }
}

pub(super) fn log(error: &dyn std::fmt::Display, page: Option<&Page>, ctx: &Ctx) {
    let route = ctx.entry.as_ref().map(|e| &e.route);
    let host = route.map(|r| &*r.host);
    let deployment = route.map(|r| r.deployment.as_str());
    let upstream = ctx.upstream.map(tracing::field::display);
    match page {
        Some(Page::Internal) => tracing::error!(host, deployment, upstream, %error, "a request failed in the edge"),
        Some(Page::BadGateway | Page::GatewayTimeout) => {
            tracing::warn!(host, deployment, upstream, %error, "an app did not answer");
        }
        _ => tracing::debug!(host, deployment, upstream, %error, "a visitor broke off"),
    }
}

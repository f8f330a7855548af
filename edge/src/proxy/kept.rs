//! Answers of apps out of the shared response cache, and into it.
//!
//! Only what a cache may ever answer comes by here: GET and HEAD without a body, on routes whose policy says so.
//! Everything else goes on to the app as if there were no cache; [`passed`] sees its answer, because it may end
//! what is kept.

use bytes::Bytes;
use common::policy::CachePolicy;
use common::route::Target;
use http::{Method, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use response_cache::{Answer, Ask, CACHE_TAG, Cache, Forward, Hit, Outcome, Plain, Status, Unanswered};
use tokio::sync::mpsc;

use super::response_filter::{body, response_filter};
use super::visitor::Scheme;
use super::{Ctx, Proxy, Request, upstream_request_filter, wake};
use crate::answer;
use crate::page::Page;
use crate::routes::Entry;
use crate::transport::{self, Peer};

mod origin;

use origin::{Connector, Origin};

/// Interim answers that wait to be passed on: an app sends one or two, and what is too early for the visitor is
/// better left out than waited for.
const MAX_INTERIM: usize = 4;

/// The shared response cache, and the connections by which it is filled.
pub(crate) struct Kept {
    cache: Cache,
    connector: Connector,
}

impl Kept {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, connector: Connector::new() }
    }
}

/// What the cache has for a request.
pub(super) enum Look {
    /// The app is to answer, as if there were no cache.
    Pass,
    /// What is kept.
    Answer(Answer),
    /// Only what is kept was wanted, and that is nothing.
    NotKept,
    /// The app is to be asked, by [`fetch`].
    Fetch,
}

/// Looks for a request's answer. Whether it has a body, its fields alone do not say over HTTP/2.
pub(super) fn look(
    proxy: &Proxy,
    request: &Request<'_>,
    has_body: bool,
    is_upgrade: bool,
    ctx: &mut Ctx,
    entry: &Entry,
) -> Look {
    let policy = entry.route.policy.cache;
    if !policy.enabled {
        return Look::Pass;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_stream = is_upgrade || request.accepts(b"text/event-stream");
    if !is_read || is_stream || has_body {
        ctx.passes = Some(if is_read { Forward::Bypass } else { Forward::Method });
        return Look::Pass;
    }
    let request = request.header();
    let Some(target) = target(request) else { return Look::Pass };
    wake::keep_awake(proxy, entry);
    let ask = ask(entry, ctx.scheme, target, policy, request);
    match proxy.kept.cache.lookup(&ask) {
        Some(Outcome::Answer(answer)) => Look::Answer(answer),
        Some(Outcome::NotKept) => Look::NotKept,
        Some(Outcome::Pass(why)) => {
            ctx.passes = Some(why);
            Look::Pass
        }
        None => Look::Fetch,
    }
}

/// What is kept for a request that asks for it as it is.
pub(super) fn hit(proxy: &Proxy, request: &Request<'_>, ctx: &Ctx, entry: &Entry) -> Option<Hit> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !entry.route.policy.cache.enabled || !is_read || !request.is_plain() || request.accepts(b"text/event-stream") {
        return None;
    }
    wake::keep_awake(proxy, entry);
    let port = request.authority().0.and_then(|host| upstream_request_filter::port(host.as_bytes()));
    let plain = Plain {
        deployment: entry.route.deployment.as_str(),
        scheme: ctx.scheme.as_str(),
        host: &entry.route.host,
        port: port.filter(|port| *port != ctx.scheme.port()),
        target: std::str::from_utf8(request.target()).ok()?,
    };
    proxy.kept.cache.hit(&plain, |name| request.came_with(name))
}

/// What became of a request that was fetched.
pub(super) enum Got {
    /// The app is to answer, as if there were no cache; why.
    Pass(Forward),
    /// The answer.
    Answer(Answer),
    /// There is none.
    Page(Page),
}

/// Interim answers of an app.
pub(super) type Interim = mpsc::Receiver<Box<ResponseHeader>>;

/// Asks the app on the cache's behalf. Interim answers come by the receiver while the future is polled.
pub(super) fn fetch<'a>(
    proxy: &'a Proxy,
    request: &'a RequestHeader,
    peer: &Peer,
    ctx: &Ctx,
    entry: &'a Entry,
) -> Result<(impl Future<Output = Got> + Send + 'a, Interim)> {
    let (tell, interim) = mpsc::channel(MAX_INTERIM);
    let origin = Origin::new(proxy, request, peer, ctx, entry, tell)?;
    let scheme = ctx.scheme;
    let fetching = async move {
        let Some(target) = target(request) else { return Got::Pass(Forward::Bypass) };
        let ask = ask(entry, scheme, target, entry.route.policy.cache, request);
        match proxy.kept.cache.handle(&ask, |fields| origin.fetch(fields)).await {
            Ok(Outcome::Answer(answer)) => Got::Answer(answer),
            Ok(Outcome::Pass(why)) => Got::Pass(why),
            Ok(Outcome::NotKept) => Got::Page(Page::GatewayTimeout),
            // Nothing was sent, so the ordinary way may try; it knows what to tell a visitor, too.
            Err(error) if error.kind == Unanswered::Unavailable => Got::Pass(Forward::Bypass),
            Err(error) => {
                let (host, deployment) = (&*entry.route.host, entry.route.deployment.as_str());
                tracing::warn!(host, deployment, %error, "an app did not answer the response cache");
                let is_late = error.kind == Unanswered::TimedOut;
                Got::Page(if is_late { Page::GatewayTimeout } else { Page::BadGateway })
            }
        }
    };
    Ok((fetching, interim))
}

/// Answers a request out of the cache, or through it. Returns whether that is done.
pub(super) async fn answered(proxy: &Proxy, session: &mut Session, ctx: &mut Ctx, entry: &Entry) -> Result<bool> {
    let (has_body, is_upgrade) = (!session.as_downstream_mut().is_body_empty(), session.is_upgrade_req());
    let page = match look(proxy, &session.req_header_mut().into(), has_body, is_upgrade, ctx, entry) {
        Look::Pass => return Ok(false),
        Look::Answer(answer) => {
            send(session, ctx, answer).await?;
            return Ok(true);
        }
        Look::NotKept => Page::GatewayTimeout,
        Look::Fetch => match Box::pin(through(proxy, session, ctx, entry)).await? {
            Got::Pass(why) => {
                ctx.passes = Some(why);
                return Ok(false);
            }
            Got::Answer(answer) => {
                send(session, ctx, answer).await?;
                return Ok(true);
            }
            Got::Page(page) => page,
        },
    };
    let reply = page.reply(session.req_header(), Some(entry));
    answer::send(session, reply).await?;
    Ok(true)
}

/// A request that what is kept does not answer at once.
async fn through(proxy: &Proxy, session: &mut Session, ctx: &Ctx, entry: &Entry) -> Result<Got> {
    let request = session.req_header().clone();
    let peer = transport::peer(session).cloned().ok_or_else(transport::nobody)?;
    let (fetching, mut interim) = fetch(proxy, &request, &peer, ctx, entry)?;
    // HTTP/1.0 knows no interim answers (RFC 9110 section 15.2).
    let tells = request.version != Version::HTTP_10;
    let mut fetching = std::pin::pin!(fetching);
    loop {
        tokio::select! {
            biased;
            Some(head) = interim.recv() => {
                if tells {
                    let visitor = session.as_downstream_mut();
                    visitor.write_response_header(head).await.map_err(|e| e.into_down())?;
                }
            }
            got = &mut fetching => return Ok(got),
        }
    }
}

async fn send(session: &mut Session, ctx: &mut Ctx, answer: Answer) -> Result<()> {
    let Answer { head, body: mut pieces, status } = answer;
    ctx.cached = Some(status);
    let has_body = session.req_header().method != Method::HEAD
        && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = ResponseHeader::from(head);
    if has_body && !response.headers.contains_key(header::CONTENT_LENGTH) && !is_h2(session) {
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    response_filter(session, &mut response, ctx)?;
    let visitor = session.as_downstream_mut();
    visitor.write_response_header(Box::new(response)).await.map_err(|e| e.into_down())?;
    if !has_body {
        return answer::write(session, Bytes::new(), true).await;
    }
    loop {
        let mut piece = match pieces.next().await {
            Ok(piece) => piece,
            // An answer that has begun can only be broken off.
            Err(error) => {
                return Error::e_explain(ErrorType::ConnectionClosed, error.to_string())
                    .map_err(|e: Box<Error>| e.into_up());
            }
        };
        let is_last = piece.is_none() || pieces.is_done();
        body(&mut piece, is_last, ctx)?;
        if piece.is_some() || is_last {
            answer::paced(session, Some(&ctx.permit), piece.unwrap_or_default(), is_last).await?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn is_h2(session: &Session) -> bool {
    session.req_header().version == Version::HTTP_2
}

/// The answer to a request that went on to the app: says so, and ends what is not right any more.
pub(super) fn passed(
    proxy: &Proxy,
    request: &RequestHeader,
    response: &mut ResponseHeader,
    ctx: &mut Ctx,
) -> Result<()> {
    if response.status.is_informational() {
        return Ok(());
    }
    let Some(entry) = ctx.entry.as_ref().filter(|entry| is_cached(entry)) else { return Ok(()) };
    let why = ctx.passes.unwrap_or(Forward::Bypass);
    if let Some(target) = target(request) {
        let ask = ask(entry, ctx.scheme, target, entry.route.policy.cache, request);
        proxy.kept.cache.invalidate(&ask, response.status, &response.headers);
        proxy.kept.cache.observe_head(&ask, response.status, &response.headers);
    }
    let status = Status::forwarded(why);
    response.append_header(response_cache::CACHE_STATUS, status.value())?;
    response.remove_header(&CACHE_TAG);
    ctx.cached = Some(status);
    Ok(())
}

pub(super) fn is_cached(entry: &Entry) -> bool {
    entry.route.policy.cache.enabled && matches!(entry.route.target, Target::App { .. })
}

fn ask<'a>(
    entry: &'a Entry,
    scheme: Scheme,
    target: &'a str,
    policy: CachePolicy,
    request: &'a RequestHeader,
) -> Ask<'a> {
    Ask {
        project: &entry.route.project,
        deployment: entry.route.deployment.as_str(),
        scheme: scheme.as_str(),
        host: &entry.route.host,
        port: port(request).filter(|port| *port != scheme.port()),
        target,
        method: &request.method,
        headers: &request.headers,
        policy,
    }
}

/// The port that the visitor named.
pub(super) fn port(request: &RequestHeader) -> Option<u16> {
    let named = request.headers.get(header::HOST).map(http::HeaderValue::as_bytes);
    let host = named.or_else(|| request.uri.authority().map(|authority| authority.as_str().as_bytes()))?;
    upstream_request_filter::port(host)
}

/// Path and query as the app sees them; `None` when they are no text.
fn target(request: &RequestHeader) -> Option<&str> {
    let raw = request.raw_path();
    if raw.starts_with(b"/") && request.uri.authority().is_none() {
        return std::str::from_utf8(raw).ok();
    }
    request.uri.path_and_query().map(http::uri::PathAndQuery::as_str)
}

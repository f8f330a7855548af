//! The way of a request that the edge answers itself, without Pingora: decided by the same steps, and answered out of
//! a static site, the response cache, or by an app that speaks HTTP/1.1.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use common::policy::AppProtocol;
use guard::{PACED_PIECE, Permit};
use http::{Method, StatusCode};
use pingora_http::{RequestHeader, ResponseHeader};
use relay::Failure;
use response_cache::{Answer, Hit};
use wire::Framing;

use super::request_filter::{Decision, IsProtected, decide, visitor};
use super::{Ctx, Proxy, Request, app, fail_to_proxy, kept, logging, response_filter, upgrade};
use crate::answer::{self, Reply};
use crate::page::Page;
use crate::routes::Entry;
use crate::site::{self, Body};
use crate::transport::Arrival;
use crate::visit::{Lost, Visit};

mod as_it_came;
mod file;
mod forward;
mod tunnel;
mod upload;

pub(crate) use as_it_came::AsItCame;

/// Bytes of a request's body that are read only so that its connection can be used again, when nobody wants them.
const MAX_UNWANTED: usize = 64 << 10;

/// Why a request has no whole answer.
enum Failed {
    /// Nobody waits for it.
    Lost(Lost),
    /// It failed here. Nothing of an answer was begun, unless it had been before.
    Internal(Box<pingora_core::Error>),
    /// The rest of a file, or of an answer that is kept, can't be had.
    Broken(String),
    /// The app did not end its answer.
    App(Failure),
}

impl From<Lost> for Failed {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Box<pingora_core::Error>> for Failed {
    fn from(error: Box<pingora_core::Error>) -> Self {
        Self::Internal(error)
    }
}

impl Proxy {
    /// Answers one request, and tells of it.
    pub(crate) async fn exchange<V: Visit>(&self, visit: &mut V, mut request: Request<'_>, arrival: Arrival<'_>) {
        let mut ctx = Ctx::new();
        if let Err(failed) = serve(self, visit, &mut request, arrival, &mut ctx).await {
            Box::pin(conclude(visit, &request, &ctx, failed)).await;
        }
        logging::logging(self, &request, Some(arrival.peer), visit.passed(), &ctx);
    }
}

async fn serve<V: Visit>(
    proxy: &Proxy,
    visit: &mut V,
    request: &mut Request<'_>,
    arrival: Arrival<'_>,
    ctx: &mut Ctx,
) -> Result<(), Failed> {
    // What is rare or large takes memory of its own, so that each of the many requests for apps takes little.
    match decide(proxy, request, arrival, ctx).await {
        Decision::Reply(sent) => Box::pin(reply(visit, request.header(), sent)).await,
        Decision::Site(entry, is_protected) => {
            Box::pin(site(proxy, visit, request.header(), ctx, &entry, is_protected)).await
        }
        Decision::App(entry) => app(proxy, visit, request, arrival, ctx, &entry).await,
    }
}

/// Tells the visitor of a failure, as far as that is still possible.
async fn conclude<V: Visit>(visit: &mut V, request: &Request<'_>, ctx: &Ctx, failed: Failed) {
    let (page, error) = match failed {
        Failed::Lost(lost @ Lost::Silent) => (Some(Page::Timeout), lost.to_string()),
        Failed::Lost(lost) => (None, lost.to_string()),
        Failed::Internal(error) => (Some(Page::Internal), error.to_string()),
        // An answer that has begun can only be broken off.
        Failed::Broken(error) => (Some(Page::BadGateway), error),
        Failed::App(failure) => (Some(Page::BadGateway), failure.to_string()),
    };
    fail_to_proxy::log(&error, page.as_ref(), ctx);
    let page = page.filter(|_| visit.passed().status.is_none());
    if let Some(page) = page {
        let request = request.header();
        let sent = page.reply(request, ctx.entry.as_deref()).closing();
        if reply(visit, request, sent).await.is_ok() {
            return;
        }
    }
    visit.abort();
    // What was told before the failure may be read yet; whoever does not is gone.
    let _ = flush(visit).await;
}

async fn flush<V: Visit>(visit: &mut V) -> Result<(), Failed> {
    poll_fn(|cx| visit.poll_flush(cx)).await.map_err(Failed::Lost)
}

/// Sends a small answer.
async fn reply<V: Visit>(visit: &mut V, request: &RequestHeader, reply: Reply) -> Result<(), Failed> {
    let Reply { mut head, body, closes } = reply;
    answer::fit(&mut head, request);
    if closes || !skip_body(visit).await {
        visit.close();
    }
    visit.begin(head.into());
    visit.send(body);
    visit.end(None);
    flush(visit).await
}

/// Reads what has come of a body that nobody wants. Returns whether that was all of it.
async fn skip_body<V: Visit>(visit: &mut V) -> bool {
    let mut left = MAX_UNWANTED;
    poll_fn(|cx| {
        while left > 0 {
            match visit.poll_body(cx) {
                Poll::Ready(Ok(Some(piece))) => left = left.saturating_sub(piece.len()),
                Poll::Ready(Ok(None)) => return Poll::Ready(true),
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(false)
    })
    .await
}

/// Answers out of a static site.
async fn site<V: Visit>(
    proxy: &Proxy,
    visit: &mut V,
    request: &RequestHeader,
    ctx: &Ctx,
    entry: &Entry,
    is_protected: IsProtected,
) -> Result<(), Failed> {
    let country = ctx.client.and_then(|client| proxy.guard.country(client));
    let facts = site::facts(request, visitor(ctx, country.as_ref(), is_protected));
    let site::Answer { mut head, mut body, .. } = match site::answer(entry, &facts, &proxy.cache).await {
        Ok(answer) => answer,
        Err(page) => return reply(visit, request, page.reply(request, Some(entry))).await,
    };
    answer::fit(&mut head, request);
    if !skip_body(visit).await {
        visit.close();
    }
    visit.begin(head.into());
    let mut by_file = true;
    match body {
        Body::Empty => {}
        Body::Whole(piece, _) => send(visit, &ctx.permit, piece, true).await?,
        Body::Pieces(_) | Body::Multipart(_) => loop {
            if by_file && let Body::Pieces(pieces) = &mut body {
                by_file = file::send(visit, &ctx.permit, pieces).await?;
            }
            match body.next().await {
                Ok(Some(piece)) => send(visit, &ctx.permit, piece, false).await?,
                Ok(None) => break,
                // The connection is closed before the promised length, so the visitor knows.
                Err(error) => {
                    tracing::error!(host = &*entry.route.host, %error, "a blob broke off");
                    return Err(Failed::Broken(error.to_string()));
                }
            }
        },
    }
    visit.end(None);
    flush(visit).await
}

/// Sends a piece of an answer's body, as fast as its visitor may have it. The last one may wait for the end.
async fn send<V: Visit>(visit: &mut V, permit: &Permit, mut piece: Bytes, is_last: bool) -> Result<(), Failed> {
    let step = if permit.is_paced() { PACED_PIECE } else { usize::MAX };
    loop {
        if visit.is_full() {
            flush(visit).await?;
        }
        let part = piece.split_to(piece.len().min(step));
        let wait = permit.pace(part.len());
        visit.send(part);
        let ends = piece.is_empty();
        if ends && is_last {
            return Ok(());
        }
        if let Some(wait) = wait {
            flush(visit).await?;
            tokio::time::sleep(wait).await;
        }
        if ends {
            return Ok(());
        }
    }
}

/// Answers out of the response cache, or by the app.
async fn app<V: Visit>(
    proxy: &Proxy,
    visit: &mut V,
    request: &mut Request<'_>,
    arrival: Arrival<'_>,
    ctx: &mut Ctx,
    entry: &Arc<Entry>,
) -> Result<(), Failed> {
    let has_body = visit.framing() != Framing::None;
    // Where there is a body too, the wish is ignored, as it may be (RFC 9110 section 7.8).
    let is_upgrade = !has_body && visit.may_switch() && upgrade::may_pass(request);
    if !has_body
        && !is_upgrade
        && let Some(hit) = kept::hit(proxy, request, ctx, entry)
        && kept_hit(visit, request, ctx, &hit).await?
    {
        return Ok(());
    }
    let page = match kept::look(proxy, request, has_body, is_upgrade, ctx, entry) {
        kept::Look::Pass => None,
        kept::Look::Answer(answer) => return Box::pin(kept_answer(visit, request.header(), ctx, answer)).await,
        kept::Look::NotKept => Some(Page::GatewayTimeout),
        kept::Look::Fetch => match Box::pin(fetch(proxy, visit, request.header(), arrival, ctx, entry)).await? {
            kept::Got::Pass(why) => {
                ctx.passes = Some(why);
                None
            }
            kept::Got::Answer(answer) => return Box::pin(kept_answer(visit, request.header(), ctx, answer)).await,
            kept::Got::Page(page) => Some(page),
        },
    };
    // The route may have changed since the connection looked for it.
    let is_other = entry.route.policy.app.protocol != AppProtocol::Http1;
    let page = page.or_else(|| is_other.then_some(Page::Unavailable(None)));
    if let Some(page) = page {
        return Box::pin(reply(visit, request.header(), page.reply(request.header(), Some(entry)))).await;
    }
    if let Some(sent) = app::prepare(proxy, request, is_upgrade, ctx, entry) {
        return Box::pin(reply(visit, request.header(), sent)).await;
    }
    forward::forward(proxy, visit, request, arrival, ctx).await
}

/// Lets the response cache ask the app; interim answers are passed on meanwhile.
async fn fetch<V: Visit>(
    proxy: &Proxy,
    visit: &mut V,
    request: &RequestHeader,
    arrival: Arrival<'_>,
    ctx: &Ctx,
    entry: &Entry,
) -> Result<kept::Got, Failed> {
    let (fetching, mut interim) = kept::fetch(proxy, request, arrival.peer, ctx, entry)?;
    let mut fetching = pin!(fetching);
    poll_fn(|cx| {
        while let Poll::Ready(Some(head)) = interim.poll_recv(cx) {
            visit.interim(&head);
        }
        if let Poll::Ready(Err(lost)) = visit.poll_flush(cx) {
            return Poll::Ready(Err(Failed::Lost(lost)));
        }
        // There is no body, or the cache would not have been asked.
        if let Poll::Ready(Ok(None)) = visit.poll_body(cx)
            && let Poll::Ready(left) = visit.poll_left(cx)
        {
            return Poll::Ready(Err(Failed::Lost(Lost::Left(left))));
        }
        fetching.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Sends a kept answer as it is. Returns whether it could, because nobody wants it in another form.
async fn kept_hit<V: Visit>(visit: &mut V, request: &Request<'_>, ctx: &mut Ctx, hit: &Hit) -> Result<bool, Failed> {
    let Some(head) = AsItCame::of_kept(request, hit, ctx) else { return Ok(false) };
    visit.pass(&head)?;
    ctx.cached = Some(hit.status());
    if *request.method() != Method::HEAD {
        let mut pieces = hit.body();
        while let Some(piece) = pieces.next().await.map_err(|error| Failed::Broken(error.to_string()))? {
            send(visit, &ctx.permit, piece, pieces.is_done()).await?;
        }
    }
    visit.end(None);
    flush(visit).await.map(|()| true)
}

/// Sends an answer of the response cache.
async fn kept_answer<V: Visit>(
    visit: &mut V,
    request: &RequestHeader,
    ctx: &mut Ctx,
    answer: Answer,
) -> Result<(), Failed> {
    let Answer { head, body: mut pieces, status } = answer;
    ctx.cached = Some(status);
    let has_body =
        request.method != Method::HEAD && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = ResponseHeader::from(head);
    response_filter::dress(request, &mut response, ctx)?;
    visit.begin(response);
    let mut is_last = !has_body;
    while !is_last {
        let piece = {
            let mut next = pin!(pieces.next());
            // What is queued does not wait for what the app has not sent yet.
            poll_fn(|cx| {
                if let Poll::Ready(piece) = next.as_mut().poll(cx) {
                    return Poll::Ready(piece.map_err(|error| Failed::Broken(error.to_string())));
                }
                match visit.poll_flush(cx) {
                    Poll::Ready(Err(lost)) => Poll::Ready(Err(Failed::Lost(lost))),
                    Poll::Ready(Ok(())) => visit.poll_left(cx).map(|left| Err(Failed::Lost(Lost::Left(left)))),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await?
        };
        is_last = piece.is_none() || pieces.is_done();
        let mut piece = piece;
        response_filter::body(&mut piece, is_last, ctx)?;
        if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
            send(visit, &ctx.permit, piece, is_last).await?;
        }
    }
    visit.end(None);
    flush(visit).await
}

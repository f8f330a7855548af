//! Asks an app, and another instance of it when one fails as `upstream_peer` describes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use balance::Ticket;
use bytes::Bytes;
use http::{Method, StatusCode, header};
use observe::Upstream;
use relay::{Clock, Failure, Link};
use tokio::time::{Instant, Sleep};
use wire::{Malformed, Response};

use super::super::app::Patience;
use super::super::upstream_response_filter::note;
use super::super::{
    Ctx, Proxy, Request, UPSTREAM_TRIES, fail_to_proxy, hop_by_hop, incoming, kept, outgoing, response_filter,
    upstream_peer,
};
use super::upload::Upload;
use super::{AsItCame, Failed, flush, reply, tunnel};
use crate::page::Page;
use crate::transport::Arrival;
use crate::visit::{Lost, Visit};

/// Why there is no answer of one instance.
enum Trouble {
    Lost(Lost),
    App(Failure),
}

impl From<Lost> for Trouble {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

/// One request of a visitor to its app.
struct Exchange<'a, V> {
    visit: &'a mut V,
    upload: Upload,
    patience: Patience,
    /// When the whole answer takes too long.
    end: Option<Instant>,
    clock: Clock,
    to_head: bool,
    /// Whether anything of an answer was passed on.
    has_begun: bool,
    /// Whether the visitor holds the body back, and the app has not asked for it (RFC 9110 section 10.1.1).
    is_held: bool,
}

pub(super) async fn forward<V: Visit>(
    proxy: &Proxy,
    visit: &mut V,
    request: &Request<'_>,
    arrival: Arrival<'_>,
    ctx: &mut Ctx,
) -> Result<(), Failed> {
    let Some(patience) = ctx.patience else {
        return Err(
            pingora_core::Error::explain(pingora_core::ErrorType::InternalError, "no patience was chosen").into()
        );
    };
    let mut head = outgoing::head(request, visit.framing(), arrival.peer, ctx);
    head.extend_from_slice(b"\r\n");
    let mut exchange = Exchange {
        upload: Upload::new(visit.framing()),
        visit,
        patience,
        end: patience.total.map(|total| Instant::from_std(ctx.started) + total),
        clock: Clock::default(),
        to_head: *request.method() == Method::HEAD,
        has_begun: false,
        is_held: request.expects(),
    };
    match exchange.ask(proxy, request, &head, ctx).await {
        Ok((link, response, bytes)) => exchange.pass(proxy, request, ctx, link, &response, &bytes).await,
        Err(Trouble::Lost(lost)) => Err(Failed::Lost(lost)),
        Err(Trouble::App(failure)) => {
            let page = if failure.is_timeout() { Page::GatewayTimeout } else { Page::BadGateway };
            fail_to_proxy::log(&failure, Some(&page), ctx);
            let request = request.header();
            Box::pin(reply(exchange.visit, request, page.reply(request, ctx.entry.as_deref()).closing())).await
        }
    }
}

impl<V: Visit> Exchange<'_, V> {
    /// Asks instances until one answers.
    async fn ask(
        &mut self,
        proxy: &Proxy,
        request: &Request<'_>,
        head: &[u8],
        ctx: &mut Ctx,
    ) -> Result<(Box<Link>, Response, Bytes), Trouble> {
        let metrics = proxy.observer.metrics();
        let mut tries = 0;
        let mut is_fresh = false;
        while let Some(address) = ctx.ticket.as_ref().map(Ticket::address) {
            tries += 1;
            let may_try = tries < UPSTREAM_TRIES;
            let kept = if is_fresh { None } else { proxy.pool.take(address) };
            is_fresh = false;
            let connected = match kept {
                Some(link) => Ok(link),
                None => Box::pin(self.connect(proxy, address)).await?,
            };
            let mut link = match connected {
                Ok(link) => link,
                Err(failure) => {
                    upstream_peer::look_elsewhere(proxy, ctx);
                    metrics.upstream(Upstream::ConnectFailed);
                    if ctx.ticket.is_some() && may_try && !self.is_late() {
                        metrics.upstream(Upstream::Retried);
                        continue;
                    }
                    return Err(Trouble::App(failure));
                }
            };
            link.push(head);
            self.upload.rewind();
            let failure = match poll_fn(|cx| self.poll_head(cx, &mut link)).await {
                Ok((response, bytes)) => return Ok((link, response, bytes)),
                Err(Trouble::Lost(lost)) => return Err(Trouble::Lost(lost)),
                Err(Trouble::App(failure)) => failure,
            };
            metrics.upstream(kind(&failure));
            let is_break = matches!(failure, Failure::Stale | Failure::Short | Failure::Broken(_));
            let is_repeatable =
                is_break && request.method().is_idempotent() && self.upload.is_at_hand() && !self.has_begun;
            if failure.is_stale() && is_repeatable {
                // It says nothing about the instance, which is asked again on a new connection.
                metrics.upstream(Upstream::Retried);
                tries -= 1;
                is_fresh = true;
                continue;
            }
            let upstreams = ctx.ticket.as_ref().map(|ticket| ticket.upstreams().clone());
            upstream_peer::conclude(ctx, !failure.is_stale());
            if is_repeatable
                && may_try
                && let Some(upstreams) = upstreams
                && upstream_peer::try_another(ctx, &upstreams)
            {
                metrics.upstream(Upstream::Retried);
                continue;
            }
            return Err(Trouble::App(failure));
        }
        Err(Trouble::App(Failure::Connect(std::io::ErrorKind::NotConnected.into())))
    }

    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// A new connection, unless the visitor leaves before.
    async fn connect(
        &mut self,
        proxy: &Proxy,
        address: std::net::SocketAddr,
    ) -> Result<Result<Box<Link>, Failure>, Trouble> {
        let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
        let limit = left.map_or(self.patience.connect, |left| left.min(self.patience.connect));
        let mut connecting = std::pin::pin!(proxy.pool.connect(address, limit));
        poll_fn(|cx| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Ok(connected));
            }
            if self.upload.is_read() {
                return self.visit.poll_left(cx).map(|left| Err(Trouble::Lost(Lost::Left(left))));
            }
            Poll::Pending
        })
        .await
    }

    /// What the visitor and the whole answer's time say while the app is waited for.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Trouble> {
        if self.upload.is_read()
            && let Poll::Ready(left) = self.visit.poll_left(cx)
        {
            return Poll::Ready(Trouble::Lost(Lost::Left(left)));
        }
        let Some(end) = self.end else { return Poll::Pending };
        self.clock.poll(cx, end).map(|()| Trouble::App(Failure::Silent))
    }

    /// Sends the request, and polls for the final head of the answer.
    fn poll_head(&mut self, cx: &mut Context<'_>, link: &mut Link) -> Poll<Result<(Response, Bytes), Trouble>> {
        loop {
            if let Poll::Ready(Err(lost)) = self.upload.poll(cx, self.visit, link, self.patience.first_byte) {
                return Poll::Ready(Err(lost.into()));
            }
            if self.has_begun
                && let Poll::Ready(Err(lost)) = self.visit.poll_flush(cx)
            {
                return Poll::Ready(Err(lost.into()));
            }
            // While the request is on its way, the app need not answer.
            let limit = self.upload.is_done().then_some(self.patience.first_byte);
            let Poll::Ready(read) = link.poll_head(cx, &incoming::LIMITS, self.to_head, limit) else {
                return self.poll_end(cx).map(Err);
            };
            let (response, bytes) = read.map_err(Trouble::App)?;
            match response.status {
                101 if !self.patience.is_upgrade => {
                    return Poll::Ready(Err(Trouble::App(Malformed("it changes the protocol unasked").into())));
                }
                101 => return Poll::Ready(Ok((response, bytes))),
                100..=199 => {
                    let mut interim = incoming::head(&response, &bytes).map_err(|_| Trouble::App(UNCLEAR.into()))?;
                    hop_by_hop::remove_apps(&mut interim);
                    self.visit.interim(&interim);
                    self.has_begun = true;
                    self.is_held &= response.status != StatusCode::CONTINUE.as_u16();
                }
                _ => return Poll::Ready(Ok((response, bytes))),
            }
        }
    }

    /// Passes the answer on.
    async fn pass(
        &mut self,
        proxy: &Proxy,
        request: &Request<'_>,
        ctx: &mut Ctx,
        mut link: Box<Link>,
        response: &Response,
        bytes: &Bytes,
    ) -> Result<(), Failed> {
        ctx.first_byte.get_or_insert_with(std::time::Instant::now);
        if let Some(ticket) = &mut ctx.ticket {
            note(ticket, response.status);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS.as_u16() {
            self.visit.switch(&AsItCame::new(StatusCode::SWITCHING_PROTOCOLS, response, bytes, ctx))?;
            return Box::pin(tunnel::pass(self.visit, link, &ctx.permit, self.patience.between_bytes)).await;
        }
        if self.is_held && !self.upload.is_read() {
            // Refused before it was sent, the body may come or not, so what comes next can't be told from it.
            self.visit.close();
        }
        let is_cached = ctx.entry.as_ref().is_some_and(|entry| kept::is_cached(entry));
        match AsItCame::of(request, response, bytes, ctx).filter(|_| !is_cached) {
            Some(head) => self.visit.pass(&head)?,
            None => {
                let mut head = incoming::head(response, bytes)?;
                hop_by_hop::remove_apps(&mut head);
                head.remove_header(&header::TRANSFER_ENCODING);
                if head.status == StatusCode::NO_CONTENT {
                    // There is none to have a length (RFC 9110 section 8.6).
                    head.remove_header(&header::CONTENT_LENGTH);
                }
                kept::passed(proxy, request.header(), &mut head, ctx)?;
                response_filter::dress(request.header(), &mut head, ctx)?;
                self.visit.begin(head);
            }
        }
        let mut wait: Option<Pin<Box<Sleep>>> = None;
        let mut is_ended = false;
        let passed = poll_fn(|cx| self.poll_pass(cx, &mut link, ctx, &mut wait, &mut is_ended)).await;
        match passed {
            Ok(()) => {}
            Err(Failed::App(failure)) => {
                proxy.observer.metrics().upstream(kind(&failure));
                upstream_peer::conclude(ctx, true);
                return Err(Failed::App(failure));
            }
            Err(failed) => return Err(failed),
        }
        if self.upload.is_done() && link.is_reusable() {
            proxy.pool.put(link);
        }
        flush(self.visit).await
    }

    /// Moves the answer's body, and what is left of the request's.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        ctx: &mut Ctx,
        wait: &mut Option<Pin<Box<Sleep>>>,
        is_ended: &mut bool,
    ) -> Poll<Result<(), Failed>> {
        if !self.upload.is_done()
            && !*is_ended
            && let Poll::Ready(Err(lost)) = self.upload.poll(cx, self.visit, link, self.patience.between_bytes)
        {
            return Poll::Ready(Err(Failed::Lost(lost)));
        }
        loop {
            if *is_ended {
                return self.visit.poll_flush(cx).map_err(Failed::Lost);
            }
            if self.visit.is_full() || wait.is_some() {
                match self.visit.poll_flush(cx) {
                    Poll::Pending => return self.poll_broken(cx),
                    Poll::Ready(result) => result?,
                }
            }
            if let Some(timer) = wait {
                if timer.as_mut().poll(cx).is_pending() {
                    return self.poll_broken(cx);
                }
                *wait = None;
            }
            let Poll::Ready(read) = link.poll_piece(cx, Some(self.patience.between_bytes)) else {
                // What has come does not wait for what has not.
                if let Poll::Ready(Err(lost)) = self.visit.poll_flush(cx) {
                    return Poll::Ready(Err(Failed::Lost(lost)));
                }
                return self.poll_broken(cx);
            };
            let mut piece = read.map_err(Failed::App)?;
            let is_last = piece.is_none() || link.is_done();
            response_filter::body(&mut piece, is_last, ctx)?;
            if let Some(piece) = piece.filter(|piece| !piece.is_empty()) {
                *wait =
                    ctx.permit.pace(piece.len()).filter(|_| !is_last).map(|time| Box::pin(tokio::time::sleep(time)));
                self.visit.send(piece);
            }
            if is_last {
                // Trailers tell of the body as the app sent it.
                self.visit.end(link.trailers().filter(|_| ctx.compressor.is_none()));
                *is_ended = true;
            }
        }
    }

    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Err(match ready!(self.poll_end(cx)) {
            Trouble::Lost(lost) => Failed::Lost(lost),
            Trouble::App(failure) => Failed::App(failure),
        }))
    }
}

/// How a failure is counted.
fn kind(failure: &Failure) -> Upstream {
    if failure.is_timeout() { Upstream::TimedOut } else { Upstream::Broken }
}

const UNCLEAR: Malformed = Malformed("a header field is malformed");

//! What passes between a visitor and an app once they speak another protocol (RFC 9110 section 7.8): bytes as they come,
//! in both directions, each of which ends by itself.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use guard::Permit;
use relay::{Clock, Failure, Link};
use tokio::time::{Instant, Sleep};

use super::Failed;
use crate::visit::Visit;

/// A visitor and an app that speak another protocol.
struct Tunnel<'a, V> {
    visit: &'a mut V,
    link: Box<Link>,
    permit: &'a Permit,
    /// Longest time in which nothing passes in either direction.
    limit: Duration,
    /// When something passed last.
    moved: Instant,
    clock: Clock,
    /// Whether the visitor has ended its direction.
    visitor_ended: bool,
    app_ended: bool,
    /// What makes the next piece for the visitor wait.
    wait: Option<Pin<Box<Sleep>>>,
}

/// Passes bytes until both sides have ended, or one breaks off, or neither says anything for `limit`.
pub(super) async fn pass<V: Visit>(
    visit: &mut V,
    mut link: Box<Link>,
    permit: &Permit,
    limit: Duration,
) -> Result<(), Failed> {
    link.switch();
    let mut tunnel = Tunnel {
        visit,
        link,
        permit,
        limit,
        moved: Instant::now(),
        clock: Clock::default(),
        visitor_ended: false,
        app_ended: false,
        wait: None,
    };
    poll_fn(|cx| tunnel.poll(cx)).await
}

impl<V: Visit> Tunnel<'_, V> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let (to_app, to_visitor) = (self.poll_to_app(cx)?, self.poll_to_visitor(cx)?);
        if to_app.is_ready() && to_visitor.is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.clock.poll(cx, self.moved + self.limit).map(|()| Err(Failed::App(Failure::Silent)))
    }

    fn poll_to_app(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            if self.link.is_full() || self.visitor_ended {
                ready!(self.link.poll_flush(cx, self.limit)).map_err(Failed::App)?;
            }
            if self.visitor_ended {
                return self.link.poll_shutdown(cx).map_err(Failed::App);
            }
            match self.visit.poll_body(cx)? {
                Poll::Ready(Some(piece)) => {
                    self.moved = Instant::now();
                    self.link.push_piece(piece, false);
                }
                Poll::Ready(None) => self.visitor_ended = true,
                Poll::Pending => {
                    // What has come does not wait for what has not.
                    if let Poll::Ready(flushed) = self.link.poll_flush(cx, self.limit) {
                        flushed.map_err(Failed::App)?;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_to_visitor(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            if self.visit.is_full() || self.app_ended || self.wait.is_some() {
                ready!(self.visit.poll_flush(cx))?;
            }
            if self.app_ended {
                return Poll::Ready(Ok(()));
            }
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.link.poll_piece(cx, None).map_err(Failed::App)? {
                Poll::Ready(Some(piece)) => {
                    self.moved = Instant::now();
                    self.wait = self.permit.pace(piece.len()).map(|time| Box::pin(tokio::time::sleep(time)));
                    self.visit.send(piece);
                }
                Poll::Ready(None) => {
                    self.visit.end(None);
                    self.app_ended = true;
                }
                Poll::Pending => {
                    if let Poll::Ready(flushed) = self.visit.poll_flush(cx) {
                        flushed?;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

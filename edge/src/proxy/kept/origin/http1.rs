//! Fetches an answer over HTTP/1.1, on the connections that all requests share.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use balance::Ticket;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use pingora_http::{RequestHeader, ResponseHeader};
use relay::{Clock, Failure, Link, Pool};
use response_cache::{FetchError, Unanswered};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;
use wire::{Framing, Malformed};

use super::{Failed, OF_THE_CACHE};
use crate::proxy::app::Patience;
use crate::proxy::{Ctx, Proxy, hop_by_hop, incoming, outgoing};
use crate::transport::Peer;

/// How one request is sent.
pub(super) struct Http1 {
    /// From the request line to the last field.
    head: BytesMut,
    pool: Arc<Pool>,
}

impl Http1 {
    /// `request` is without what differs in the cache's.
    pub(super) fn new(proxy: &Proxy, request: RequestHeader, peer: &Peer, ctx: &Ctx) -> Self {
        Self { head: outgoing::head(&request.into(), Framing::None, peer, ctx), pool: Arc::clone(&proxy.pool) }
    }

    /// Adds what the cache asks for.
    pub(super) fn prepare(&mut self, fields: &HeaderMap) {
        for name in &OF_THE_CACHE {
            if let Some(value) = fields.get(name) {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                    self.head.put_slice(part);
                }
            }
        }
        self.head.put_slice(b"\r\n");
    }

    /// Asks one instance, once more when a connection that was kept turns out to be closed.
    pub(super) async fn ask(
        &self,
        ticket: &Ticket,
        patience: &Patience,
        interim: &Sender<Box<ResponseHeader>>,
    ) -> Result<(ResponseHeader, Incoming), Failed> {
        let address = ticket.address();
        let mut kept = self.pool.take(address);
        loop {
            let mut link = match kept.take() {
                Some(link) => link,
                None => self.pool.connect(address, patience.connect).await.map_err(failed)?,
            };
            link.push(&self.head);
            let head = match head(&mut link, patience.first_byte, interim).await {
                Ok(head) => head,
                Err(failure) if failure.is_stale() => continue,
                Err(failure) => return Err(failed(failure)),
            };
            let end = patience.total.map(|total| Instant::now() + total);
            let (pool, clock) = (Arc::clone(&self.pool), Clock::default());
            return Ok((head, Incoming { link: Some(link), pool, limit: patience.between_bytes, end, clock }));
        }
    }
}

/// The final head of the answer; interim ones are passed on.
async fn head(
    link: &mut Link,
    limit: Duration,
    interim: &Sender<Box<ResponseHeader>>,
) -> Result<ResponseHeader, Failure> {
    loop {
        let (response, bytes) = poll_fn(|cx| {
            // An app that does not take the request may say why.
            let is_sent = link.poll_flush(cx, limit).is_ready();
            link.poll_head(cx, &incoming::LIMITS, false, is_sent.then_some(limit))
        })
        .await?;
        let mut head = incoming::head(&response, &bytes).map_err(|_| Malformed("a header field is malformed"))?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed("it changes the protocol unasked").into());
        }
        if !head.status.is_informational() {
            head.remove_header(&header::TRANSFER_ENCODING);
            return Ok(head);
        }
        hop_by_hop::remove_apps(&mut head);
        // A visitor who is not quick enough does without.
        let _ = interim.try_send(Box::new(head));
    }
}

/// The body of an answer that is being read.
pub(super) struct Incoming {
    link: Option<Box<Link>>,
    pool: Arc<Pool>,
    limit: Duration,
    /// When the whole answer takes too long.
    end: Option<Instant>,
    clock: Clock,
}

impl Incoming {
    /// The next piece; nothing at the end, again and again.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        let Self { link, limit, end, clock, .. } = self;
        let reading = link.as_mut()?;
        let piece = poll_fn(|cx| match (reading.poll_piece(cx, Some(*limit)), *end) {
            (Poll::Pending, Some(end)) => {
                ready!(clock.poll(cx, end));
                Poll::Ready(Err(Failure::Silent))
            }
            (piece, _) => piece,
        })
        .await;
        match piece {
            Ok(Some(piece)) => Some(Ok(piece)),
            Ok(None) => {
                if let Some(link) = link.take().filter(|link| link.is_reusable()) {
                    self.pool.put(link);
                }
                None
            }
            Err(failure) => {
                *link = None;
                Some(Err(error(&failure)))
            }
        }
    }
}

fn failed(failure: Failure) -> Failed {
    Failed { error: error(&failure), counts: true }
}

fn error(failure: &Failure) -> FetchError {
    let kind = match failure {
        // The app has seen nothing of the request.
        Failure::Connect(_) => Unanswered::Unavailable,
        failure if failure.is_timeout() => Unanswered::TimedOut,
        _ => Unanswered::Broken,
    };
    FetchError::new(kind, failure)
}

//! Fetches an app's answer for the response cache, apart from any visitor's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use balance::{Ticket, Upstreams};
use bytes::Bytes;
use common::policy::AppProtocol;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, header};
use pingora_http::{RequestHeader, ResponseHeader};
use response_cache::{FetchError, Fetched, Unanswered};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use crate::proxy::app::{self, Patience};
use crate::proxy::upstream_peer::UPSTREAM_TRIES;
use crate::proxy::upstream_response_filter::note;
use crate::proxy::{Ctx, Proxy};
use crate::routes::Entry;
use crate::transport::Peer;

mod h2c;
mod http1;

pub(super) use h2c::Connector;

use h2c::H2c;
use http1::Http1;

/// Fields by which a request for the cache differs from the visitor's.
const OF_THE_CACHE: [HeaderName; 4] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

/// Fields of a request with a body, which the cache's has not.
const OF_A_BODY: [HeaderName; 2] = [header::CONTENT_LENGTH, header::EXPECT];

/// How the answer to one request is fetched.
pub(super) struct Origin {
    way: Way,
    upstreams: Option<Arc<Upstreams>>,
    patience: Patience,
    interim: Sender<Box<ResponseHeader>>,
}

/// By what the app speaks.
enum Way {
    Http1(Http1),
    H2c(Box<H2c>),
}

/// Why an attempt failed, and whether another one makes sense.
struct Failed {
    error: FetchError,
    /// Whether it was the instance's fault.
    counts: bool,
}

impl Origin {
    pub(super) fn new(
        proxy: &Proxy,
        request: &RequestHeader,
        peer: &Peer,
        ctx: &Ctx,
        entry: &Entry,
        interim: Sender<Box<ResponseHeader>>,
    ) -> pingora_core::Result<Self> {
        let policy = &entry.route.policy.app;
        let mut request = request.clone();
        for name in OF_A_BODY.iter().chain(&OF_THE_CACHE) {
            request.remove_header(name);
        }
        let patience = Patience::of(&(&mut request).into(), false, &policy.timeouts, &proxy.timeouts);
        let way = match policy.protocol {
            AppProtocol::Http1 => Way::Http1(Http1::new(proxy, request, peer, ctx)),
            AppProtocol::H2c => Way::H2c(Box::new(H2c::new(proxy, request, peer, ctx)?)),
        };
        Ok(Self { way, upstreams: app::upstreams(proxy, entry), patience, interim })
    }

    /// Asks the app with these fields, another instance of it when one fails before it has answered.
    pub(super) async fn fetch(mut self, fields: HeaderMap) -> Result<Fetched, FetchError> {
        let unavailable = || FetchError::new(Unanswered::Unavailable, &"no instance of the app runs");
        let upstreams = self.upstreams.clone().ok_or_else(unavailable)?;
        match &mut self.way {
            Way::Http1(way) => way.prepare(&fields),
            Way::H2c(way) => way.prepare(&fields).map_err(|e| FetchError::new(Unanswered::Broken, &e))?,
        }
        upstreams.request();
        let mut failed: Vec<SocketAddr> = Vec::new();
        let mut last = None;
        for attempt in 0..UPSTREAM_TRIES {
            if attempt > 0 && !upstreams.may_retry(Instant::now()) {
                break;
            }
            let Some(ticket) = upstreams.pick(Instant::now(), &failed, rand::random()) else { break };
            match self.attempt(ticket).await {
                Ok(fetched) => return Ok(fetched),
                Err((mut ticket, Failed { error, counts })) => {
                    if counts {
                        failed.push(ticket.address());
                        ticket.failed(Instant::now());
                    }
                    let is_final = error.kind == Unanswered::TimedOut;
                    last = Some(error);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(unavailable))
    }

    /// Asks one instance.
    async fn attempt(&self, mut ticket: Ticket) -> Result<Fetched, (Ticket, Failed)> {
        let asked = match &self.way {
            Way::Http1(way) => {
                way.ask(&ticket, &self.patience, &self.interim).await.map(|(head, body)| (head, Body::Http1(body)))
            }
            Way::H2c(way) => way
                .ask(&ticket, &self.patience, &self.interim)
                .await
                .map(|(head, body)| (head, Body::H2c(Box::new(body)))),
        };
        match asked {
            Ok((head, body)) => {
                note(&mut ticket, head.status.as_u16());
                Ok(Fetched { head: head.into(), body: body.pieces(ticket) })
            }
            Err(failed) => Err((ticket, failed)),
        }
    }
}

/// The body of an answer that is being read.
enum Body {
    Http1(http1::Incoming),
    H2c(Box<h2c::Incoming>),
}

impl Body {
    /// The pieces as they come. The instance counts as busy until the last one.
    fn pieces(self, ticket: Ticket) -> BoxStream<'static, Result<Bytes, FetchError>> {
        futures::stream::unfold((self, ticket), |(mut body, ticket)| async move {
            let piece = match &mut body {
                Self::Http1(body) => body.next().await,
                Self::H2c(body) => body.next().await,
            }?;
            Some((piece, (body, ticket)))
        })
        .boxed()
    }
}

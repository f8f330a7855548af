//! Fetches an app's answer for the response cache, apart from any visitor's connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use balance::{Ticket, Upstreams};
use bytes::Bytes;
use common::policy::AppProtocol;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as Pool;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use response_cache::{FetchError, Fetched, Unanswered};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use crate::config::Timeouts;
use crate::proxy::app::{self, Patience};
use crate::proxy::upstream_peer::{UPSTREAM_TRIES, peer};
use crate::proxy::upstream_request_filter::upstream_request_filter;
use crate::proxy::{Ctx, Proxy, hop_by_hop, upstream_response_filter};
use crate::routes::Entry;
use crate::transport::Peer;

/// Unused connections to apps that are kept for the cache alone: it asks each app for few things at a time.
const POOL: usize = 256;
/// Fields by which a request for the cache differs from the visitor's.
const OF_THE_CACHE: [HeaderName; 4] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE];

/// Fields of a request with a body, which the cache's has not.
const OF_A_BODY: [HeaderName; 2] = [header::CONTENT_LENGTH, header::EXPECT];

/// The connections to apps by which the cache is filled.
#[derive(Clone)]
pub(super) struct Connector(Arc<Pool>);

impl Connector {
    pub(super) fn new() -> Self {
        Self(Arc::new(Pool::new(Some(ConnectorOptions::new(POOL)))))
    }
}

/// How the answer to one request is fetched.
pub(super) struct Origin {
    request: RequestHeader,
    upstreams: Option<Arc<Upstreams>>,
    patience: Patience,
    protocol: AppProtocol,
    timeouts: Timeouts,
    connector: Connector,
    interim: Sender<Box<ResponseHeader>>,
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
        let timeouts = &entry.route.policy.app.timeouts;
        let patience = Patience::of(&request.clone().into(), false, timeouts, &proxy.timeouts);
        let mut request = request.clone();
        hop_by_hop::remove_visitors(&mut request);
        for name in OF_A_BODY {
            request.remove_header(&name);
        }
        upstream_request_filter(peer, &mut request, ctx)?;
        Ok(Self {
            request,
            upstreams: app::upstreams(proxy, entry),
            patience,
            protocol: entry.route.policy.app.protocol,
            timeouts: proxy.timeouts,
            connector: proxy.kept.connector.clone(),
            interim,
        })
    }

    /// Asks the app with these fields, another instance of it when one fails before it has answered.
    pub(super) async fn fetch(mut self, fields: HeaderMap) -> Result<Fetched, FetchError> {
        let unavailable = || FetchError::new(Unanswered::Unavailable, &"no instance of the app runs");
        let upstreams = self.upstreams.clone().ok_or_else(unavailable)?;
        self.prepare(&fields).map_err(|e| FetchError::new(Unanswered::Broken, &e))?;
        upstreams.request();
        let mut failed: Vec<SocketAddr> = Vec::new();
        let mut last = None;
        for attempt in 0..UPSTREAM_TRIES {
            if attempt > 0 && !upstreams.may_retry(Instant::now()) {
                break;
            }
            let Some(mut ticket) = upstreams.pick(Instant::now(), &failed, rand::random()) else { break };
            let address = ticket.address();
            match self.attempt(&mut ticket).await {
                Ok((head, body)) => {
                    let body = body.pieces(ticket);
                    return Ok(Fetched { head: head.into(), body });
                }
                Err(Failed { error, counts }) => {
                    if counts {
                        ticket.failed(Instant::now());
                        failed.push(address);
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

    /// Makes the request what the cache sends.
    fn prepare(&mut self, fields: &HeaderMap) -> pingora_core::Result<()> {
        let request = &mut self.request;
        for name in OF_THE_CACHE {
            request.remove_header(&name);
            if let Some(value) = fields.get(&name) {
                request.insert_header(name, value.clone())?;
            }
        }
        let authority = || request.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        let host = request.headers.get(header::HOST).cloned().or_else(authority);
        match self.protocol {
            AppProtocol::Http1 => {
                request.set_version(Version::HTTP_11);
                if let Some(host) = host {
                    request.insert_header(header::HOST, host)?;
                }
            }
            AppProtocol::H2c => {
                let invalid = |e| Error::because(ErrorType::InvalidHTTPHeader, "the address for HTTP/2", e);
                let host = host.map(|host| host.as_bytes().to_vec()).unwrap_or_default();
                let path = request.uri.path_and_query().cloned().unwrap_or(http::uri::PathAndQuery::from_static("/"));
                let uri = Uri::builder().scheme("http").authority(host.as_slice()).path_and_query(path).build();
                request.set_uri(uri.map_err(invalid)?);
                request.remove_header(&header::HOST);
                request.set_version(Version::HTTP_2);
            }
        }
        Ok(())
    }

    /// Asks one instance, once more when a connection that was kept turns out to be closed.
    async fn attempt(&self, ticket: &mut Ticket) -> Result<(ResponseHeader, Incoming), Failed> {
        let peer = peer(ticket.address(), &self.patience, self.protocol, &self.timeouts);
        loop {
            let connect = self.connector.0.get_http_session(&*peer).await;
            let (mut session, was_reused) = connect.map_err(|e| Failed { error: unreached(&e), counts: true })?;
            match self.head(&mut session).await {
                Ok(head) => {
                    upstream_response_filter::note(ticket, head.status.as_u16());
                    session.set_read_timeout(Some(self.patience.between_bytes));
                    let incoming = Incoming {
                        session: Some(session),
                        peer,
                        connector: self.connector.clone(),
                        idle: self.timeouts.upstream_idle,
                        end: self.end(),
                    };
                    return Ok((head, incoming));
                }
                Err(error) => {
                    session.shutdown().await;
                    if was_reused && error.kind == Unanswered::Broken {
                        continue;
                    }
                    return Err(Failed { error, counts: true });
                }
            }
        }
    }

    /// When the whole answer takes too long.
    fn end(&self) -> Option<Instant> {
        self.patience.total.map(|total| Instant::now() + total)
    }

    /// The final head of the answer; interim ones are passed on.
    async fn head(&self, session: &mut HttpSession) -> Result<ResponseHeader, FetchError> {
        session.set_write_timeout(Some(self.patience.first_byte));
        session.set_read_timeout(Some(self.patience.first_byte));
        session.write_request_header(Box::new(self.request.clone())).await.map_err(|e| unanswered(&e))?;
        session.finish_request_body().await.map_err(|e| unanswered(&e))?;
        loop {
            session.read_response_header().await.map_err(|e| unanswered(&e))?;
            let head = session
                .response_header()
                .ok_or_else(|| FetchError::new(Unanswered::Broken, &"the app's answer has no head"))?;
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(FetchError::new(Unanswered::Broken, &"the app changes the protocol unasked"));
                }
                status if status.is_informational() => {
                    let mut head = Box::new(head.clone());
                    hop_by_hop::remove_apps(&mut head);
                    head.set_version(Version::HTTP_11);
                    // A visitor who is not quick enough does without.
                    let _ = self.interim.try_send(head);
                }
                _ => return Ok(head.clone()),
            }
        }
    }
}

/// The body of an answer that is being read.
struct Incoming {
    session: Option<HttpSession>,
    peer: Box<HttpPeer>,
    connector: Connector,
    idle: Duration,
    end: Option<Instant>,
}

impl Incoming {
    /// The pieces as they come. The instance counts as busy until the last one.
    fn pieces(self, ticket: Ticket) -> BoxStream<'static, Result<Bytes, FetchError>> {
        futures::stream::unfold((self, ticket), |(mut this, ticket)| async move {
            let piece = this.next().await?;
            Some((piece, (this, ticket)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        let session = self.session.as_mut()?;
        let read = session.read_response_body();
        let read = match self.end {
            None => read.await.map_err(|e| unanswered(&e)),
            Some(end) => match tokio::time::timeout_at(end, read).await {
                Ok(read) => read.map_err(|e| unanswered(&e)),
                Err(_) => Err(FetchError::new(Unanswered::TimedOut, &"the whole answer takes too long")),
            },
        };
        match read {
            Ok(Some(piece)) => Some(Ok(piece)),
            Ok(None) => {
                if let Some(session) = self.session.take() {
                    self.connector.0.release_http_session(session, &*self.peer, Some(self.idle)).await;
                }
                None
            }
            Err(error) => {
                if let Some(mut session) = self.session.take() {
                    session.shutdown().await;
                }
                Some(Err(error))
            }
        }
    }
}

/// No connection: the app has seen nothing of the request.
fn unreached(error: &Error) -> FetchError {
    FetchError::new(Unanswered::Unavailable, error)
}

fn unanswered(error: &Error) -> FetchError {
    let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
    FetchError::new(if timed_out { Unanswered::TimedOut } else { Unanswered::Broken }, error)
}

//! Fetches an answer over HTTP/2, by Pingora's connector.

use std::sync::Arc;
use std::time::Duration;

use balance::Ticket;
use bytes::Bytes;
use common::policy::AppProtocol;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector as Pool;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use response_cache::{FetchError, Unanswered};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::{Failed, OF_THE_CACHE};
use crate::config::Timeouts;
use crate::proxy::app::Patience;
use crate::proxy::upstream_peer::peer;
use crate::proxy::upstream_request_filter::upstream_request_filter;
use crate::proxy::{Ctx, Proxy, hop_by_hop};
use crate::transport::Peer;

/// Unused connections to apps that are kept for the cache alone: it asks each app for few things at a time.
const POOL: usize = 256;

/// The connections to apps by which the cache is filled.
#[derive(Clone)]
pub(in crate::proxy::kept) struct Connector(Arc<Pool>);

impl Connector {
    pub(in crate::proxy::kept) fn new() -> Self {
        Self(Arc::new(Pool::new(Some(ConnectorOptions::new(POOL)))))
    }
}

/// How one request is sent.
pub(super) struct H2c {
    request: RequestHeader,
    timeouts: Timeouts,
    connector: Connector,
}

impl H2c {
    /// `request` is without what differs in the cache's.
    pub(super) fn new(proxy: &Proxy, mut request: RequestHeader, from: &Peer, ctx: &Ctx) -> pingora_core::Result<Self> {
        hop_by_hop::remove_visitors(&mut request);
        upstream_request_filter(from, &mut request, ctx)?;
        let (timeouts, connector) = (proxy.timeouts, proxy.kept.connector.clone());
        Ok(Self { request, timeouts, connector })
    }

    /// Adds what the cache asks for, and makes the request one of HTTP/2.
    pub(super) fn prepare(&mut self, fields: &HeaderMap) -> pingora_core::Result<()> {
        let request = &mut self.request;
        for name in OF_THE_CACHE {
            if let Some(value) = fields.get(&name) {
                request.insert_header(name, value.clone())?;
            }
        }
        let authority = || request.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        let host = request.headers.get(header::HOST).cloned().or_else(authority);
        let invalid = |e| Error::because(ErrorType::InvalidHTTPHeader, "the address for HTTP/2", e);
        let host = host.map(|host| host.as_bytes().to_vec()).unwrap_or_default();
        let path = request.uri.path_and_query().cloned().unwrap_or(http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::builder().scheme("http").authority(host.as_slice()).path_and_query(path).build();
        request.set_uri(uri.map_err(invalid)?);
        request.remove_header(&header::HOST);
        request.set_version(Version::HTTP_2);
        Ok(())
    }

    /// Asks one instance, once more when a connection that was kept turns out to be closed.
    pub(super) async fn ask(
        &self,
        ticket: &Ticket,
        patience: &Patience,
        interim: &Sender<Box<ResponseHeader>>,
    ) -> Result<(ResponseHeader, Incoming), Failed> {
        let peer = peer(ticket.address(), patience, AppProtocol::H2c, &self.timeouts);
        loop {
            let connect = self.connector.0.get_http_session(&*peer).await;
            let (mut session, was_reused) = connect.map_err(|e| Failed { error: unreached(&e), counts: true })?;
            match self.head(&mut session, patience.first_byte, interim).await {
                Ok(head) => {
                    session.set_read_timeout(Some(patience.between_bytes));
                    let incoming = Incoming {
                        session: Some(session),
                        peer,
                        connector: self.connector.clone(),
                        idle: self.timeouts.upstream_idle,
                        end: patience.total.map(|total| Instant::now() + total),
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

    /// The final head of the answer; interim ones are passed on.
    async fn head(
        &self,
        session: &mut HttpSession,
        limit: Duration,
        interim: &Sender<Box<ResponseHeader>>,
    ) -> Result<ResponseHeader, FetchError> {
        session.set_write_timeout(Some(limit));
        session.set_read_timeout(Some(limit));
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
                    let _ = interim.try_send(head);
                }
                _ => return Ok(head.clone()),
            }
        }
    }
}

/// The body of an answer that is being read.
pub(super) struct Incoming {
    session: Option<HttpSession>,
    peer: Box<HttpPeer>,
    connector: Connector,
    idle: Duration,
    end: Option<Instant>,
}

impl Incoming {
    /// The next piece; nothing at the end, again and again.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
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

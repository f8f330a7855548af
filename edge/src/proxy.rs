//! The life of a request, by Pingora's phases. Each phase is in the file of its name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use balance::{Fleet, Ticket};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use relay::Pool;
use tokio::sync::Semaphore;

use ::guard::{Guard, Permit};
use observe::Observer;

use crate::cache::Cache;
use crate::compress::Compressor;
use crate::config::Timeouts;
use crate::host;
use crate::routes::{Entry, Routes};
use crate::transport;
use crate::wishes::Wishes;

mod address;
mod app;
mod challenge;
mod doubt;
mod elsewhere;
mod exchange;
mod fail_to_proxy;
mod guard;
mod hop_by_hop;
mod https;
mod incoming;
mod kept;
mod logging;
mod outgoing;
mod protection;
mod request;
mod request_filter;
mod response_filter;
mod silence;
pub(crate) mod trace;
mod upgrade;
mod upstream_peer;
mod upstream_request_filter;
mod upstream_response_filter;
pub(crate) mod visitor;
mod wake;

pub(crate) use exchange::AsItCame;
pub(crate) use kept::Kept;
pub(crate) use upstream_peer::UPSTREAM_TRIES;

pub(crate) use logging::Passed;
use protection::Protection;
pub(crate) use request::Request;

/// The phases of requests that Pingora carries out.
pub(crate) struct Phases(pub(crate) Arc<Proxy>);

/// What all requests share.
pub(crate) struct Proxy {
    routes: Arc<Routes>,
    cache: Cache,
    wishes: Wishes,
    /// Room for requests that wait for an app to start.
    waiting: Semaphore,
    protection: Protection,
    timeouts: Timeouts,
    front: Front,
    /// What is known of apps' instances.
    fleet: Fleet,
    /// Connections to apps that wait for the next request.
    pool: Arc<Pool>,
    /// Answers of apps that are kept.
    kept: Kept,
    /// Decides who is served and how much.
    guard: Arc<Guard>,
    /// Is told of every request.
    observer: Arc<Observer>,
}

/// What stands in front of the edge.
#[derive(Debug, Default)]
pub(crate) struct Front {
    /// Whom the edge believes what visitors they speak for.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// The port at which visitors reach HTTPS, when it is not the usual one.
    pub(crate) https_port: Option<u16>,
}

/// What watches over all requests.
#[derive(Clone)]
pub(crate) struct Watch {
    pub(crate) guard: Arc<Guard>,
    pub(crate) observer: Arc<Observer>,
}

/// Unused connections to apps that are kept, in all.
pub(crate) const UPSTREAM_POOL: usize = 1024;
/// Most requests that wait for apps to start; further ones are told at once that the app is starting.
const MAX_WAITING: usize = 1024;

impl Proxy {
    pub(crate) fn new(
        routes: Arc<Routes>,
        cache: Cache,
        wishes: Wishes,
        timeouts: Timeouts,
        front: Front,
        kept: Kept,
        watch: Watch,
    ) -> Self {
        let Watch { guard, observer } = watch;
        let waiting = Semaphore::const_new(MAX_WAITING);
        Self {
            routes,
            cache,
            wishes,
            waiting,
            protection: Protection::new(),
            timeouts,
            front,
            pool: Arc::new(Pool::new(UPSTREAM_POOL, timeouts.upstream_idle)),
            fleet: Fleet::counting(Arc::clone(observer.metrics().ejections())),
            kept,
            guard,
            observer,
        }
    }

    /// Closes connections to apps that have waited too long, for as long as this is polled.
    pub(crate) async fn tend(&self) {
        self.pool.sweep().await;
    }

    /// Whether requests for this host are Pingora's, because its app speaks HTTP/2.
    pub(crate) fn is_lent(&self, host: &[u8]) -> bool {
        let host = std::str::from_utf8(host).ok().and_then(host::normalized);
        let table = self.routes.now();
        let entry = host.and_then(|host| table.find(&host));
        entry.is_some_and(|entry| entry.is_lent())
    }

    pub(crate) const fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// What one request's phases tell each other, and the access log.
pub(crate) struct Ctx {
    /// When its head was read.
    pub(crate) started: Instant,
    /// When the app's answer began.
    pub(crate) first_byte: Option<Instant>,
    /// Who asks: the visitor's address, looked up behind trusted proxies.
    pub(crate) client: Option<IpAddr>,
    /// The trusted proxies between the visitor and the one that has connected, from the visitor on.
    pub(crate) proxies: Vec<IpAddr>,
    /// How the visitor came, here or at a trusted proxy.
    pub(crate) scheme: visitor::Scheme,
    /// Its id: a trusted proxy's, or one like no other. Empty until the request has been looked at.
    pub(crate) request_id: HeaderValue,
    /// Its place in a trace.
    pub(crate) trace: trace::Trace,
    /// The route that was in use when the request came; it stays the request's own when the table changes.
    pub(crate) entry: Option<Arc<Entry>>,
    /// The app's address that is, or was last, asked.
    pub(crate) upstream: Option<SocketAddr>,
    /// Addresses that failed for this request.
    pub(crate) failed: Vec<SocketAddr>,
    /// Whether the app asked for a body that the visitor holds back (RFC 9110 section 10.1.1).
    is_continued: bool,
    /// Whether the app was silent for longer than the project allows.
    pub(crate) was_silent: bool,
    /// The instance that is asked.
    ticket: Option<Ticket>,
    /// How long the app is waited for.
    patience: Option<app::Patience>,
    /// Watches that wait where Pingora can't.
    watch: Option<silence::Watch>,
    /// Compresses the app's answer.
    compressor: Option<Box<Compressor>>,
    /// Why the response cache left the request to the app.
    passes: Option<response_cache::Forward>,
    /// What the response cache did; `None` where there is none.
    pub(crate) cached: Option<response_cache::Status>,
    /// The guard's leave; the request counts as concurrent as long as it lives.
    permit: Permit,
    /// Why the guard refused the request.
    refused: Option<&'static str>,
    /// Rules that ended the request.
    rules: Vec<Arc<str>>,
}

impl Ctx {
    /// For a request whose head has just been read.
    fn new() -> Self {
        Self {
            started: Instant::now(),
            first_byte: None,
            client: None,
            proxies: Vec::new(),
            scheme: visitor::Scheme::default(),
            request_id: HeaderValue::from_static(""),
            trace: trace::Trace::default(),
            entry: None,
            upstream: None,
            failed: Vec::new(),
            is_continued: false,
            was_silent: false,
            ticket: None,
            patience: None,
            watch: None,
            compressor: None,
            passes: None,
            cached: None,
            permit: Permit::default(),
            refused: None,
            rules: Vec::new(),
        }
    }
}

#[async_trait]
impl ProxyHttp for Phases {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new()
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {
        // Files are compressed when they are published, and what apps send in `response_filter`, which knows why not.
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        request_filter::request_filter(&self.0, session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        upstream_peer::upstream_peer(&self.0, session, ctx)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Ctx, error: Box<Error>) -> Box<Error> {
        let error = upstream_peer::fail_to_connect(&self.0, ctx, error);
        logging::upstream_failed(&self.0, &error, true);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let peer = transport::peer(session).ok_or_else(transport::nobody)?;
        upstream_request_filter::upstream_request_filter(peer, request, ctx)?;
        upstream_request_filter::pass_trailers(session.req_header(), request)?;
        upstream_request_filter::pass_upgrade(session.req_header(), request)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream_peer::connected_to_upstream(digest, ctx);
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        was_reused: bool,
    ) -> Box<Error> {
        let error = upstream_peer::error_while_proxy(session, ctx, error, was_reused);
        logging::upstream_failed(&self.0, &error, false);
        error
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        upstream_response_filter::upstream_response_filter(response, ctx)
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        kept::passed(&self.0, session.req_header(), response, ctx)?;
        response_filter::response_filter(session, response, ctx)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_last: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        response_filter::body(body, is_last, ctx)?;
        // The next piece waits, or the end of the answer if this was the last one.
        Ok(body.as_ref().and_then(|piece| ctx.permit.pace(piece.len())))
    }

    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        _: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<Option<Bytes>> {
        response_filter::trailers(ctx)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        fail_to_proxy::fail_to_proxy(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Ctx) {
        let passed = Passed {
            status: session.response_written().map(|r| r.status.as_u16()),
            bytes_in: logging::count(session.body_bytes_read()),
            bytes_out: logging::count(session.body_bytes_sent()),
        };
        let peer = transport::peer(session).map(Arc::clone);
        logging::logging(&self.0, &session.req_header_mut().into(), peer.as_deref(), passed, ctx);
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        // `fail_to_proxy` logs it, with fields and without the query.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

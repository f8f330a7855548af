//! The life of a request, by Pingora's phases. Each phase is in the file of its name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pingora_core::modules::http::HttpModules;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::sync::Semaphore;

use crate::cache::Cache;
use crate::config::Timeouts;
use crate::routes::{Entry, Routes};
use crate::wishes::Wishes;

mod doubt;
mod fail_to_proxy;
mod logging;
mod request_filter;
mod response_filter;
mod upstream_peer;
mod upstream_request_filter;
mod wake;

pub(crate) use upstream_peer::UPSTREAM_TRIES;

/// What all requests share.
pub(crate) struct Proxy {
    routes: Arc<Routes>,
    cache: Cache,
    wishes: Wishes,
    /// Room for requests that wait for an app to start.
    waiting: Semaphore,
    timeouts: Timeouts,
}

/// Most requests that wait for apps to start; further ones are told at once that the app is starting.
const MAX_WAITING: usize = 1024;

impl Proxy {
    pub(crate) const fn new(routes: Arc<Routes>, cache: Cache, wishes: Wishes, timeouts: Timeouts) -> Self {
        Self { routes, cache, wishes, waiting: Semaphore::const_new(MAX_WAITING), timeouts }
    }

    pub(crate) const fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

/// What one request's phases tell each other.
pub(crate) struct Ctx {
    started: Instant,
    /// The route that was in use when the request came; it stays the request's own when the table changes.
    entry: Option<Arc<Entry>>,
    /// The app's address that is asked.
    upstream: Option<SocketAddr>,
    /// Addresses that did not accept a connection.
    failed: Vec<SocketAddr>,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx { started: Instant::now(), entry: None, upstream: None, failed: Vec::new() }
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {
        // Bodies pass as they are: files are compressed when they are published, apps decide for themselves.
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        request_filter::request_filter(self, session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        upstream_peer::upstream_peer(self, session, ctx)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Ctx, error: Box<Error>) -> Box<Error> {
        upstream_peer::fail_to_connect(self, ctx, error)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut Ctx,
    ) -> Result<()> {
        upstream_request_filter::upstream_request_filter(session, request)
    }

    async fn response_filter(&self, session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        response_filter::response_filter(session, response, ctx)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        fail_to_proxy::fail_to_proxy(session, error, ctx).await
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, ctx: &mut Ctx) {
        logging::logging(session, ctx);
    }

    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        // `fail_to_proxy` logs it, with fields and without the query.
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

//! The operator's listener: `/metrics`, `/healthz` and `/readyz`. It has an address of its own and shares nothing with
//! visitors' connections, so it answers however busy the edge is.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guard::Guard;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use observe::{Observer, State};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::feed;
use crate::routes::Routes;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;
/// Connections at once: a few scrapers and probes.
const MAX_CONNECTIONS: usize = 64;
/// Pause after an accept failed, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest time in which a request's head arrives, also on a connection that waits for its next request.
const HEAD: Duration = Duration::from_secs(60);
/// How Prometheus knows its text format.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the operator is told about.
pub(crate) struct Admin {
    pub(crate) observer: Arc<Observer>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) feed: Arc<feed::Status>,
    /// Cancelled once the edge drains.
    pub(crate) drains: CancellationToken,
    pub(crate) max_connections: usize,
}

/// Listens for the operator. Several edges may at once, so that a successor can before the first has gone. Must be
/// called inside a Tokio runtime.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers the operator for as long as it is polled.
pub(crate) async fn serve(admin: Admin, listener: TcpListener) {
    let (admin, room) = (Arc::new(admin), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let mut connections = tokio::task::JoinSet::new();
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "the operator's connections can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let admin = Arc::clone(&admin);
        connections.spawn(async move {
            if let Err(error) = converse(admin, socket).await {
                tracing::debug!(%error, "an operator's connection broke off");
            }
            drop(place);
        });
    }
}

async fn converse(admin: Arc<Admin>, socket: TcpStream) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = admin.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.serve_connection(TokioIo::new(socket), service).await
}

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, "This can only be read.\n");
        }
        match path {
            "/healthz" => answer(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => match self.hindrance() {
                None => answer(StatusCode::OK, TEXT, "ready\n"),
                Some(why) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
            },
            "/metrics" => match self.observer.render(self.state()) {
                Ok(text) => answer(StatusCode::OK, PROMETHEUS, text),
                Err(error) => {
                    tracing::error!(%error, "metrics can't be written");
                    answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics can't be written\n")
                }
            },
            _ => answer(StatusCode::NOT_FOUND, TEXT, "There are /metrics, /healthz and /readyz.\n"),
        }
    }

    /// Why no visitors should be sent here.
    fn hindrance(&self) -> Option<&'static str> {
        if self.drains.is_cancelled() {
            Some("not ready: the edge drains\n")
        } else if !self.routes.now().is_known() {
            Some("not ready: no routes are known yet\n")
        } else {
            None
        }
    }

    fn state(&self) -> State {
        let table = self.routes.now();
        State {
            ready: self.hindrance().is_none(),
            overloaded: self.guard.overload().is_shedding(),
            feed_connected: self.feed.is_connected(),
            feed_version: table.version(),
            feed_silence: self.feed.silence(),
            routes: table.len(),
            certificates: table.certificates().len(),
            max_connections: self.max_connections,
        }
    }
}

fn answer(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

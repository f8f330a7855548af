//! A connection that is open: takes its requests and answers them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::Stream as _;
use futures::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Request, Response, StatusCode, header};
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::http::ServerSession;
use relay::Clock;
use tokio::time::Instant;

use super::LEAVE;
use super::alarm::Alarm;
use super::head::{self, Wrong};
use super::io::{Cork, Io};
use super::session::{Paces, Session};
use super::stream::Sender;
use super::visit::Guest;
use crate::connection::{Lent, Origin, Visits, Wait};
use crate::lane::{Found, Hit, Missing};

/// Status of an answer that may be made ready.
const OK: u16 = 200;

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// Requests that are being answered.
pub(super) type Requests<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>;

pub(super) struct Serving<'a> {
    visits: &'a Arc<Visits>,
    origin: &'a Origin,
    connection: Connection<Io<Lent>, Bytes>,
    cork: Cork,
    alarm: Arc<Alarm>,
    requests: Requests<'a>,
    drain: Wait,
    /// Whether a request has come.
    has_asked: bool,
    /// Whether the visitor was told that no further request is answered.
    is_ending: bool,
    clock: Clock,
    /// When a request came or ended last.
    last: Instant,
}

impl<'a> Serving<'a> {
    pub(super) fn new(
        visits: &'a Arc<Visits>,
        origin: &'a Origin,
        connection: Connection<Io<Lent>, Bytes>,
        cork: Cork,
    ) -> Self {
        Self {
            visits,
            origin,
            connection,
            cork,
            alarm: Arc::default(),
            requests: Requests::new(),
            drain: visits.newcomers.wait(),
            has_asked: false,
            is_ending: false,
            clock: Clock::default(),
            last: Instant::now(),
        }
    }

    /// Closes the connection. Returns the requests that are still being answered, and notice now that nobody waits.
    pub(super) fn end(self) -> Requests<'a> {
        self.requests
    }

    /// Serves what has come. Ready when the connection has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.is_ending && Pin::new(&mut self.drain).poll(cx).is_ready() {
                self.announce_end();
            }
            if self.poll_requests(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.requests.is_empty() {
                return Poll::Pending;
            }
            let patience = if self.is_ending { LEAVE } else { self.visits.timeouts.client_idle };
            if self.clock.poll(cx, self.last + patience).is_pending() {
                return Poll::Pending;
            }
            if self.connection.has_streams() {
                // Their answers are on their way, at the connection's pace.
                self.last = Instant::now();
            } else if self.is_ending {
                return Poll::Ready(());
            } else {
                self.announce_end();
            }
        }
    }

    /// Says that the connection ends, and which streams are still answered.
    fn announce_end(&mut self) {
        self.connection.graceful_shutdown();
        self.is_ending = true;
        self.last = Instant::now();
    }

    /// Goes on with all requests that are being answered, accepts all that have come, and then writes what there is.
    /// Ready when the connection has ended.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let bell = Waker::from(Arc::clone(&self.alarm));
        let of_connection = &mut Context::from_waker(&bell);
        loop {
            self.alarm.begin(cx.waker());
            // Every frame of an answer is handed on before the first one is written.
            self.cork.set(true);
            let mut is_done = false;
            while !is_done {
                while let Poll::Ready(Some(())) = Pin::new(&mut self.requests).poll_next(cx) {
                    self.last = Instant::now();
                }
                self.alarm.mute();
                is_done = true;
                while let Poll::Ready(accepted) = self.connection.poll_accept(of_connection) {
                    if !self.take(accepted) {
                        return Poll::Ready(());
                    }
                    is_done = self.requests.is_empty();
                }
            }
            self.cork.set(false);
            let Poll::Ready(accepted) = self.connection.poll_accept(of_connection) else {
                if !self.alarm.is_quiet() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            };
            if !self.take(accepted) {
                return Poll::Ready(());
            }
        }
    }

    /// Answers what was accepted. Returns whether the connection goes on.
    fn take(&mut self, accepted: Option<Result<Accepted, h2::Error>>) -> bool {
        match accepted {
            Some(Ok((request, respond))) => {
                self.last = Instant::now();
                self.answer(request, respond);
                true
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a visitor broke off");
                false
            }
            None => false,
        }
    }

    fn answer(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        if !self.has_asked {
            self.has_asked = true;
            self.drain = self.visits.drain.wait();
        }
        let (mut head, body) = request.into_parts();
        match head::check(&mut head, &self.visits.limits) {
            Ok(()) => {}
            Err(Wrong::Stream) => return respond.send_reset(Reason::PROTOCOL_ERROR),
            Err(Wrong::Request(status)) => return self.refuse(status, respond),
        }
        let found = match body.is_end_stream() {
            true => self.visits.lane.find_h2(&head, self.origin.arrival()),
            false => Found::Elsewhere(None),
        };
        match found {
            Found::Ready(hit) => self.send(&hit, &head, respond),
            Found::Missing(missing) => self.exchange(head, body, respond, Some(missing)),
            Found::Elsewhere(_) if self.is_lent(&head) => self.lend(head, body, respond),
            Found::Elsewhere(_) => self.exchange(head, body, respond, None),
        }
    }

    fn refuse(&self, status: StatusCode, mut respond: SendResponse<Bytes>) {
        self.visits.lane.report_refused(status.as_u16(), &self.origin.peer);
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        if let Err(error) = respond.send_response(answer, true) {
            tracing::debug!(%error, "a visitor left before a refusal");
        }
    }

    /// Sends a hot file: at once if the visitor makes room for it.
    fn send(&mut self, hit: &Hit, head: &Parts, mut respond: SendResponse<Bytes>) {
        let (answer, body) = hit.response();
        hit.report_h2(&self.visits.lane, head, &self.origin.peer, self.last);
        let mut stream = match respond.send_response(answer, body.is_empty()) {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a visitor left before an answer"),
        };
        if body.is_empty() {
            return;
        }
        stream.reserve_capacity(body.len());
        if stream.capacity() >= body.len() {
            if let Err(error) = stream.send_data(body, true) {
                tracing::debug!(%error, "a visitor left within an answer");
            }
            return;
        }
        let mut sender = Sender::new(stream, self.visits.writing_pace());
        self.requests.push(Box::pin(async move {
            if let Err(error) = sender.send(body, true).await {
                tracing::debug!(%error, "a visitor left within an answer");
            }
        }));
    }

    /// Lets the exchange answer.
    fn exchange(&self, head: Parts, body: RecvStream, respond: SendResponse<Bytes>, missing: Option<Box<Missing>>) {
        let (visits, origin) = (self.visits, self.origin);
        let mut guest = Guest::new(visits, &head, body, respond);
        let request = head.into();
        self.requests.push(Box::pin(async move {
            visits.proxy.exchange(&mut guest, request, origin.arrival()).await;
            let status = guest.leave().await;
            if status == Some(OK)
                && let Some(missing) = missing
            {
                visits.lane.fill(*missing).await;
            }
        }));
    }

    /// Whether a request is Pingora's: a WebSocket, or one for an app that speaks HTTP/2.
    fn is_lent(&self, head: &Parts) -> bool {
        let named = || match head.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => head.headers.get(header::HOST).map(http::HeaderValue::as_bytes),
        };
        head::is_websocket(head) || named().is_some_and(|host| self.visits.proxy.is_lent(host))
    }

    /// Lets Pingora answer.
    fn lend(&self, head: Parts, body: RecvStream, respond: SendResponse<Bytes>) {
        let visits = self.visits;
        let paces = Paces { reading: visits.reading_pace(), writing: visits.writing_pace() };
        let session = match Session::new(head, body, respond, Arc::new(self.origin.digest()), paces) {
            Ok(session) => session,
            // It was dropped, which resets the stream.
            Err(error) => return tracing::warn!(%error, "a stream can't be served"),
        };
        self.requests.push(Box::pin(async move {
            let session = ServerSession::new_custom(Box::new(session));
            visits.app.process_new_http(session, &visits.shutdown).await;
        }));
    }
}

//! HTTP/2 connections of visitors (RFC 9113).
//!
//! In: a connection that speaks HTTP/2. Out: hot files at once, and every other stream as a session for Pingora's
//! proxy, in a task of its own. Streams end with their connection. What a visitor may open, reset and send without
//! asking for anything is bounded.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use h2::server::{Connection as H2, SendResponse};
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use relay::Clock;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection::{Lent, Visits, Wait};
use crate::lane::{Found, Hit, Missing};
use crate::transport::{Arrival, Peer};

mod head;
mod io;
mod meter;
mod session;
mod stream;

use head::Wrong;
use io::{Cork, Io};
use meter::Meter;
use session::{Paces, Session};
use stream::Sender;

/// What a visitor may do on one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Limits {
    /// Most requests at once (RFC 9113 section 5.1.2).
    pub streams: u32,
    /// Frames a second that cost the visitor nothing, on average: PING, SETTINGS, RST_STREAM, PRIORITY, CONTINUATION
    /// and empty DATA; and WINDOW_UPDATE, of which one counts an eighth and each 512 bytes of answers allow one more.
    /// Four seconds' worth may come at once; beyond, the connection is closed.
    pub control_frames_per_s: u32,
    /// Streams that were reset and whose handling has not ended; beyond, the connection is closed (rapid reset,
    /// CVE-2023-44487).
    pub reset_streams: usize,
}

impl Default for H2Limits {
    /// RFC 9113 recommends a hundred streams at least. Browsers send a few control frames a second, gRPC's clients some
    /// hundred, and people who leave a page reset what it was loading.
    fn default() -> Self {
        Self { streams: 100, control_frames_per_s: 500, reset_streams: 64 }
    }
}

/// Bytes of one stream's request body that may be on their way: a file uploads at eighty megabits over fifty
/// milliseconds.
const STREAM_WINDOW: u32 = 512 << 10;
/// The same of all streams of a connection together; as much memory as it can take from the edge.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answers that wait within one stream before its sender is held back.
const SEND_BUFFER: usize = 256 << 10;
/// Streams that the edge reset because of the visitor's mistakes; beyond, the connection is closed.
const MISTAKES: usize = 64;
/// How long a visitor who was told that the connection ends may take to leave by itself.
const LEAVE: Duration = Duration::from_secs(2);
/// How long the streams of a visitor who left may take to end by themselves, which they do at their next step.
const FAREWELL: Duration = Duration::from_secs(5);

/// Status of an answer that may be made ready.
const OK: u16 = 200;

/// Serves a connection to its end.
pub(crate) async fn serve(visits: &Arc<Visits>, connection: Lent, peer: Arc<Peer>) {
    let (digest, since) = (Arc::new(connection.digest()), connection.since());
    let io = Io::new(connection, Meter::new(visits.h2.control_frames_per_s));
    let cork = io.cork();
    // Boxed, because it is larger than what comes after it and soon over.
    let opening = Box::pin(async {
        tokio::select! {
            // Whoever opens a connection says at once what it is for.
            opened = tokio::time::timeout(visits.timeouts.client_head, builder(visits).handshake(io)) => opened.ok(),
            () = visits.newcomers.wait() => None,
        }
    });
    let connection = match opening.await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => return tracing::debug!(%error, "a visitor speaks no HTTP/2"),
        None => return tracing::debug!("a visitor does not begin with HTTP/2"),
    };
    let mut serving = Serving {
        visits,
        connection,
        cork,
        peer,
        since,
        digest,
        streams: JoinSet::new(),
        drain: visits.newcomers.wait(),
        has_asked: false,
        is_ending: false,
        clock: Clock::default(),
        last: Instant::now(),
    };
    poll_fn(|cx| serving.poll(cx)).await;
    let Serving { connection, mut streams, .. } = serving;
    drop(connection);
    let ends = async { while streams.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, ends).await.is_err() {
        tracing::debug!("requests of a visitor who left are cut off");
    }
}

fn builder(visits: &Visits) -> h2::server::Builder {
    let limits = &visits.h2;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(visits.limits.head).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(limits.reset_streams)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_local_error_reset_streams(Some(MISTAKES))
        .enable_connect_protocol();
    builder
}

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

struct Serving<'a> {
    visits: &'a Arc<Visits>,
    connection: H2<Io<Lent>, Bytes>,
    cork: Cork,
    peer: Arc<Peer>,
    /// When the connection began.
    since: SystemTime,
    digest: Arc<Digest>,
    /// Requests that are being answered. They end with this.
    streams: JoinSet<()>,
    drain: Wait,
    /// Whether a request has come.
    has_asked: bool,
    /// Whether the visitor was told that no further request is answered.
    is_ending: bool,
    clock: Clock,
    /// When a request came or ended last.
    last: Instant,
}

impl Serving<'_> {
    /// Serves what has come. Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.is_ending && Pin::new(&mut self.drain).poll(cx).is_ready() {
                self.end();
            }
            if self.poll_requests(cx).is_ready() {
                return Poll::Ready(());
            }
            while let Poll::Ready(Some(_)) = self.streams.poll_join_next(cx) {
                self.last = Instant::now();
            }
            if !self.streams.is_empty() {
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
                self.end();
            }
        }
    }

    /// Says that the connection ends, and which streams are still answered.
    fn end(&mut self) {
        self.connection.graceful_shutdown();
        self.is_ending = true;
        self.last = Instant::now();
    }

    /// Accepts all requests that have come, and then writes what was answered at once. Ready when the connection has
    /// ended.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.cork.set(true);
            while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
                if !self.take(accepted) {
                    return Poll::Ready(());
                }
            }
            self.cork.set(false);
            let accepted = ready!(self.connection.poll_accept(cx));
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
            true => self.visits.lane.find_h2(&head, Arrival { peer: &self.peer, since: self.since }),
            false => Found::Elsewhere,
        };
        match found {
            Found::Ready(hit) => self.send(&hit, &head, respond),
            Found::Missing(missing) => self.proxy(head, body, respond, Some(*missing)),
            Found::Elsewhere => self.proxy(head, body, respond, None),
        }
    }

    fn refuse(&self, status: StatusCode, mut respond: SendResponse<Bytes>) {
        self.visits.lane.report_refused(status.as_u16(), &self.peer);
        let mut answer = Response::new(());
        *answer.status_mut() = status;
        if let Err(error) = respond.send_response(answer, true) {
            tracing::debug!(%error, "a visitor left before a refusal");
        }
    }

    /// Sends a hot file: at once if the visitor makes room for it.
    fn send(&mut self, hit: &Hit, head: &Parts, mut respond: SendResponse<Bytes>) {
        let (answer, body) = hit.response();
        hit.report_h2(&self.visits.lane, head, &self.peer, self.last);
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
        self.streams.spawn(async move {
            if let Err(error) = sender.send(body, true).await {
                tracing::debug!(%error, "a visitor left within an answer");
            }
        });
    }

    /// Lets Pingora answer.
    fn proxy(&mut self, head: Parts, body: RecvStream, respond: SendResponse<Bytes>, missing: Option<Missing>) {
        let paces = Paces { reading: self.visits.reading_pace(), writing: self.visits.writing_pace() };
        let status = missing.is_some().then(|| Arc::new(AtomicU16::new(0)));
        let session = match Session::new(head, body, respond, Arc::clone(&self.digest), paces, status.clone()) {
            Ok(session) => session,
            // It was dropped, which resets the stream.
            Err(error) => return tracing::warn!(%error, "a stream can't be served"),
        };
        let visits = Arc::clone(self.visits);
        self.streams.spawn(async move {
            let session = ServerSession::new_custom(Box::new(session));
            visits.app.process_new_http(session, &visits.shutdown).await;
            if let Some(missing) = missing
                && status.is_some_and(|status| status.load(Ordering::Relaxed) == OK)
            {
                visits.lane.fill(missing).await;
            }
        });
    }
}

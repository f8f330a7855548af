//! A request over an HTTP/2 stream as what answers it sees it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use pingora_http::ResponseHeader;
use wire::Framing;

use super::once;
use super::stream::{Sender, given_up, linger};
use crate::answer::REQUEST_ID;
use crate::connection::{Pace, Visits};
use crate::lane::date;
use crate::proxy::Passed;
use crate::visit::{Lost, Visit};

/// Fields that only have a meaning over HTTP/1 (RFC 9113 section 8.2.2).
pub(super) const HTTP1_ONLY: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The reading of a body's length has compared it with what comes (RFC 9113 section 8.1.1).
fn framing(head: &Parts, body: &RecvStream) -> Framing {
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
    match length {
        Some(length) => Framing::Length(length),
        None if body.is_end_stream() => Framing::None,
        None => Framing::Chunked,
    }
}

pub(super) struct Guest {
    framing: Framing,
    to_head: bool,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// Once the answer's head is sent.
    sender: Option<Sender>,
    /// Whether the request was read to its end.
    is_read: bool,
    /// The request's trailers.
    received: Option<HeaderMap>,
    reading: Pace,
    /// Until the answer's head is sent.
    writing: Option<Pace>,
    /// Queued, as are the next two, in this order: so what ends with them says so itself, without a frame of its own.
    head: Option<Response<()>>,
    piece: Bytes,
    trailers: Option<HeaderMap>,
    /// Whether the answer has a body.
    has_body: bool,
    /// Whether the answer's end is queued.
    is_whole: bool,
    /// Whether the answer's end is sent.
    is_sent: bool,
    passed: Passed,
}

impl Guest {
    /// A request whose head was checked.
    pub(super) fn new(visits: &Visits, head: &Parts, body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            framing: framing(head, &body),
            to_head: head.method == Method::HEAD,
            body,
            respond,
            sender: None,
            is_read: false,
            received: None,
            reading: visits.reading_pace(),
            writing: Some(visits.writing_pace()),
            head: None,
            piece: Bytes::new(),
            trailers: None,
            has_body: false,
            is_whole: false,
            is_sent: false,
            passed: Passed::default(),
        }
    }

    /// Leaves the stream after its answer. Returns the answer's status.
    pub(super) async fn leave(&mut self) -> Option<u16> {
        // A stream whose answer is not whole is reset when it is dropped, if it was not before.
        if self.is_sent {
            linger(&mut self.body).await;
        }
        self.passed.status
    }

    /// Sends what is queued, as far as the visitor makes room for it.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_sent {
            return Poll::Ready(Ok(()));
        }
        let ends_with_body = self.is_whole && self.trailers.is_none();
        if let Some(head) = self.head.take() {
            let is_all = ends_with_body && self.piece.is_empty();
            let stream = self.respond.send_response(head, is_all).map_err(io::Error::other)?;
            self.sender = self.writing.take().map(|pace| Sender::new(stream, pace));
            self.is_sent = is_all;
            if is_all {
                return Poll::Ready(Ok(()));
            }
        }
        // Before the head there is nothing.
        let Some(sender) = &mut self.sender else { return Poll::Ready(Ok(())) };
        ready!(sender.poll_send(cx, &mut self.piece, ends_with_body))?;
        if let Some(trailers) = self.trailers.take() {
            sender.send_trailers(trailers)?;
        }
        self.is_sent = self.is_whole;
        Poll::Ready(Ok(()))
    }
}

impl Visit for Guest {
    fn framing(&self) -> Framing {
        self.framing
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>> {
        while !self.is_read {
            let come = match self.body.poll_data(cx) {
                Poll::Ready(None) => self.body.poll_trailers(cx).map_ok(|trailers| {
                    self.received = trailers;
                    None
                }),
                Poll::Ready(Some(data)) => Poll::Ready(data.map(Some)),
                Poll::Pending => Poll::Pending,
            };
            let Poll::Ready(come) = come else { return self.reading.wait(cx).map(|_| Err(Lost::Silent)) };
            match come.map_err(lost)? {
                None if self.received.iter().flat_map(HeaderMap::keys).all(|n| wire::may_be_trailer(n.as_ref())) => {
                    self.is_read = true;
                }
                None => {
                    self.respond.send_reset(Reason::PROTOCOL_ERROR);
                    return Poll::Ready(Err(Lost::Malformed));
                }
                Some(piece) => {
                    self.reading.moved(piece.len());
                    // Room for as much again: who takes this asks for the next piece when it wants it. Fails only for
                    // more than was received.
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    if !piece.is_empty() {
                        self.passed.bytes_in += piece.len() as u64;
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn trailers(&self) -> Option<HeaderMap> {
        self.received.clone()
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.sender {
            Some(sender) => sender.poll_left(cx),
            None => self.respond.poll_reset(cx).map(given_up),
        }
    }

    fn interim(&mut self, head: &ResponseHeader) {
        let interim = Response::from_parts(head.as_owned_parts(), ());
        // Whoever does not take it has left, which is noticed elsewhere.
        if let Err(error) = self.respond.send_informational(interim) {
            tracing::debug!(%error, "a visitor left before an interim answer");
        }
    }

    fn close(&mut self) {}

    fn begin(&mut self, mut head: ResponseHeader) {
        let status = head.status;
        self.passed.status = Some(status.as_u16());
        self.has_body = !self.to_head && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        for name in &HTTP1_ONLY {
            head.remove_header(name);
        }
        let mut head: http::response::Parts = head.into();
        if let Some(id) = head.headers.get_mut(REQUEST_ID) {
            once(id);
        }
        head.headers.entry(header::DATE).or_insert_with(date::value);
        self.head = Some(Response::from_parts(head, ()));
    }

    fn is_full(&self) -> bool {
        !self.piece.is_empty()
    }

    fn send(&mut self, piece: Bytes) {
        if self.has_body {
            self.passed.bytes_out += piece.len() as u64;
            self.piece = piece;
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) {
        self.is_whole = true;
        self.trailers = trailers.filter(|trailers| self.has_body && !trailers.is_empty());
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.poll_queued(cx).map_err(Lost::Left)
    }

    fn abort(&mut self) {
        // Nothing of what is queued follows.
        (self.head, self.trailers, self.is_sent) = (None, None, false);
        self.piece = Bytes::new();
        match &mut self.sender {
            Some(sender) => sender.reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
        self.sender = None;
    }

    fn passed(&self) -> Passed {
        self.passed
    }
}

/// Why a request's body does not come to its end.
fn lost(error: h2::Error) -> Lost {
    // The stream, or the connection, was reset for what the visitor sent.
    if error.is_library() { Lost::Malformed } else { Lost::Left(io::Error::other(error)) }
}

//! One stream of an HTTP/2 connection, as Pingora's proxy sees a visitor: for apps that speak HTTP/2 themselves, and
//! for WebSockets.
//!
//! It differs from Pingora's own in three things: interim answers reach the visitor (103, RFC 8297), a WebSocket
//! opens over a stream (RFC 8441), and whoever takes no bytes for too long loses the stream.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Response, StatusCode, Version, header};
use pingora_core::protocols::Digest;
use pingora_core::{Error, ErrorType, OrErr as _, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::head;
use super::stream::{Sender, given_up};
use super::visit::HTTP1_ONLY;
use crate::connection::Pace;
use crate::lane::date;

mod custom;

/// Most bytes of a request's body that are kept so that another instance of the app may be asked: as much as Pingora
/// keeps over HTTP/1.
const RETRY: usize = 64 << 10;
/// A stream, from its request to the end of its answer.
pub(super) struct Session {
    request: RequestHeader,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    sender: Option<Sender>,
    written: Option<Box<ResponseHeader>>,
    has_ended: bool,
    tunnel: Tunnel,
    reading: Pace,
    /// Until the answer's head is written.
    writing: Option<Pace>,
    bytes_read: usize,
    bytes_sent: usize,
    retry: Option<Retry>,
    digest: Arc<Digest>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    drain_timeout: Option<Duration>,
}

/// How slowly a visitor may send and take.
pub(super) struct Paces {
    pub(super) reading: Pace,
    pub(super) writing: Pace,
}

/// Whether the stream is one of HTTP's messages, or a WebSocket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    No,
    /// The app has not answered yet; until then there is no body.
    Asked,
    Open,
}

#[derive(Default)]
struct Retry {
    bytes: BytesMut,
    is_cut: bool,
}

impl Session {
    /// A session of a request whose head was checked.
    pub(super) fn new(
        request: http::request::Parts,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        digest: Arc<Digest>,
        paces: Paces,
    ) -> Result<Self> {
        let is_websocket = head::is_websocket(&request);
        let mut request = RequestHeader::from(request);
        if is_websocket {
            as_http1_upgrade(&mut request)?;
        }
        Ok(Self {
            request,
            body,
            respond,
            sender: None,
            written: None,
            has_ended: false,
            reading: paces.reading,
            writing: Some(paces.writing),
            tunnel: if is_websocket { Tunnel::Asked } else { Tunnel::No },
            bytes_read: 0,
            bytes_sent: 0,
            retry: None,
            digest,
            read_timeout: None,
            write_timeout: None,
            drain_timeout: None,
        })
    }

    async fn read(&mut self) -> Result<Option<Bytes>> {
        let Some(data) = poll_fn(|cx| self.poll_data(cx)).await? else { return Ok(None) };
        self.bytes_read += data.len();
        if let Some(retry) = &mut self.retry {
            retry.is_cut |= retry.bytes.len() + data.len() > RETRY;
            if !retry.is_cut {
                retry.bytes.extend_from_slice(&data);
            }
        }
        // Fails only for more than was received.
        let _ = self.body.flow_control().release_capacity(data.len());
        Ok(Some(data))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match self.body.poll_data(cx) {
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(Ok(data))) => {
                self.reading.moved(data.len());
                Poll::Ready(Ok(Some(data)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = Error::because(ErrorType::ReadError, "a request's body", error);
                Poll::Ready(Err(error.into_down()))
            }
            // The silence of a WebSocket is bounded elsewhere.
            Poll::Pending if self.tunnel == Tunnel::Open => Poll::Pending,
            Poll::Pending => self
                .reading
                .wait(cx)
                .map(|error| Err(Error::because(ErrorType::ReadTimedout, "a request's body", error).into_down())),
        }
    }

    fn write_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.has_ended || self.written.is_some() {
            return Ok(());
        }
        let opens = self.tunnel == Tunnel::Asked && head.status == StatusCode::SWITCHING_PROTOCOLS;
        if opens {
            // RFC 8441 section 5: any status of success says that the WebSocket is open.
            head.set_status(StatusCode::OK)?;
            head.remove_header(&header::SEC_WEBSOCKET_ACCEPT);
            self.tunnel = Tunnel::Open;
        }
        for name in &HTTP1_ONLY {
            head.remove_header(name);
        }
        if head.status.is_informational() {
            // Also an answer of its own: it tells the visitor nothing that HTTP/2 does not say otherwise.
            if head.status == StatusCode::CONTINUE {
                return Ok(());
            }
            let interim = Response::from_parts(head.as_owned_parts(), ());
            let sent = self.respond.send_informational(interim).or_err(ErrorType::WriteError, "an interim answer");
            return sent.map_err(|e| e.into_down());
        }
        if !head.headers.contains_key(header::DATE) {
            head.insert_header(header::DATE, date::value())?;
        }
        let end = end && !opens;
        let answer = Response::from_parts(head.as_owned_parts(), ());
        let sender = self.respond.send_response(answer, end).or_err(ErrorType::WriteError, "an answer's head");
        let sender = sender.map_err(|e| e.into_down())?;
        self.sender = self.writing.take().map(|pace| Sender::new(sender, pace));
        self.has_ended = end;
        self.written = Some(head);
        Ok(())
    }

    async fn write(&mut self, data: Bytes, end: bool) -> Result<()> {
        if self.has_ended {
            return Ok(());
        }
        let Some(sender) = &mut self.sender else {
            return Err(Error::explain(ErrorType::InternalError, "a body without a head"));
        };
        self.bytes_sent += data.len();
        sender.send(data, end).await.map_err(unsent)?;
        self.has_ended = end;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        // A stream without an answer is reset when this is dropped.
        if let Some(sender) = self.sender.as_mut().filter(|_| !self.has_ended) {
            sender.end().map_err(unsent)?;
            self.has_ended = true;
        }
        Ok(())
    }

    /// Ends when the visitor gives the stream up.
    async fn left(&mut self) -> Result<Option<Bytes>> {
        let why = match &mut self.sender {
            Some(sender) => poll_fn(|cx| sender.poll_left(cx)).await,
            None => given_up(poll_fn(|cx| self.respond.poll_reset(cx)).await),
        };
        Err(Error::because(ErrorType::ConnectionClosed, "the visitor left", why).into_down())
    }
}

/// Why an answer does not get to the visitor.
fn unsent(error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorType::WriteTimedout,
        io::ErrorKind::ConnectionReset => ErrorType::ConnectionClosed,
        _ => ErrorType::WriteError,
    };
    Error::because(kind, "an answer", error).into_down()
}

/// The HTTP/1.1 request that asks an app for the same WebSocket (RFC 8441 section 5, RFC 6455 section 4.1).
fn as_http1_upgrade(request: &mut RequestHeader) -> Result<()> {
    request.set_method(Method::GET);
    request.set_version(Version::HTTP_11);
    request.insert_header(header::CONNECTION, "Upgrade")?;
    request.insert_header(header::UPGRADE, "websocket")?;
    request.insert_header(header::SEC_WEBSOCKET_KEY, STANDARD.encode(rand::random::<[u8; 16]>()))?;
    let path = request.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes().to_vec();
    request.set_raw_path(&path)
}

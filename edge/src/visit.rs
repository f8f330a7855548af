//! One request of a visitor, and the way back, whatever the visitor speaks.
//!
//! What answers a request ([`crate::proxy`]'s exchange) knows nothing of connections and framing: it reads the
//! request's body and queues the parts of an answer here. Implemented by a visitor's HTTP/1 connection and by an HTTP/2
//! stream.
//!
//! Everything is polled, so that both directions move at once out of one task. What is queued never waits:
//! [`Visit::poll_flush`] does. Whoever queues body pieces asks [`Visit::is_full`] before each.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::{Error, ErrorType};
use pingora_http::ResponseHeader;
use wire::Framing;

use crate::cache::FilePart;
use crate::proxy::{AsItCame, Passed};

/// Why nobody waits for the answer any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    /// The visitor is gone, takes bytes too slowly, or does not want the answer any more.
    #[error("the visitor left: {0}")]
    Left(#[from] io::Error),
    /// The visitor was silent for too long within the request's body, but may read an answer.
    #[error("the visitor was silent for too long within the request's body")]
    Silent,
    /// The request's body is none; the visit has told the visitor so where it could.
    #[error("the request's body is malformed")]
    Malformed,
}

/// One request of a visitor, and the way back. The head of the request is read already; an HTTP/2 stream's has its
/// cookie fields in one (RFC 9113 section 8.2.3).
///
/// An answer is: any [`interim`](Visit::interim) heads, [`begin`](Visit::begin), any [`send`](Visit::send), then
/// [`end`](Visit::end), or [`abort`](Visit::abort) at any time.
pub(crate) trait Visit: Send {
    /// How the request's body is framed; chunked also stands for any body of unknown length.
    fn framing(&self) -> Framing;

    /// Polls for the next piece of the request's body; `None` at its end, again and again.
    ///
    /// # Errors
    /// When the body does not come to its end. What is malformed is answered by the visit itself.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Lost>>;

    /// The request's trailer fields, once its body was read to its end.
    fn trailers(&self) -> Option<HeaderMap>;

    /// Polls for the visitor's leaving. Only once the body was read to its end.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error>;

    /// Queues an interim head (1xx, but not 101), where the visitor's version knows such.
    fn interim(&mut self, head: &ResponseHeader);

    /// No further request is wanted on this connection. Before [`begin`](Visit::begin); means nothing to HTTP/2.
    fn close(&mut self);

    /// Queues the final head, without fields that belong to a connection. The body's length is what `Content-Length`
    /// says, or unknown; whether there is a body at all follows from the method and the status.
    fn begin(&mut self, head: ResponseHeader);

    /// The same for an app's answer as it came.
    ///
    /// # Errors
    /// When its fields can't be told, which the strict parser rules out.
    fn pass(&mut self, head: &AsItCame<'_>) -> pingora_core::Result<()> {
        head.to_header().map(|head| self.begin(head))
    }

    /// Whether the visitor may ask for another protocol.
    fn may_switch(&self) -> bool {
        false
    }

    /// Queues the head by which an app changes the protocol (101). What comes from then on is the new protocol's, by
    /// [`poll_body`](Visit::poll_body), and so is what is [sent](Visit::send); [`end`](Visit::end) ends that direction
    /// alone.
    ///
    /// # Errors
    /// When the visitor [may not](Visit::may_switch).
    fn switch(&mut self, _: &AsItCame<'_>) -> pingora_core::Result<()> {
        Error::e_explain(ErrorType::InternalError, "this visitor can speak no other protocol")
    }

    /// Whether what is queued must be flushed before a further piece is.
    fn is_full(&self) -> bool;

    /// Queues a piece of the answer's body, never an empty one, and nothing where there is no body.
    fn send(&mut self, piece: Bytes);

    /// Queues a part of a file, like a piece. Gives it back where it must be read instead: by default everywhere.
    ///
    /// # Errors
    /// The part, of which nothing was queued.
    fn send_file(&mut self, part: FilePart) -> Result<(), FilePart> {
        Err(part)
    }

    /// Queues the end of the answer. Trailers are left out where the visitor can't be told them.
    fn end(&mut self, trailers: Option<HeaderMap>);

    /// Polls until everything queued is on its way.
    ///
    /// # Errors
    /// When the visitor has left, or takes it too slowly.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// Breaks off, so that the visitor notices that this is not the whole answer.
    fn abort(&mut self);

    /// What passed so far.
    fn passed(&self) -> Passed;
}

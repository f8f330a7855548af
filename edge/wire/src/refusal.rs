//! Why a request is refused.

/// Why a request is refused. Its connection can't be used any more, because nobody knows where the next request
/// begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub struct Refusal {
    /// The answer's status: 400, 414, 431, 501 or 505.
    pub status: u16,
    /// A sentence for the visitor.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }

    /// What the status is called (RFC 9110 section 15).
    #[must_use]
    pub const fn phrase(&self) -> &'static str {
        match self.status {
            414 => "URI Too Long",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            505 => "HTTP Version Not Supported",
            _ => "Bad Request",
        }
    }
}

pub(crate) const LINE_END: Refusal = Refusal::bad("The lines of the request's head do not all end with CR LF.");
pub(crate) const CONTROL: Refusal = Refusal::bad("The request's head has a control character.");
pub(crate) const REQUEST_LINE: Refusal = Refusal::bad("The request line is not a method, a target and a version.");
pub(crate) const METHOD: Refusal = Refusal::bad("The request's method is no token.");
pub(crate) const TARGET: Refusal = Refusal::bad("The address is neither a path nor a whole URL.");
pub(crate) const VERSION: Refusal = Refusal { status: 505, reason: "Only HTTP/1.0 and HTTP/1.1 are spoken here." };
pub(crate) const CONNECT: Refusal = Refusal { status: 501, reason: "This server opens no tunnels." };
pub(crate) const LINE_TOO_LONG: Refusal = Refusal { status: 414, reason: "The request's address is too long." };
pub(crate) const HEAD_TOO_LARGE: Refusal =
    Refusal { status: 431, reason: "The request's header fields are too large." };
pub(crate) const TOO_MANY_FIELDS: Refusal = Refusal { status: 431, reason: "The request has too many header fields." };
pub(crate) const FOLDED: Refusal = Refusal::bad("A header field is folded over several lines.");
pub(crate) const FIELD_NAME: Refusal = Refusal::bad("The name of a header field is no token.");
pub(crate) const HOST_MISSING: Refusal = Refusal::bad("The request does not say which site it is for.");
pub(crate) const HOST_REPEATED: Refusal = Refusal::bad("The request names its site more than once.");
pub(crate) const HOST: Refusal = Refusal::bad("The request's host is no name of a site.");
pub(crate) const AUTHORITY: Refusal = Refusal::bad("The request's address and its host are of different sites.");
pub(crate) const FRAMING: Refusal = Refusal::bad("The request does not say clearly where its body ends.");
pub(crate) const CODING: Refusal =
    Refusal { status: 501, reason: "The request's body has a transfer coding other than chunked." };
pub(crate) const CHUNK: Refusal = Refusal::bad("A chunk of the request's body is malformed.");
pub(crate) const CHUNK_EXTENSIONS: Refusal = Refusal::bad("The chunks of the request's body have too long extensions.");
pub(crate) const TRAILER: Refusal = Refusal::bad("A trailer field of the request is malformed or not allowed there.");
pub(crate) const TRAILERS_TOO_LARGE: Refusal =
    Refusal { status: 431, reason: "The request's trailer fields are too large." };

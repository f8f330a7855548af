//! An answer as bytes.

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use pingora_http::ResponseHeader;
use wire::{Head, Version};

use super::{Hit, date};
use crate::{answer, h2};

/// Bytes that a field takes beside its value in a map of fields, roughly.
const FIELD: usize = 112;

/// The answer to every request of one kind for one file.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) status: u16,
    /// From the status line to the name of the last field but `Date` and `Connection`, the request's id.
    head: Box<[u8]>,
    /// The same for HTTP/2, with places for the id and `Date`.
    fields: HeaderMap,
    pub(super) body: Bytes,
    /// For visitors who have the file: its tag, and the head that says so.
    unchanged: Option<Unchanged>,
}

/// The tag, and the head in both forms.
type Unchanged = (Box<[u8]>, Box<[u8]>, HeaderMap);

impl Ready {
    pub(super) fn new(head: &Parts, body: Bytes, unchanged: Option<&Parts>) -> Self {
        let tag = head.headers.get(header::ETAG);
        let unchanged = tag.zip(unchanged).map(|(tag, head)| (tag.as_bytes().into(), lines(head), fields(head)));
        Self { status: head.status.as_u16(), head: lines(head), fields: fields(head), body, unchanged }
    }

    /// The file's tag, when visitors who have it can be told so.
    pub(super) fn tag(&self) -> Option<&[u8]> {
        self.unchanged.as_ref().map(|(tag, ..)| &**tag)
    }

    /// Memory that it takes, in bytes, beside a body that is kept elsewhere anyway.
    pub(super) fn memory(&self) -> usize {
        // The fields for HTTP/2 share their values' bytes with nobody, and have some more around them.
        let of_head = |head: &[u8], fields: &HeaderMap| 2 * head.len() + fields.capacity() * FIELD;
        size_of::<Self>()
            + of_head(&self.head, &self.fields)
            + self.unchanged.as_ref().map_or(0, |(tag, head, fields)| tag.len() + of_head(head, fields))
    }

    /// The head for one request over HTTP/2.
    pub(super) fn response(&self, hit: &Hit) -> Response<()> {
        let (status, fields) = match &self.unchanged {
            Some((.., fields)) if hit.is_unchanged => (StatusCode::NOT_MODIFIED, fields),
            _ => (StatusCode::from_u16(self.status).unwrap_or_default(), &self.fields),
        };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = fields.clone();
        let mut id = hit.id.field();
        h2::once(&mut id);
        response.headers_mut().insert(answer::REQUEST_ID, id);
        response.headers_mut().insert(header::DATE, date::value());
        response
    }

    /// Appends the head for one request.
    pub(super) fn write_head(&self, to: &mut BytesMut, request: &Head, keeps: bool, hit: &Hit) {
        let head = match &self.unchanged {
            Some((_, head, _)) if hit.is_unchanged => head,
            _ => &self.head,
        };
        to.extend_from_slice(head);
        to.extend_from_slice(hit.id.as_bytes());
        to.extend_from_slice(b"\r\n");
        date::append_at(to, hit.at);
        to.extend_from_slice(match (keeps, request.version) {
            (true, Version::Http11) => b"\r\n",
            (true, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
    }
}

/// The fields, with places for the request's id and `Date`: so the copy for an answer never grows.
fn fields(head: &Parts) -> HeaderMap {
    let mut fields = head.headers.clone();
    fields.insert(answer::REQUEST_ID, HeaderValue::from_static(""));
    fields.insert(header::DATE, date::value());
    fields
}

/// The status line, the fields, and the name of the one that each request has its own value for.
fn lines(head: &Parts) -> Box<[u8]> {
    let mut text = Vec::new();
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(head.status.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    // Names are spelled as the ordinary way spells them.
    ResponseHeader::from(head.clone()).header_to_h1_wire(&mut text);
    text.extend_from_slice(answer::REQUEST_ID.as_str().as_bytes());
    text.extend_from_slice(b": ");
    text.into()
}

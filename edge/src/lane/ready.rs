//! An answer as bytes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use pingora_http::ResponseHeader;
use wire::{Head, Version};

use super::{Hit, date};
use crate::cache::FilePart;
use crate::{answer, h2};

/// Bytes that a field takes beside its value in a map of fields, roughly.
const FIELD: usize = 112;

/// Length of a body in bytes from which on the system sends it by itself, where it can: below, copying costs less.
pub(super) const LARGE: usize = 32 << 10;
/// What an open file counts as, in bytes of memory: so there are some hundreds at most.
const OPEN: usize = 128 << 10;
/// For how long what was in the system's memory is taken to be there still, in milliseconds.
const FRESH: u64 = 100;

/// The answer to every request of one kind for one file.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) status: u16,
    /// From the status line to the name of the last field but `Date` and `Connection`, the request's id.
    head: Box<[u8]>,
    /// The same for HTTP/2, with places for the id and `Date`.
    fields: HeaderMap,
    pub(super) body: Bytes,
    /// The body again, when the system can send it.
    file: Option<Open>,
    /// For visitors who have the file: its tag, and the head that says so.
    unchanged: Option<Unchanged>,
}

/// A file that stays open.
#[derive(Debug)]
struct Open {
    part: FilePart,
    /// When it was in memory, in milliseconds since 1970.
    seen: AtomicU64,
}

/// The tag, and the head in both forms.
type Unchanged = (Box<[u8]>, Box<[u8]>, HeaderMap);

impl Ready {
    pub(super) fn new(head: &Parts, body: Bytes, file: Option<FilePart>, unchanged: Option<&Parts>) -> Self {
        let tag = head.headers.get(header::ETAG);
        let unchanged = tag.zip(unchanged).map(|(tag, head)| (tag.as_bytes().into(), lines(head), fields(head)));
        let file = file.map(|part| Open { part, seen: AtomicU64::new(0) });
        let (status, fields) = (head.status.as_u16(), fields(head));
        Self { status, head: lines(head), fields, body, file, unchanged }
    }

    /// The body as a file, while the system has that in memory.
    pub(super) fn file(&self, now: SystemTime) -> Option<FilePart> {
        let Open { part, seen } = self.file.as_ref()?;
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        if now.abs_diff(seen.load(Ordering::Relaxed)) > FRESH {
            if !part.is_in_memory() {
                return None;
            }
            seen.store(now, Ordering::Relaxed);
        }
        Some(part.clone())
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
            + self.file.as_ref().map_or(0, |_| OPEN)
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

//! An answer as bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderName, header};
use wire::{Head, Version};

use super::date;
use crate::routes::Entry;

/// The answer to every request of one kind for one file.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(super) entry: Arc<Entry>,
    pub(super) status: u16,
    /// From the status line to the last field but `Date` and `Connection`.
    head: Box<[u8]>,
    pub(super) body: Bytes,
    /// For visitors who have the file: its tag, and the head that says so.
    unchanged: Option<Unchanged>,
}

type Unchanged = (Box<[u8]>, Box<[u8]>);

impl Ready {
    pub(super) fn new(entry: Arc<Entry>, head: &Parts, body: Bytes, unchanged: Option<&Parts>) -> Self {
        let tag = head.headers.get(header::ETAG);
        let unchanged = tag.zip(unchanged).map(|(tag, head)| (tag.as_bytes().into(), lines(head)));
        Self { entry, status: head.status.as_u16(), head: lines(head), body, unchanged }
    }

    /// The file's tag, when visitors who have it can be told so.
    pub(super) fn tag(&self) -> Option<&[u8]> {
        self.unchanged.as_ref().map(|(tag, _)| &**tag)
    }

    /// Memory that it takes, in bytes, beside a body that is kept elsewhere anyway.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.head.len() + self.unchanged.as_ref().map_or(0, |(tag, head)| tag.len() + head.len())
    }

    /// Appends the head for one request.
    pub(super) fn write_head(&self, to: &mut BytesMut, request: &Head, keeps: bool, is_unchanged: bool) {
        let head = match &self.unchanged {
            Some((_, head)) if is_unchanged => head,
            _ => &self.head,
        };
        to.extend_from_slice(head);
        date::append(to);
        to.extend_from_slice(match (keeps, request.version) {
            (true, Version::Http11) => b"\r\n",
            (true, Version::Http10) => b"Connection: keep-alive\r\n\r\n",
            (false, _) => b"Connection: close\r\n\r\n",
        });
    }
}

/// The status line and the fields.
fn lines(head: &Parts) -> Box<[u8]> {
    let mut text = Vec::new();
    text.extend_from_slice(b"HTTP/1.1 ");
    text.extend_from_slice(head.status.as_str().as_bytes());
    text.push(b' ');
    text.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
    text.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        push_name(&mut text, name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.into()
}

/// A name as Pingora writes it too: a capital letter at each word's beginning.
fn push_name(to: &mut Vec<u8>, name: &HeaderName) {
    if *name == header::ETAG {
        return to.extend_from_slice(b"ETag");
    }
    let mut is_start = true;
    for byte in name.as_str().bytes() {
        to.push(if is_start { byte.to_ascii_uppercase() } else { byte });
        is_start = byte == b'-';
    }
}

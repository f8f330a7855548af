//! The head of an app's answer over HTTP/1.1.

use bytes::Bytes;
use pingora_core::Result;
use pingora_http::{ResponseHeader, header_value_from_raw};
use wire::{Limits, Response};

/// How large an app's head may be: apps set cookies and policies that are longer than what browsers send.
pub(super) const LIMITS: Limits =
    Limits { line: 16 << 10, head: 64 << 10, fields: 200, chunk_extensions: 4 << 10, trailers: 16 << 10 };
/// Fields of a usual answer, with those that the edge adds; room for them is taken at once.
pub(super) const FIELDS: usize = 20;

/// The head, out of the bytes that it refers to.
pub(super) fn head(response: &Response, bytes: &Bytes) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(response.status, Some(FIELDS))?;
    let reason = std::str::from_utf8(response.reason.of(bytes)).ok();
    if reason.is_some_and(|reason| Some(reason) != head.status.canonical_reason()) {
        head.set_reason_phrase(reason)?;
    }
    for (name, value) in response.fields(bytes) {
        head.append_header(bytes.slice_ref(name), header_value_from_raw(bytes.slice_ref(value)))?;
    }
    Ok(head)
}

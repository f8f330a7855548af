//! The head of a request as an app gets it over HTTP/1.1.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{Version, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use wire::Framing;

use super::super::Ctx;
use super::super::trace;
use super::super::upstream_request_filter::{adjust, remove_hop_by_hop, tell};
use crate::transport::Peer;

/// Room for a usual head, in bytes.
const USUAL: usize = 1 << 10;

/// The head, ready to be written. Changes `request` to what the app gets.
pub(super) fn head(request: &mut RequestHeader, framing: Framing, peer: &Peer, ctx: &Ctx) -> Result<Bytes> {
    let takes_trailers = takes_trailers(request);
    remove_hop_by_hop(request);
    if request.version == Version::HTTP_10 {
        // It knows no expectations (RFC 9110 section 10.1.1).
        request.remove_header(&header::EXPECT);
    }
    request.remove_header(&trace::PARENT);
    let mut told = BytesMut::with_capacity(USUAL);
    // Straight into the head: what only the app reads need not be in the request.
    tell(peer, request, ctx, |name, value| {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            told.put_slice(part);
        }
    })?;
    adjust(request, ctx)?;
    let mut head = BytesMut::with_capacity(USUAL);
    for part in [request.method.as_str().as_bytes(), b" ", request.raw_path(), b" HTTP/1.1\r\n"] {
        head.put_slice(part);
    }
    request.header_to_h1_wire(&mut head);
    head.put_slice(&told);
    if framing == Framing::Chunked {
        head.put_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if takes_trailers {
        head.put_slice(b"Connection: TE\r\nTE: trailers\r\n");
    }
    head.put_slice(b"\r\n");
    Ok(head.freeze())
}

/// Whether the visitor says that trailer fields are not lost on it (RFC 9110 section 10.1.4).
fn takes_trailers(request: &RequestHeader) -> bool {
    let mut items = request.headers.get_all(header::TE).iter().flat_map(|v| v.as_bytes().split(|b| *b == b','));
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

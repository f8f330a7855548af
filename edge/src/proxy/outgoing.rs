//! The head of a request as an app gets it over HTTP/1.1.

use bytes::{BufMut as _, BytesMut};
use wire::Framing;

use super::upstream_request_filter::{passes, tell};
use super::{Ctx, Request, hop_by_hop, upgrade};
use crate::transport::Peer;

/// Room for a usual head, in bytes.
const USUAL: usize = 1 << 10;

/// The head, from the request line to the last field.
pub(super) fn head(request: &Request<'_>, framing: Framing, peer: &Peer, ctx: &Ctx) -> BytesMut {
    let is_upgrade = ctx.patience.is_some_and(|patience| patience.is_upgrade);
    let mut head = BytesMut::with_capacity(USUAL);
    for part in [request.method().as_str().as_bytes(), b" ", request.target(), b" HTTP/1.1\r\n"] {
        head.put_slice(part);
    }
    let named: Vec<&[u8]> = request.named_by_connection().filter(|name| !hop_by_hop::stays(name)).collect();
    let (expects, is_expect) = (request.expects(), |name: &[u8]| name.eq_ignore_ascii_case(b"expect"));
    request.each_field(|name, value| {
        let is_named = named.iter().any(|other| name.eq_ignore_ascii_case(other));
        let is_wish = is_upgrade && upgrade::is_upgrade(name);
        if is_wish || !is_named && passes(name, ctx) && (expects || !is_expect(name)) {
            for part in [name, b": ", value, b"\r\n"] {
                head.put_slice(part);
            }
        }
    });
    tell(peer, request.authority(), ctx, |name, value| {
        head.put_slice(name.as_str().as_bytes());
        head.put_slice(b": ");
        value.iter().for_each(|part| head.put_slice(part));
        head.put_slice(b"\r\n");
    });
    if framing == Framing::Chunked {
        head.put_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if is_upgrade {
        head.put_slice(b"Connection: Upgrade\r\n");
    } else if request.takes_trailers() {
        head.put_slice(b"Connection: TE\r\nTE: trailers\r\n");
    }
    head
}

//! What a visitor reads whose request is refused before it goes anywhere.

use std::fmt::Write as _;

use bytes::BytesMut;
use wire::Refusal;

use crate::answer;
use crate::lane::date;

/// Appends the answer. The connection is closed after it.
pub(super) fn write(to: &mut BytesMut, refusal: &Refusal) {
    let phrase = refusal.phrase();
    let Refusal { status, reason } = refusal;
    let length = reason.len() + 1;
    // Memory never refuses to be written to.
    let _ = write!(to, "HTTP/1.1 {status} {phrase}\r\nServer: ");
    to.extend_from_slice(answer::SERVER.as_bytes());
    to.extend_from_slice(b"\r\n");
    date::append(to);
    let _ = write!(
        to,
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{reason}\n"
    );
}

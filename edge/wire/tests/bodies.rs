//! Where bodies end, and which are refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use wire::{BodyGuard, Fields, Framing, Limits, Part, Refusal, may_be_trailer};

/// Bytes that belong to the body, and whether it has ended, when it comes in these pieces.
fn follow<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(usize, bool), Refusal> {
    let limits = Limits { chunk_extensions: 32, trailers: 64, ..Limits::default() };
    let mut guard = BodyGuard::new(framing, &limits);
    let mut taken = 0;
    for piece in pieces {
        let count = guard.follow(piece)?;
        taken += count;
        assert!(count == piece.len() || guard.is_done(), "only the end leaves bytes over");
    }
    Ok((taken, guard.is_done()))
}

fn chunked(bytes: &[u8]) -> Result<(usize, bool), Refusal> {
    follow(Framing::Chunked, [bytes])
}

#[test]
fn a_length_is_counted_to_its_end() {
    assert_eq!(follow(Framing::Length(5), [&b"abc"[..], b"deGET"]), Ok((5, true)));
    assert_eq!(follow(Framing::Length(5), [&b"abcd"[..]]), Ok((4, false)));
    assert_eq!(follow(Framing::None, [&b"GET"[..]]), Ok((0, true)));
}

#[test]
fn chunks_end_with_the_empty_one_and_the_trailer_fields() {
    for (body, taken, done) in [
        ("0\r\n\r\nGET", 5, true),
        ("5\r\nhello\r\n0\r\n\r\n", 15, true),
        ("A\r\n0123456789\r\n000\r\n\r\n", 22, true),
        ("5;a=b;c=\"d\t\"\r\nhello\r\n0;x\r\n\r\n", 28, true),
        ("0\r\nX-Checksum: abc\r\nY:\r\n\r\nGET", 26, true),
        ("5\r\nhel", 6, false),
        ("0\r\n", 3, false),
        ("0\r\n\r", 4, false),
    ] {
        assert_eq!(chunked(body.as_bytes()), Ok((taken, done)), "{}", body.escape_debug());
    }
}

#[test]
fn chunks_that_are_read_in_two_ways_are_refused() {
    for body in [
        "\r\n",
        " 5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\t\r\nhello\r\n",
        "5 ;a\r\nhello\r\n",
        "5_0\r\n",
        "g\r\n",
        ";a\r\n",
        "5\nhello\r\n",
        "5\rhello\r\n",
        "5\r\rhello\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhelloX\r\n",
        "5\r\nhello\r\n\r\n",
        "5;a\nhello\r\n",
        "5;a\rb\r\n",
        "5;\0\r\n",
        "5\0\r\n",
        "00000000000000005\r\nhello\r\n",
        "8000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000005\r\n",
        "0\r\n\nGET",
        "0\r\n\rGET",
        "0\n\n",
        "0\r\nX\r\n",
        "0\r\n X: y\r\n",
        "0\r\nX : y\r\n",
        "0\r\n: y\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \0\r\n",
        "0\r\nX: y\rZ\r\n",
        "0\r\nContent-Length: 5\r\n",
        "0\r\ncontent_length: 5\r\n",
        "0\r\nTRANSFER-ENCODING: chunked\r\n",
        "0\r\nHost: b\r\n",
        "0\r\nAuthorization: x\r\n",
        "0\r\nCookie: x\r\n",
        "0\r\nTE: x\r\n",
        "0\r\nX-Forwarded-For: x\r\n",
        "0\r\nIf-Unmodified-Since: x\r\n",
    ] {
        assert_eq!(chunked(body.as_bytes()).map_err(|r| r.status), Err(400), "{}", body.escape_debug());
    }
}

#[test]
fn nobody_can_send_extensions_or_trailers_without_end() {
    assert!(chunked(format!("5;{}\r\nhello\r\n", "x".repeat(31)).as_bytes()).is_ok());
    assert_eq!(chunked(format!("5;{}", "x".repeat(33)).as_bytes()).map_err(|r| r.status), Err(400));
    assert_eq!(chunked("1;xxxxxxxx\r\na\r\n".repeat(4).as_bytes()).map_err(|r| r.status), Err(400));
    assert_eq!(chunked(format!("0\r\nX: {}", "x".repeat(64)).as_bytes()).map_err(|r| r.status), Err(431));
    assert_eq!(chunked(format!("0\r\n{}", "X: y\r\n".repeat(11)).as_bytes()).map_err(|r| r.status), Err(431));
}

#[test]
fn nothing_is_taken_after_a_refusal() {
    let mut guard = BodyGuard::new(Framing::Chunked, &Limits::default());
    let refusal = guard.follow(b"x").unwrap_err();
    assert_eq!(guard.follow(b"0\r\n\r\n"), Err(refusal));
    assert!(!guard.is_done());
}

/// Bytes that look like chunks, and are a bit wrong here and there.
fn near_chunks() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "5\r\nhello\r\n",
        "1\r\nx\r\n",
        "0\r\n",
        "\r\n",
        "\r\n",
        "0\r\n\r\n",
        "5",
        "f",
        ";a=b",
        "\r",
        "\n",
        "X: y\r\n",
        "Host: a\r\n",
        "hello",
        " ",
        "\t",
        "GET / HTTP/1.1\r\n",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_body_ends_at_the_same_byte_however_it_is_cut(body in near_chunks(), sizes in prop::collection::vec(1..7_usize, 1..9)) {
        let mut pieces = Vec::new();
        let mut rest = &body[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(follow(Framing::Chunked, pieces), chunked(&body));
    }
}

/// The data of a body, and its trailers, when it comes in two pieces cut there.
fn data(body: &[u8], at: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let mut guard = BodyGuard::new(Framing::Chunked, &Limits::default());
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    for mut piece in [&body[..at], &body[at..]] {
        while !piece.is_empty() && !guard.is_done() {
            let (part, count) = guard.part(piece).unwrap();
            match part {
                Part::Framing => {}
                Part::Data => data.extend_from_slice(&piece[..count]),
                Part::Trailers => trailers.extend_from_slice(&piece[..count]),
            }
            piece = &piece[count..];
        }
    }
    (data, trailers, guard.is_done())
}

#[test]
fn data_and_trailers_are_told_from_the_framing_wherever_a_body_is_cut() {
    let body = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-A: b\r\nX-C:\r\n\r\nGET";
    for at in 0..body.len() {
        let (data, trailers, is_done) = data(body, at);
        assert_eq!((&*data, is_done), (&b"hello world"[..], true), "{at}");
        let fields: Vec<_> = Fields::of_trailers(&trailers).collect();
        assert_eq!(fields, [(&b"X-A"[..], &b"b"[..]), (b"X-C", b"")], "{at}");
    }
}

#[test]
fn a_trailer_is_no_field_by_which_a_message_is_read_however_it_is_spelled() {
    for name in ["content-length", "Content_Length", "host", "TE", "x-forwarded-for", "X_Forwarded_Anything"] {
        assert!(!may_be_trailer(name.as_bytes()), "{name}");
    }
    for name in ["grpc-status", "server-timing", "hosts", "content-length-of-something-else", ""] {
        assert!(may_be_trailer(name.as_bytes()), "{name}");
    }
}

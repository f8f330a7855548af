//! Which heads are taken, and which are refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use wire::{Framing, Head, Limits, Method, Parsed, Target, Version, parse};

fn taken(head: &str) -> Head {
    match parse(head.as_bytes(), &Limits::default()) {
        Parsed::Complete(taken) => taken,
        other => panic!("{}: {other:?}", head.escape_debug()),
    }
}

/// The status with which bytes are refused.
fn refused(head: &[u8]) -> u16 {
    match parse(head, &Limits::default()) {
        Parsed::Refused(refusal) => refusal.status,
        other => panic!("{}: {other:?}", head.escape_ascii()),
    }
}

#[test]
fn a_usual_request_is_taken_with_what_it_says() {
    let text =
        "GET /a?b HTTP/1.1\r\nHost: Example.com:8080\r\nAccept-Encoding:  gzip, br \r\nIf-None-Match: \"x\"\r\n\r\nGET";
    let head = taken(text);
    let bytes = text.as_bytes();
    assert_eq!(head.len, bytes.len() - 3);
    assert_eq!((head.method, head.version, head.target), (Method::Get, Version::Http11, Target::Origin));
    assert_eq!(head.address.of(bytes), b"/a?b");
    assert_eq!(head.host.unwrap().of(bytes), b"Example.com:8080");
    assert_eq!(head.accept_encoding.unwrap().of(bytes), b"gzip, br");
    assert_eq!(head.if_none_match.unwrap().of(bytes), b"\"x\"");
    assert!(head.keeps_alive && !head.is_unusual && !head.expects && !head.upgrades);
    assert_eq!(head.framing, Framing::None);
    let fields: Vec<_> = head.fields(bytes).collect();
    assert_eq!(fields[1], (&b"Accept-Encoding"[..], &b"gzip, br"[..]));
    assert_eq!(fields.len(), 3);
}

#[test]
fn what_decides_how_a_request_is_passed_on_is_told() {
    let fields = [("Accept", "a"), ("Connection", "c"), ("TE", "t"), ("traceparent", "p"), ("User-Agent", "u")];
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Authorization: x\r\n\r\n");
    let head = taken(&text);
    let told = [head.accept, head.connection, head.te, head.traceparent, head.user_agent];
    for ((name, value), span) in fields.iter().zip(told) {
        assert_eq!(span.unwrap().of(text.as_bytes()), value.as_bytes(), "{name}");
        let twice = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: x\r\n{name}: x\r\n\r\n");
        assert!(taken(&twice).is_repeated, "{name}");
    }
    assert!(head.authorizes && !head.steers_caches && !head.is_repeated);
    assert!(taken(&text.replace("Authorization", "Cache-Control")).steers_caches);
    assert!(taken(&text.replace("Authorization", "Accept-Encoding")).accept_encoding.is_some());
}

#[test]
fn one_empty_line_may_come_first() {
    assert_eq!(taken("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").len, 29);
    assert_eq!(refused(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    assert_eq!(refused(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn the_connection_is_used_again_as_both_versions_say() {
    for (version, fields, keeps) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, Close\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = taken(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.keeps_alive, keeps, "{version} {fields}");
    }
    assert!(taken("GET / HTTP/1.0\r\n\r\n").host.is_none());
}

#[test]
fn an_upgrade_needs_both_fields() {
    let head = |fields: &str| taken(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).upgrades;
    assert!(head("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"));
    assert!(!head("Upgrade: websocket\r\n"));
    assert!(!head("Connection: upgrade\r\n"));
}

#[test]
fn targets_are_paths_or_whole_urls_of_the_host() {
    for (line, host, status) in [
        ("GET /", "a", 0),
        ("GET /ä", "a", 0),
        ("GET /a?b=<>[]{}|^`\"\\", "a", 0),
        ("GET http://a", "a", 0),
        ("GET HTTP://A/x", "a", 0),
        ("GET https://a:443?q", "a:443", 0),
        ("OPTIONS *", "a", 0),
        ("OPTIONS /", "a", 0),
        ("FOO /", "a", 0),
        ("GET *", "a", 400),
        ("GET ?x", "a", 400),
        ("GET index.html", "a", 400),
        ("GET @evil/", "a", 400),
        ("GET a:80", "a", 400),
        ("GET mailto:a", "a", 400),
        ("GET /a#b", "a", 400),
        ("GET http://b/", "a", 400),
        ("GET http://a:80/", "a", 400),
        ("GET http://u@a/", "a", 400),
        ("GET http:///", "a", 400),
        ("GET ftp://a/", "a", 400),
        ("CONNECT a:443", "a:443", 501),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        match parse(text.as_bytes(), &Limits::default()) {
            Parsed::Complete(_) => assert_eq!(status, 0, "{line}"),
            Parsed::Refused(refusal) => assert_eq!(refusal.status, status, "{line}: {refusal}"),
            Parsed::Partial => panic!("{line}"),
        }
    }
}

#[test]
fn request_lines_have_one_form() {
    for (line, status) in [
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        ("GET /\tHTTP/1.1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("G@T / HTTP/1.1", 400),
        ("G\u{e4}T / HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET ", 400),
        ("GET / ", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.1x", 400),
        ("GET / HTTP/1", 400),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/+1.1", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET /\u{0} HTTP/1.1", 400),
        ("GET /\u{7f} HTTP/1.1", 400),
        ("GET /\u{1b}[31m HTTP/1.1", 400),
        ("GET /\u{b} HTTP/1.1", 400),
        ("GET /\rX HTTP/1.1", 400),
    ] {
        assert_eq!(refused(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()), status, "{}", line.escape_debug());
    }
}

#[test]
fn hosts_are_named_once_and_as_hosts_are_named() {
    for fields in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: a\\b\r\n",
        "Host: a%00\r\n",
        "Host: a:b\r\n",
        "Host: a:65536\r\n",
        "Host: a:123456\r\n",
        "Host: a:80:80\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: []\r\n",
        "Host: [::1]x\r\n",
        "Host: http://a\r\n",
        "Host: \u{e4}\r\n",
        "Host : a\r\n",
        "Host\t: a\r\n",
        " Host: a\r\n",
        "X: y\r\n Host: a\r\n",
    ] {
        assert_eq!(refused(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()), 400, "{fields}");
    }
    for host in ["a", "A.b-c_d.", "a:", "a:80", "127.0.0.1:1", "[::1]", "[::1]:8080"] {
        taken(&format!("GET / HTTP/1.1\r\nHost:{host}\t\r\n\r\n"));
    }
}

/// Requests that two servers in a row were seen to read differently.
#[test]
fn a_body_whose_end_is_in_doubt_is_refused() {
    for fields in [
        // CL.TE and TE.CL.
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        // CL.CL.
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 1e1\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length:\r\n",
        "Content-Length: five\r\n",
        "Content-Length: \u{665}\r\n",
        "Content-Length: 9223372036854775808\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length : 5\r\n",
        "Content-Length\t: 5\r\n",
        "Content_Length: 5\r\n",
        "Content-Length: 5\nX: y\r\n",
        "Content-Length: 5\rX: y\r\n",
        "Content-Length: \u{b}5\r\n",
        "Content-Length: 5\u{0}\r\n",
        // TE.TE.
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, , chunked\r\n",
        "Transfer-Encoding: gzip;q=1, chunked\r\n",
        "Transfer-Encoding: chunked, gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: \u{c}chunked\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
        "Transfer-Encoding: c\u{17f}hunked\r\n",
        "Transfer-Encoding: chunked\u{0}\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer_Encoding: chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: chunk\r\n ed\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "\u{0}Transfer-Encoding: chunked\r\n",
        "Transfer-\u{0}Encoding: chunked\r\n",
        ": chunked\r\n",
        "Transfer-Encoding chunked\r\n",
        "X: y\r\n\tz\r\n",
        "X[]: y\r\n",
        "X\u{e4}: y\r\n",
        "X: \u{7f}\r\n",
        "\r\r\n",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(refused(head.as_bytes()), 400, "{}", fields.escape_debug());
    }
    assert_eq!(refused(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    for coded in ["gzip, chunked", "identity, chunked", "gzip ,\tx-a, Chunked"] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coded}\r\n\r\n");
        assert_eq!(refused(head.as_bytes()), 501, "{coded}: its end is clear, and its coding is not known");
    }
    assert_eq!(refused(b"POST / HTTP/1.1\nHost: a\n\n"), 400);
    let framing = |fields: &str| taken(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).framing;
    assert_eq!(framing("Transfer-Encoding:\tChunked \r\n"), Framing::Chunked);
    assert_eq!(framing("content-length: 007\r\n"), Framing::Length(7));
    assert_eq!(framing("Content-Length: 9223372036854775807\r\n"), Framing::Length(u64::MAX >> 1));
}

#[test]
fn what_is_too_large_is_refused_before_it_has_come_wholly() {
    let limits = Limits { line: 64, head: 256, fields: 4, ..Limits::default() };
    let status = |text: &str| match parse(text.as_bytes(), &limits) {
        Parsed::Refused(refusal) => refusal.status,
        Parsed::Complete(_) => 200,
        Parsed::Partial => 0,
    };
    let long = "x".repeat(300);
    assert_eq!(status(&format!("GET /{}", &long[..59])), 414);
    assert_eq!(status(&format!("GET /{}", &long[..58])), 0);
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..48])), 200);
    assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..49])), 414);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", &long[..228])), 431);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")), 431);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(3))), 200);
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X: y\r\n".repeat(4))), 431);
}

/// Bytes that look like heads, and are a bit wrong here and there.
fn near_head() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/",
        "/a?b",
        "http://a/",
        "*",
        " ",
        "HTTP/1.1",
        "HTTP/1.0",
        "\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        "Host: a\r\n",
        "Host: b\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "X",
        ":",
        "\t",
        "\0",
        "\u{e4}",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "GET / HTTP/1.1\r\nHost: a\r\n",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn more_bytes_never_change_a_result(bytes in near_head()) {
        let limits = Limits { line: 40, head: 120, fields: 4, ..Limits::default() };
        let whole = parse(&bytes, &limits);
        for cut in 0..bytes.len() {
            let result = parse(&bytes[..cut], &limits);
            prop_assert!(result == Parsed::Partial || result == whole, "{} at {cut}: {result:?}, {whole:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Parsed::Complete(head) = parse(&bytes, &Limits::default()) {
            prop_assert!(head.len <= bytes.len());
        }
    }

    #[test]
    fn a_head_that_is_taken_has_no_byte_that_could_divide_it(bytes in near_head()) {
        if let Parsed::Complete(head) = parse(&bytes, &Limits::default()) {
            let taken = &bytes[..head.len];
            for (at, byte) in taken.iter().enumerate() {
                match byte {
                    b'\n' => prop_assert_eq!(taken[at - 1], b'\r'),
                    b'\r' => prop_assert_eq!(taken[at + 1], b'\n'),
                    0 => prop_assert!(false),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_line_feed_stands_only_after_a_carriage_return() {
    taken("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for head in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(refused(head), 400, "{}", head.escape_ascii());
    }
}

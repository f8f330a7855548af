//! Requests that two servers in a row may read differently.

use crate::testkit::{Line, Witness, World, file, soon};

/// A second request, which an app must never be asked when it hides behind a first one.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
/// What an app is asked to see that nothing else is on its way to it.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";

async fn world() -> (World, Witness) {
    let world = World::start().await;
    let app = Witness::start().await;
    world.app("app", &[app.addr]).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    (world, app)
}

/// All that comes back for these bytes until the connection is closed, and all that the app was sent meanwhile.
async fn exchange(world: &World, app: &Witness, bytes: &[u8]) -> (String, String) {
    let mut line = Line::visit(world).await;
    // Refused before all of it was sent, the connection may be closed already.
    line.try_send(bytes).await;
    let answer = line.rest().await;
    assert!(soon(world.raw(LAST)).await.starts_with("HTTP/1.1 200 "));
    let seen = app.take().await;
    // Connections end in any order.
    let rest: Vec<_> = seen.into_iter().filter(|text| !text.starts_with("GET /last ")).collect();
    (answer, rest.join("\n"))
}

/// These bytes get one answer of this status, and the app is not asked.
async fn refused(world: &World, app: &Witness, bytes: &[u8], status: u16) {
    let (answer, seen) = exchange(world, app, bytes).await;
    let head: String = bytes.escape_ascii().to_string().chars().take(300).collect();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    assert_eq!(answer.matches("\r\nServer: AstroCloud\r\n").count(), 1, "{head}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{head}: {answer}");
    assert_eq!(seen, "", "{head}");
}

#[tokio::test]
async fn a_request_whose_end_is_in_doubt_is_refused_and_its_connection_closed() {
    let (world, app) = world().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\ncontent-length: 5",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5_0",
        "Content-Length: 5 5",
        "Content-Length: 5;",
        "Content-Length: 5.0",
        "Content-Length: 1e1",
        "Content-Length: \"5\"",
        "Content-Length: \u{665}",
        "Content-Length: five",
        "Content-Length:",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551621",
        "Content-Length: 5\u{b}",
        "Content-Length: 5\0",
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length\0: 5",
        " Content-Length: 5",
        "\tContent-Length: 5",
        "Content_Length: 5",
        "Content-Length:\r\n 5",
        "Content-Length: 5\r\n 6",
        "Content-Length: 5\nX: y",
        "X: y\nContent-Length: 5",
        "X: y\rContent-Length: 5",
        "X: y\r\rContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: x chunked",
        "Transfer-Encoding: chun\tked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chun\u{212a}ed",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
    ] {
        let request = format!("POST /upload HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\n\r\n0\r\n\r\n{HIDDEN}");
        refused(&world, &app, request.as_bytes(), 400).await;
    }
    // Its end is clear, so it is told what is wrong with it (RFC 9112 section 6.1).
    let coded = "POST /upload HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    refused(&world, &app, coded.as_bytes(), 501).await;
}

#[tokio::test]
async fn a_field_that_is_none_and_a_host_in_doubt_are_refused() {
    let (world, app) = world().await;
    let host = "Host: app.localhost\r\n";
    for field in [
        &b": empty name"[..],
        b"no colon",
        b"two words: x",
        b"X : y",
        b"X\t: y",
        b"X(y): z",
        b"X\"y: z",
        b"X\xe9: y",
        b"X\0: y",
        b"X: \0",
        b"X: \x01",
        b"X: \x08y",
        b"X: \x1b[0m",
        b"X: \x7f",
        b"X: y\r\n folded",
        b"X: y\r\n\tfolded",
        b"X: y\rZ: z",
        b"X: y\nZ: z",
    ] {
        let request = [b"GET /a HTTP/1.1\r\n", host.as_bytes(), field, b"\r\n\r\n", HIDDEN.as_bytes()].concat();
        refused(&world, &app, &request, 400).await;
    }
    for hosts in [
        "X: y",
        "Host: app.localhost\r\nHost: app.localhost",
        "Host: app.localhost\r\nhost: blog.localhost",
        "Host:",
        "Host: app.localhost, blog.localhost",
        "Host: app.localhost blog.localhost",
        "Host: user@app.localhost",
        "Host: user:word@app.localhost",
        "Host: app.localhost/",
        "Host: app.localhost/../x",
        "Host: app.localhost?x",
        "Host: app.localhost#x",
        "Host: app.localhost\\x",
        "Host: app%2elocalhost",
        "Host: app.localhost:80:80",
        "Host: app.localhost:http",
        "Host: app.localhost:-1",
        "Host: :80",
        "Host: [::1",
        "Host: [::1]x",
        "Host: http://app.localhost",
        "Host: \u{e4}pp.localhost",
        "Host: app.localhost\0",
        "Host: app.localhost\r\n .example",
        "Host : app.localhost",
        " Host: app.localhost",
    ] {
        let request = format!("GET /a HTTP/1.1\r\n{hosts}\r\n\r\n{HIDDEN}");
        refused(&world, &app, request.as_bytes(), 400).await;
    }
}

#[tokio::test]
async fn a_request_line_that_is_none_is_refused_as_what_it_is() {
    let (world, app) = world().await;
    for (line, status) in [
        (&b"GET /a\r\n"[..], 400),
        (b"GET\r\n", 400),
        (b"/a\r\n", 400),
        (b"GET  /a HTTP/1.1\r\n", 400),
        (b"GET /a  HTTP/1.1\r\n", 400),
        (b"GET /a HTTP/1.1 \r\n", 400),
        (b" GET /a HTTP/1.1\r\n", 400),
        (b"GET\t/a HTTP/1.1\r\n", 400),
        (b"GET /a\tHTTP/1.1\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n", 400),
        (b"GET /a HTTP/1.1\n", 400),
        (b"GET /a HTTP/1.1\r", 400),
        (b"GET /a http/1.1\r\n", 400),
        (b"GET /a HTTP/1.10\r\n", 400),
        (b"GET /a HTTP/01.1\r\n", 400),
        (b"GET /a HTTP/1\r\n", 400),
        (b"GET /a HTTP/1.1x\r\n", 400),
        (b"GET /a HTTPS/1.1\r\n", 400),
        (b"GET /a\0b HTTP/1.1\r\n", 400),
        (b"GET /a\x7f HTTP/1.1\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\n", 400),
        (b"GET a HTTP/1.1\r\n", 400),
        (b"GET * HTTP/1.1\r\n", 400),
        (b"GET http://blog.localhost/a HTTP/1.1\r\n", 400),
        (b"GET http://app.localhost:81/a HTTP/1.1\r\n", 400),
        (b"GET http://user@app.localhost/a HTTP/1.1\r\n", 400),
        (b"GET http:///a HTTP/1.1\r\n", 400),
        (b"GET ftp://app.localhost/a HTTP/1.1\r\n", 400),
        (b"G(T /a HTTP/1.1\r\n", 400),
        (b"G\0T /a HTTP/1.1\r\n", 400),
        (b"\xffGET /a HTTP/1.1\r\n", 400),
        (b"\r\n\r\nGET /a HTTP/1.1\r\n", 400),
        (b"\nGET /a HTTP/1.1\r\n", 400),
        (b"\rGET /a HTTP/1.1\r\n", 400),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n", 400),
        (b"CONNECT app.localhost:80 HTTP/1.1\r\n", 501),
        (b"GET /a HTTP/0.9\r\n", 505),
        (b"GET /a HTTP/1.2\r\n", 505),
        (b"GET /a HTTP/2.0\r\n", 505),
        (b"GET /a HTTP/3.0\r\n", 505),
        (b"PRI * HTTP/2.0\r\n", 505),
    ] {
        let request = [line, b"Host: app.localhost\r\n\r\n", HIDDEN.as_bytes()].concat();
        refused(&world, &app, &request, status).await;
    }
    let chunks = format!(
        "POST /a HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    );
    refused(&world, &app, chunks.as_bytes(), 400).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused_as_what_it_is() {
    let (world, app) = world().await;
    let limits = world.config().requests;
    let request = |line: &str, fields: &str| format!("{line}\r\nHost: app.localhost\r\n{fields}\r\n{HIDDEN}");
    let path = "a".repeat(limits.line);
    refused(&world, &app, request(&format!("GET /{path} HTTP/1.1"), "").as_bytes(), 414).await;
    let line = "GET /a HTTP/1.1";
    let value = "v".repeat(limits.head);
    refused(&world, &app, request(line, &format!("X: {value}\r\n")).as_bytes(), 431).await;
    refused(&world, &app, request(line, &format!("{value}: x\r\n")).as_bytes(), 431).await;
    // Host is one of them.
    let fields = "X: y\r\n".repeat(limits.fields);
    refused(&world, &app, request(line, &fields).as_bytes(), 431).await;
}

#[tokio::test]
async fn a_body_in_malformed_chunks_ends_its_connection_and_nothing_behind_it_is_a_request() {
    let (world, app) = world().await;
    let limits = world.config().requests;
    let extensions = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(limits.chunk_extensions + 1));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(limits.trailers));
    for (body, status) in [
        ("\r\n0\r\n\r\n", 400),
        (" 5\r\nhello\r\n0\r\n\r\n", 400),
        ("5 \r\nhello\r\n0\r\n\r\n", 400),
        ("5\t;a\r\nhello\r\n0\r\n\r\n", 400),
        ("+5\r\nhello\r\n0\r\n\r\n", 400),
        ("-5\r\nhello\r\n0\r\n\r\n", 400),
        ("0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("5_0\r\nhello\r\n0\r\n\r\n", 400),
        ("g\r\n\r\n", 400),
        (";a\r\n\r\n", 400),
        ("\u{665}\r\nhello\r\n0\r\n\r\n", 400),
        ("5\nhello\r\n0\r\n\r\n", 400),
        ("5\rhello\r\n0\r\n\r\n", 400),
        ("5\r\rhello\r\n0\r\n\r\n", 400),
        ("5;a\nhello\r\n0\r\n\r\n", 400),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("5;\0\r\nhello\r\n0\r\n\r\n", 400),
        ("5\r\nhello0\r\n\r\n", 400),
        ("5\r\nhello\n0\r\n\r\n", 400),
        ("5\r\nhello\r0\r\n\r\n", 400),
        ("5\r\nhello!\r\n0\r\n\r\n", 400),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", 400),
        ("8000000000000000\r\n", 400),
        ("ffffffffffffffff\r\n", 400),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("00000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("00000000000000000\r\n\r\n", 400),
        ("0\n\n", 400),
        ("0\r\n\n", 400),
        ("0\r\n\r\r", 400),
        ("0\r\nX\r\n\r\n", 400),
        ("0\r\n X: y\r\n\r\n", 400),
        ("0\r\nX : y\r\n\r\n", 400),
        ("0\r\n: y\r\n\r\n", 400),
        ("0\r\nX: \0\r\n\r\n", 400),
        ("0\r\nX: y\n\r\n", 400),
        ("0\r\nX: y\rZ: z\r\n\r\n", 400),
        ("0\r\nContent-Length: 5\r\n\r\n", 400),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("0\r\nHost: blog.localhost\r\n\r\n", 400),
        ("0\r\nAuthorization: x\r\n\r\n", 400),
        ("0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", 400),
        (&extensions, 400),
        (&trailers, 431),
    ] {
        let request =
            format!("POST /upload HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n{body}{HIDDEN}");
        let (answer, seen) = exchange(&world, &app, request.as_bytes()).await;
        let body: String = body.escape_debug().take(100).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{body}: {answer}");
        // The body's good beginning may have passed.
        assert!(seen.matches(" HTTP/1.1\r\n").count() <= 1 && !seen.contains("hidden"), "{body}: {seen}");
    }
}

#[tokio::test]
async fn the_coding_may_be_spelled_in_any_case_and_with_white_space_around() {
    let (world, app) = world().await;
    for value in ["chunked", "CHUNKED", "Chunked", "\tchunked", "  chunked \t", "chunked   "] {
        let request = format!(
            "POST /upload HTTP/1.1\r\nhost:app.localhost\r\nTRANSFER-ENCODING:{value}\r\nConnection: close\r\n\r\n\
             5;a=\"b\"\r\nhello\r\n0\r\n\r\n{HIDDEN}"
        );
        let (answer, seen) = exchange(&world, &app, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{value:?}: {answer}");
        assert!(seen.starts_with("POST /upload ") && !seen.contains("hidden"), "{value:?}: {seen}");
        assert_eq!(seen.to_lowercase().matches("transfer-encoding: chunked\r\n").count(), 1, "{value:?}: {seen}");
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_request_is_a_body() {
    let (world, app) = world().await;
    let length = HIDDEN.len();
    for (fields, body) in [
        (format!("Content-Length: {length}"), HIDDEN.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n")),
    ] {
        let request =
            format!("GET /first HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\nConnection: close\r\n\r\n{body}");
        let (answer, seen) = exchange(&world, &app, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{fields}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields}: {answer}");
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("GET /first "), "{fields}: {seen}");
        assert!(body.contains("GET /hidden "), "{fields}: the app has it as a body: {seen}");
    }
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered_and_none_behind_it() {
    let (world, app) = world().await;
    let good = "GET /good HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    let upload = "POST /good HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 5\r\n\r\nhello";
    let hot = "GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";
    let bad = "GET /bad HTTP/1.1\r\nHost: app.localhost\r\nX : y\r\n\r\n";
    for (requests, of_app) in [
        (vec![good], 1),
        (vec![upload], 1),
        (vec![good, upload, good], 3),
        (vec![hot, hot, hot], 0),
        (vec![hot, good, hot, upload, hot], 2),
    ] {
        let bytes = [&requests[..], &[bad, HIDDEN]].concat().concat();
        let (answer, seen) = exchange(&world, &app, bytes.as_bytes()).await;
        let mut statuses: Vec<_> = answer.split("HTTP/1.1 ").skip(1).map(|text| &text[..3]).collect();
        assert_eq!(statuses.pop(), Some("400"), "{answer}");
        assert_eq!(statuses, vec!["200"; requests.len()], "{answer}");
        assert_eq!(seen.matches(" /good HTTP/1.1\r\n").count(), of_app, "{seen}");
        assert!(!seen.contains("hidden") && !seen.contains("/bad"), "{seen}");
    }
}

#[tokio::test]
async fn a_target_that_is_no_address_is_refused() {
    let (world, app) = world().await;
    let ask = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}.localhost\r\nConnection: close\r\n\r\n");
        exchange(&world, &app, request.as_bytes()).await
    };
    for host in ["app", "blog"] {
        for target in ["index.html", "@evil.example/", "?x", "*", "mailto:a", " /"] {
            let (answer, seen) = ask(target, host).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
            assert_eq!(seen, "", "{target}");
        }
    }
    for target in ["/head?q", "http://app.localhost/head?q"] {
        let (_, seen) = ask(target, "app").await;
        assert!(seen.starts_with("GET /head?q HTTP/1.1\r\n"), "{target}: {seen}");
    }
    let all = "OPTIONS * HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    assert!(soon(world.raw(all)).await.starts_with("HTTP/1.1 200 "));
}

//! Compression of what apps send, as visitors receive it.

use std::io::Read as _;

use reqwest::Response;
use tokio::net::TcpStream;

use crate::testkit::{Line, Script, World, field, soon};

/// A text that is worth compressing, and long enough for several reads.
fn page() -> String {
    (0..20_000).fold(String::new(), |text, n| text + "line " + &n.to_string() + "\n")
}

/// What a coding says.
fn expand(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // What is not ended yet is an error after what could be read.
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut text),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut text),
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut text),
        _ => panic!("{coding}"),
    };
    text
}

/// An edge before an app that answers everything with this head and body.
async fn world(head: &str, body: &str) -> World {
    let world = World::start().await;
    let (head, body) = (head.to_owned(), body.to_owned());
    let app = Script::start().await.serve(move |request, _| {
        let length = body.len();
        let body = if request.line().starts_with("HEAD") { "" } else { &body };
        Some(format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}"))
    });
    world.app("app", &[app.addr]).await;
    world
}

async fn ask(world: &World, accepted: &str) -> Response {
    world.get("app", "/").header("accept-encoding", accepted).send().await.unwrap()
}

const HTML: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"v1\"\r\nAccept-Ranges: bytes";

#[tokio::test]
async fn a_page_is_sent_in_the_coding_that_the_visitor_likes_best() {
    let world = world(HTML, &page()).await;
    for (accepted, coding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.9, zstd;q=0", "gzip"),
        ("*;q=0.1", "zstd"),
    ] {
        let answer = ask(&world, accepted).await;
        assert_eq!(field(&answer, "content-encoding"), coding, "{accepted}");
        assert_eq!(field(&answer, "vary"), "Accept-Encoding");
        assert_eq!(field(&answer, "etag"), "W/\"v1\"", "its bytes are others");
        assert_eq!((field(&answer, "content-length"), field(&answer, "accept-ranges")), ("", ""));
        let bytes = answer.bytes().await.unwrap();
        assert!(bytes.len() < page().len() / 2);
        assert!(expand(coding, &bytes) == page().as_bytes(), "{coding}");
    }
}

#[tokio::test]
async fn who_takes_none_gets_the_page_as_it_is_and_caches_are_told_of_the_difference() {
    let world = world(HTML, &page()).await;
    for accepted in ["", "identity", "deflate", "gzip;q=0", "identity, gzip;q=0.5"] {
        let answer = ask(&world, accepted).await;
        assert_eq!(field(&answer, "content-encoding"), "", "{accepted}");
        assert_eq!(field(&answer, "vary"), "Accept-Encoding");
        assert_eq!((field(&answer, "etag"), field(&answer, "accept-ranges")), ("\"v1\"", "bytes"));
        assert_eq!(field(&answer, "content-length"), page().len().to_string());
        assert!(answer.text().await.unwrap() == page());
    }
}

#[tokio::test]
async fn what_varies_already_varies_by_coding_too() {
    for (vary, expected) in [
        ("Cookie", vec!["Cookie", "Accept-Encoding"]),
        ("accept-encoding, X", vec!["accept-encoding, X"]),
        ("*", vec!["*"]),
    ] {
        let world = world(&format!("{HTML}\r\nVary: {vary}"), &page()).await;
        let answer = ask(&world, "gzip").await;
        assert_eq!(answer.headers().get_all("vary").iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn what_gains_nothing_or_could_tell_a_secret_stays_as_it_is() {
    let page = page();
    for (what, head, body) in [
        ("a short page", HTML.to_owned(), "short"),
        ("a picture", "HTTP/1.1 200 OK\r\nContent-Type: image/png".to_owned(), page.as_str()),
        ("no type", "HTTP/1.1 200 OK".to_owned(), &page),
        ("encoded", format!("{HTML}\r\nContent-Encoding: br"), &page),
        ("no-transform", format!("{HTML}\r\nCache-Control: max-age=1, No-Transform"), &page),
        ("private", format!("{HTML}\r\nCache-Control: private"), &page),
        ("a cookie", format!("{HTML}\r\nSet-Cookie: session=secret"), &page),
        ("a part", format!("{}\r\nContent-Range: bytes 0-9/10", HTML.replace("200 OK", "206 Partial Content")), &page),
        ("a server's error", HTML.replace("200 OK", "500 Internal Server Error"), &page),
    ] {
        let world = world(&head, body).await;
        let answer = ask(&world, "gzip, br, zstd").await;
        let coding = if what == "encoded" { "br" } else { "" };
        assert_eq!(field(&answer, "content-encoding"), coding, "{what}");
        assert_eq!(field(&answer, "content-length"), body.len().to_string(), "{what}");
        assert_eq!(field(&answer, "vary"), "", "{what}: it is the same for everybody");
        assert!(answer.text().await.unwrap() == body, "{what}");
    }
    let world = world(HTML, &page).await;
    let login = world.get("app", "/").header("accept-encoding", "gzip").header("authorization", "Bearer x");
    assert_eq!(field(&login.send().await.unwrap(), "content-encoding"), "");
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_no_wrong_length() {
    let world = world(HTML, &page()).await;
    let answer = world.request("HEAD", "app", "/").header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "vary")), (200, "Accept-Encoding"));
    assert_eq!(field(&answer, "content-encoding"), "");
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_project_may_do_without() {
    let world = World::start().await;
    let head = format!("{HTML}\r\nContent-Length: {}\r\n\r\n", page().len());
    let app = Script::start().await.serve(move |_, _| Some(format!("{head}{}", page())));
    world.app_with(&[app.addr], r#"{"compression": "off"}"#).await;
    let answer = ask(&world, "gzip").await;
    assert_eq!((field(&answer, "content-encoding"), field(&answer, "vary")), ("", ""));
    assert_eq!(field(&answer, "etag"), "\"v1\"");
}

#[tokio::test]
async fn each_piece_of_a_page_that_is_written_bit_by_bit_can_be_read_at_once() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    for coding in ["gzip", "br", "zstd"] {
        let ask =
            format!("GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept-Encoding: {coding}\r\nConnection: close\r\n\r\n");
        let mut visitor = Line::ask(&world, &ask).await;
        let (mut line, _) = app.asked().await;
        line.say(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        let mut sent = Vec::new();
        let mut has_head = false;
        for n in 1..=4 {
            line.say("6\r\npiece \r\n").await;
            if !std::mem::replace(&mut has_head, true) {
                assert_eq!(visitor.head().await.field("content-encoding"), coding);
            }
            while expand(coding, &sent).len() < 6 * n {
                sent.extend(visitor.chunk().await);
            }
            assert_eq!(expand(coding, &sent), b"piece ".repeat(n), "{coding}");
        }
        line.say("0\r\n\r\n").await;
        sent.extend(visitor.chunked().await);
        assert_eq!(expand(coding, &sent), b"piece ".repeat(4), "{coding}");
    }
}

#[tokio::test]
async fn events_are_sent_as_they_are() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let mut visitor = Line::ask(&world, "GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept-Encoding: gzip\r\n\r\n").await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        line.say(&format!("9\r\n{event}\r\n")).await;
        if event.contains('1') {
            assert_eq!(visitor.head().await.field("content-encoding"), "");
        }
        assert_eq!(visitor.chunk().await, event.as_bytes());
    }
}

#[tokio::test]
async fn a_visitor_over_http_1_0_reads_the_compressed_page_to_the_end_of_the_connection() {
    let world = world(HTML, &page()).await;
    let request = "GET / HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut visitor = Line::ask(&world, request).await;
    let head = visitor.head().await;
    assert_eq!((head.field("content-encoding"), head.field("transfer-encoding")), ("gzip", ""));
    assert_eq!(head.field("connection").to_lowercase(), "close");
    assert!(expand("gzip", &visitor.rest_bytes().await) == page().as_bytes());
}

#[tokio::test]
async fn a_page_is_whole_and_ended_over_http_2() {
    let world = world(HTML, &page()).await;
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let mut client = soon(client.ready()).await.unwrap();
    for coding in ["gzip", "br", "zstd"] {
        let request = http::Request::get("http://app.localhost/").header("accept-encoding", coding).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let (head, mut body) = soon(answer).await.unwrap().into_parts();
        assert_eq!(head.headers["content-encoding"], coding);
        assert!(!head.headers.contains_key("transfer-encoding"));
        let mut bytes = Vec::new();
        while let Some(piece) = soon(body.data()).await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            bytes.extend_from_slice(&piece);
        }
        assert!(expand(coding, &bytes) == page().as_bytes(), "{coding}");
    }
}

#[tokio::test]
async fn a_compressed_page_whose_app_breaks_off_is_not_ended() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let ask = "GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept-Encoding: gzip\r\n\r\n";
    let mut visitor = Line::ask(&world, ask).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n6\r\npiece \r\n").await;
    assert_eq!(visitor.head().await.field("content-encoding"), "gzip");
    drop(line);
    assert!(!visitor.rest_bytes().await.ends_with(b"0\r\n\r\n"));
}

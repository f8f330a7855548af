//! Bodies between visitors and apps: where they end, and when their pieces arrive.

use crate::testkit::{Line, Script, World, noise};

async fn world() -> (World, Script) {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    (world, app)
}

/// A request with these fields beside `Host`.
fn request(method: &str, fields: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\n")
}

#[tokio::test]
async fn a_body_of_known_length_keeps_it_and_the_connection() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst").await;
    let head = visitor.head().await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), ("5", ""));
    assert_eq!(visitor.exactly(5).await, b"first");
    visitor.say(&request("GET", "")).await;
    assert_eq!(line.head().await.line(), "GET / HTTP/1.1", "the app's connection is kept as well");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(visitor.head().await.field("content-length"), "0");
}

#[tokio::test]
async fn a_chunked_body_passes_piece_by_piece_and_keeps_the_connection() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\none\r\n").await;
    let head = visitor.head().await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), ("", "chunked"));
    assert_eq!(visitor.chunk().await, b"one");
    line.say("3\r\ntwo\r\n").await;
    assert_eq!(visitor.chunk().await, b"two");
    line.say("0\r\n\r\n").await;
    assert_eq!(visitor.chunk().await, b"");
    visitor.say(&request("GET", "")).await;
    assert_eq!(line.head().await.line(), "GET / HTTP/1.1");
}

#[tokio::test]
async fn a_body_that_ends_with_the_apps_connection_arrives_whole_with_an_end_that_is_told() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\n\r\none").await;
    let head = visitor.head().await;
    assert_eq!(head.field("transfer-encoding"), "chunked");
    assert_eq!(visitor.chunk().await, b"one");
    line.say("two").await;
    assert_eq!(visitor.chunk().await, b"two");
    drop(line);
    assert_eq!(visitor.chunk().await, b"");
}

#[tokio::test]
async fn a_transfer_coding_that_nobody_knows_is_not_passed_on_and_the_body_ends_with_the_connection() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: of-my-own\r\n\r\none").await;
    assert_eq!(visitor.head().await.field("transfer-encoding"), "chunked");
    assert_eq!(visitor.chunk().await, b"one");
    drop(line);
    assert_eq!(visitor.chunk().await, b"");
}

#[tokio::test]
async fn an_app_that_breaks_off_leaves_an_answer_that_is_seen_to_be_broken() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    visitor.head().await;
    assert_eq!(visitor.exactly(4).await, b"half");
    drop(line);
    assert_eq!(visitor.rest().await, "", "nothing is added, and the connection ends");

    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    visitor.head().await;
    assert_eq!(visitor.chunk().await, b"half");
    drop(line);
    assert_eq!(visitor.rest().await, "", "no last chunk says that this was all");

    let mut visitor = Line::ask(&world, "GET / HTTP/1.0\r\nHost: app.localhost\r\n\r\n").await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
    assert_eq!(visitor.head().await.field("content-length"), "10");
    drop(line);
    assert_eq!(visitor.rest().await, "half");
}

#[tokio::test]
async fn an_answer_to_head_has_the_fields_of_a_body_and_none() {
    let (world, app) = world().await;
    for fields in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let mut visitor = Line::ask(&world, &request("HEAD", "")).await;
        let (mut line, seen) = app.asked().await;
        assert_eq!(seen.line(), "HEAD / HTTP/1.1");
        line.say(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
        let head = visitor.head().await;
        let length = if fields.starts_with("Content-Length") { "1000" } else { "" };
        assert_eq!(head.field("content-length"), length, "{fields}");
        // The next answer follows at once, so there was no body.
        visitor.say(&request("GET", "Connection: close\r\n")).await;
        assert_eq!(line.head().await.line(), "GET / HTTP/1.1", "{fields}");
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(visitor.head().await.status(), 200);
        assert_eq!(visitor.rest().await, "ok", "{fields}");
    }
}

#[tokio::test]
async fn statuses_without_a_body_have_none_whatever_their_fields_say() {
    let (world, app) = world().await;
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 1000\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n",
    ] {
        let mut visitor = Line::ask(&world, &request("GET", "")).await;
        let (mut line, _) = app.asked().await;
        line.say(answer).await;
        let head = visitor.head().await;
        assert_eq!(head.line(), answer.lines().next().unwrap());
        assert_eq!(head.field("transfer-encoding"), "", "{answer}");
        assert!(head.status() != 204 || head.field("content-length").is_empty());
        visitor.say(&request("GET", "Connection: close\r\n")).await;
        line.head().await;
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(visitor.head().await.status(), 200);
        assert_eq!(visitor.rest().await, "ok", "{answer}");
    }
}

#[tokio::test]
async fn a_visitor_over_http_1_0_gets_no_chunks_and_keeps_the_connection_only_with_a_length() {
    let (world, app) = world().await;
    let old = "GET / HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive\r\n\r\n";
    let mut visitor = Line::ask(&world, old).await;
    let (mut line, seen) = app.asked().await;
    assert_eq!(seen.line(), "GET / HTTP/1.1", "the edge's own version, whatever the visitor's");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let head = visitor.head().await;
    assert!(head.field("connection").eq_ignore_ascii_case("keep-alive"), "{}", head.text());
    assert_eq!(visitor.exactly(2).await, b"ok");
    visitor.say(old).await;
    line.head().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").await;
    let head = visitor.head().await;
    assert_eq!((head.field("transfer-encoding"), head.field("content-length")), ("", ""));
    assert_eq!(head.field("connection").to_lowercase(), "close");
    assert_eq!(visitor.rest().await, "onetwo");
    // Without a word about the connection, it ends with the answer.
    let mut visitor = Line::ask(&world, "GET / HTTP/1.0\r\nHost: app.localhost\r\n\r\n").await;
    line.head().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert!(visitor.rest().await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn an_app_over_http_1_0_is_understood() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(visitor.head().await.line(), "HTTP/1.1 200 OK");
    assert_eq!(visitor.exactly(2).await, b"ok");
    // Its connection ends with the answer, the visitor's does not.
    visitor.say(&request("GET", "")).await;
    let (mut other, _) = app.asked().await;
    other.say("HTTP/1.0 200 OK\r\n\r\nto the end").await;
    drop(other);
    visitor.head().await;
    assert_eq!(visitor.chunked().await, b"to the end");
}

#[tokio::test]
async fn a_body_is_awaited_until_the_app_says_that_it_wants_it() {
    let (world, app) = world().await;
    let upload = request("POST", "Content-Length: 4\r\nExpect: 100-continue\r\n");
    let mut visitor = Line::ask(&world, &upload).await;
    let (mut line, seen) = app.asked().await;
    assert_eq!(seen.field("expect").to_lowercase(), "100-continue", "RFC 9110 section 10.1.1: it is forwarded");
    line.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 100);
    visitor.say("body").await;
    assert_eq!(line.exactly(4).await, b"body");
    line.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 201);
}

#[tokio::test]
async fn an_app_may_refuse_a_body_before_it_is_sent() {
    let (world, app) = world().await;
    for status in ["417 Expectation Failed", "413 Content Too Large", "401 Unauthorized"] {
        let upload = request("POST", "Content-Length: 1000000\r\nExpect: 100-continue\r\n");
        let mut visitor = Line::ask(&world, &upload).await;
        let (mut line, _) = app.asked().await;
        line.say(&format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno")).await;
        let head = visitor.head().await;
        assert_eq!(head.line(), format!("HTTP/1.1 {status}"), "and no 100 was made up before");
        // What comes next on this connection could be the body or another request, so nothing may.
        assert_eq!(head.field("connection").to_lowercase(), "close");
        assert_eq!(visitor.exactly(2).await, b"no");
        drop(visitor);
        assert_eq!(line.rest().await, "", "the app gets no other request where it still expects a body");
    }
}

#[tokio::test]
async fn an_app_that_knows_no_expectations_gets_the_body_of_a_visitor_who_stops_waiting() {
    let (world, app) = world().await;
    let upload = request("POST", "Content-Length: 4\r\nExpect: 100-continue\r\n");
    let mut visitor = Line::ask(&world, &upload).await;
    let (mut line, _) = app.asked().await;
    visitor.say("body").await;
    assert_eq!(line.exactly(4).await, b"body");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(visitor.head().await.status(), 200);
}

#[tokio::test]
async fn the_app_sees_the_first_bytes_of_a_body_before_the_visitor_sends_the_last() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("POST", "Content-Length: 6\r\n")).await;
    let (mut line, seen) = app.asked().await;
    assert_eq!(seen.field("content-length"), "6");
    visitor.say("one").await;
    assert_eq!(line.exactly(3).await, b"one");
    visitor.say("two").await;
    assert_eq!(line.exactly(3).await, b"two");
    line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 204);

    visitor.say(&request("POST", "Transfer-Encoding: chunked\r\n")).await;
    let seen = line.head().await;
    assert_eq!((seen.field("transfer-encoding"), seen.field("content-length")), ("chunked", ""));
    for piece in ["one", "two"] {
        visitor.say(&format!("3\r\n{piece}\r\n")).await;
        assert_eq!(line.chunk().await, piece.as_bytes());
    }
    visitor.say("0\r\n\r\n").await;
    assert_eq!(line.chunk().await, b"");
    line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 204);
}

#[tokio::test]
async fn an_answer_may_begin_and_go_on_while_the_request_is_still_coming() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("POST", "Transfer-Encoding: chunked\r\n")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 200);
    for piece in ["one", "two", "end"] {
        visitor.say(&format!("3\r\n{piece}\r\n")).await;
        assert_eq!(line.chunk().await, piece.as_bytes());
        line.say(&format!("3\r\n{piece}\r\n")).await;
        assert_eq!(visitor.chunk().await, piece.as_bytes());
    }
    visitor.say("0\r\n\r\n").await;
    assert_eq!(line.chunk().await, b"");
    line.say("0\r\n\r\n").await;
    assert_eq!(visitor.chunk().await, b"");
}

#[tokio::test]
async fn a_visitor_reads_why_its_upload_is_refused_while_it_still_sends() {
    let (world, app) = world().await;
    let body = noise(8 << 20);
    let mut visitor = Line::ask(&world, &request("POST", &format!("Content-Length: {}\r\n", body.len()))).await;
    let (mut line, _) = app.asked().await;
    visitor.send(&body[..100_000]).await;
    line.exactly(1000).await;
    line.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    let head = visitor.head().await;
    assert_eq!(head.status(), 413);
    assert_eq!(visitor.exactly(2).await, b"no");
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_before_the_next_is_written() {
    let (world, app) = world().await;
    let ask = request("GET", "Accept: text/event-stream\r\nAccept-Encoding: gzip, br, zstd\r\n");
    for framing in ["Transfer-Encoding: chunked\r\n", ""] {
        let mut visitor = Line::ask(&world, &ask).await;
        let (mut line, _) = app.asked().await;
        line.say(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n")).await;
        let head = visitor.head().await;
        assert_eq!(head.field("content-encoding"), "", "{framing}");
        for n in 0..5 {
            let event = format!("data: {n}\n\n");
            let sent = if framing.is_empty() { event.clone() } else { format!("{:x}\r\n{event}\r\n", event.len()) };
            line.say(&sent).await;
            assert_eq!(visitor.chunk().await, event.as_bytes());
        }
    }
}

#[tokio::test]
async fn early_hints_pass_before_the_answer() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    for style in ["a", "b"] {
        line.say(&format!("HTTP/1.1 103 Early Hints\r\nLink: </{style}.css>; rel=preload\r\n\r\n")).await;
        let hint = visitor.head().await;
        assert_eq!((hint.status(), hint.field("link")), (103, &*format!("</{style}.css>; rel=preload")));
    }
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(visitor.head().await.status(), 200);
    assert_eq!(visitor.exactly(2).await, b"ok");
    // HTTP/1.0 knows no interim answers (RFC 9110 section 15.2).
    let old = "GET / HTTP/1.0\r\nHost: app.localhost\r\nExpect: 100-continue\r\n\r\n";
    let mut old = Line::ask(&world, old).await;
    assert_eq!(line.head().await.field("expect"), "");
    line.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    line.say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(old.head().await.status(), 200);
}

#[tokio::test]
async fn requests_that_came_together_are_answered_in_order_each_with_its_own_body() {
    let (world, app) = world().await;
    let one = request("POST", "Content-Length: 3\r\n") + "one";
    let two = request("POST", "Transfer-Encoding: chunked\r\n") + "3\r\ntwo\r\n0\r\n\r\n";
    let three = request("GET", "Connection: close\r\n");
    let mut visitor = Line::ask(&world, &format!("{one}{two}{three}")).await;
    let (mut line, _) = app.asked().await;
    assert_eq!(line.exactly(3).await, b"one");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
    line.head().await;
    assert_eq!(line.chunked().await, b"two");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await;
    assert_eq!(line.head().await.line(), "GET / HTTP/1.1");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3").await;
    for body in ["1", "2", "3"] {
        visitor.head().await;
        assert_eq!(visitor.exactly(1).await, body.as_bytes());
    }
    assert_eq!(visitor.rest().await, "");
}

#[tokio::test]
async fn a_visitor_who_leaves_ends_the_apps_work() {
    let (world, app) = world().await;
    let visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    drop(visitor);
    assert_eq!(line.rest().await, "", "before the answer");
    let mut visitor = Line::ask(&world, &request("GET", "")).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    visitor.head().await;
    visitor.chunk().await;
    drop(visitor);
    assert_eq!(line.rest().await, "", "within the answer");
    let mut visitor = Line::ask(&world, &request("POST", "Content-Length: 10\r\n")).await;
    let (mut line, _) = app.asked().await;
    visitor.say("half").await;
    line.exactly(4).await;
    drop(visitor);
    assert_eq!(line.rest().await, "", "within the request");
}

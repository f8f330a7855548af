//! What passes between a visitor over HTTP/2 and an app over HTTP/1.1.

use std::future::poll_fn;

use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::request::Builder;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::h2::{ask, get, take, visit};
use crate::testkit::{Head, Line, Script, World, file, noise, soon};

async fn world() -> (World, Script, SendRequest<Bytes>) {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let client = visit(&world).await;
    (world, app, client)
}

fn post() -> Builder {
    get("app", "/a?b=c").method("POST")
}

/// Sends the head of a request whose body follows.
async fn begin(client: &mut SendRequest<Bytes>, request: Builder) -> (ResponseFuture, SendStream<Bytes>) {
    poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    client.send_request(request.body(()).unwrap(), false).unwrap()
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
}

async fn next(body: &mut RecvStream) -> Bytes {
    let piece = soon(body.data()).await.unwrap().unwrap();
    body.flow_control().release_capacity(piece.len()).unwrap();
    piece
}

async fn answered(app: &mut Line, client: &mut SendRequest<Bytes>) {
    let (answer, ()) = tokio::join!(ask(client, get("app", "/")), async {
        app.head().await;
        app.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    });
    assert_eq!((answer.0.as_u16(), &*answer.2), (200, &b"ok"[..]));
}

#[tokio::test]
async fn an_app_gets_what_a_visitor_over_http_1_would_have_sent() {
    let (_world, app, mut client) = world().await;
    let request = post().header("cookie", "a=1").header("cookie", "b=2").header("x-kept", "1").header("te", "trailers");
    let (answer, mut upload) = begin(&mut client, request).await;
    upload.send_data(Bytes::from_static(b"hello"), false).unwrap();
    upload.send_trailers(trailers("x-sum", "5")).unwrap();
    let (mut line, head) = app.asked().await;
    assert_eq!(head.line(), "POST /a?b=c HTTP/1.1");
    for (name, expected) in [
        ("host", "app.localhost"),
        ("x-forwarded-host", "app.localhost"),
        ("x-forwarded-proto", "http"),
        ("cookie", "a=1; b=2"),
        ("x-kept", "1"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
    ] {
        assert_eq!(head.field(name), expected, "{name}");
    }
    assert_eq!(line.until("\r\n\r\n").await, "5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n");
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\nConnection: x-own\r\n").await;
    line.say("X-Own: 1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n").await;
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    assert_eq!(head.headers["date"], "Sun, 06 Nov 1994 08:49:37 GMT");
    for name in ["transfer-encoding", "keep-alive", "connection", "x-own"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    assert_eq!(next(&mut body).await, "ok");
    assert!(soon(body.data()).await.is_none());
    assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["x-sum"], "2");
    // The app's connection is kept.
    answered(&mut line, &mut client).await;
}

#[tokio::test]
async fn a_body_of_known_length_keeps_it_and_a_request_without_one_has_none() {
    let (_world, app, mut client) = world().await;
    let (answer, mut upload) = begin(&mut client, post().header("content-length", "5")).await;
    upload.send_data(Bytes::from_static(b"hello"), true).unwrap();
    let (mut line, head) = app.asked().await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), ("5", ""));
    assert_eq!(line.exactly(5).await, b"hello");
    line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    let answer = soon(answer).await.unwrap();
    assert!(answer.status() == 204 && answer.body().is_end_stream(), "the head says that it is all");

    let (answer, _) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
    let (mut line, head) = app.asked_on(line).await;
    assert_eq!((head.field("content-length"), head.field("transfer-encoding")), ("", ""));
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert!(soon(answer).await.unwrap().body().is_end_stream());
}

#[tokio::test]
async fn messages_pass_in_both_directions_while_both_go_on() {
    let (_world, app, mut client) = world().await;
    let (answer, mut upload) = begin(&mut client, post()).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut download = soon(answer).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        upload.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(line.chunk().await, word.as_bytes());
        line.say(&format!("{:x}\r\n{word}\r\n", word.len())).await;
        assert_eq!(next(&mut download).await, word);
    }
    upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(line.chunk().await, b"");
    line.say("0\r\n\r\n").await;
    assert!(soon(download.data()).await.is_none_or(|piece| piece.unwrap().is_empty()));
}

#[tokio::test]
async fn an_app_that_reads_slowly_holds_its_visitor_back() {
    let (_world, app, mut client) = world().await;
    let (answer, mut upload) = begin(&mut client, post()).await;
    let (mut line, _) = app.asked().await;
    // Far more than all buffers on the way hold together.
    let sent = noise(32 << 20);
    let mut left = Bytes::from(sent.clone());
    let mut send = std::pin::pin!(async {
        while !left.is_empty() {
            upload.reserve_capacity(left.len());
            let room = poll_fn(|cx| upload.poll_capacity(cx)).await.unwrap().unwrap();
            let piece = left.split_to(room.min(left.len()));
            upload.send_data(piece, left.is_empty()).unwrap();
        }
    });
    // Other requests pass meanwhile, and the upload waits.
    let mut others = client.clone();
    let other = async {
        let (answer, ()) = tokio::join!(ask(&mut others, get("app", "/")), async {
            let (mut line, _) = app.asked().await;
            line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        });
        assert_eq!(answer.2, b"ok");
    };
    tokio::select! {
        () = &mut send => panic!("nobody has read it"),
        () = other => {}
    }
    let (received, ()) = tokio::join!(line.chunked(), send);
    assert!(received == sent);
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(take(soon(answer).await.unwrap()).await.2, b"ok");
}

#[tokio::test]
async fn a_visitor_who_takes_nothing_holds_the_app_back() {
    let (_world, app, mut client) = world().await;
    let (answer, _) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
    let (mut line, _) = app.asked().await;
    let sent = noise(32 << 20);
    line.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len())).await;
    let answer = soon(answer).await.unwrap();
    let mut say = std::pin::pin!(line.send(&sent));
    // Other requests pass meanwhile.
    let mut others = client.clone();
    let other = async {
        let (answer, ()) = tokio::join!(ask(&mut others, get("app", "/")), async {
            let (mut line, _) = app.asked().await;
            line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        });
        assert_eq!(answer.0, 204);
    };
    tokio::select! {
        () = &mut say => panic!("nobody has read it"),
        () = other => {}
    }
    let ((_, _, received), ()) = tokio::join!(take(answer), say);
    assert!(received == sent);
}

#[tokio::test]
async fn an_app_is_left_when_its_visitor_gives_the_stream_up() {
    let (_world, app, mut client) = world().await;
    // In the middle of the request.
    let (_answer, mut upload) = begin(&mut client, post()).await;
    upload.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let (mut line, _) = app.asked().await;
    assert_eq!(line.chunk().await, b"hello");
    upload.send_reset(Reason::CANCEL);
    assert_eq!(line.rest().await, "", "no end that could be taken for the body's");

    // While the app thinks.
    let (_answer, mut stream) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
    let (mut line, _) = app.asked().await;
    stream.send_reset(Reason::CANCEL);
    assert_eq!(line.rest().await, "");

    // In the middle of the answer.
    let (answer, mut stream) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    let mut body = soon(answer).await.unwrap().into_body();
    assert_eq!(next(&mut body).await, "ok");
    stream.send_reset(Reason::CANCEL);
    assert_eq!(line.rest().await, "");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_reset_and_the_connection_goes_on() {
    let (_world, app, mut client) = world().await;
    for begun in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    ] {
        let (answer, _) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
        let (mut line, _) = app.asked().await;
        line.say(begun).await;
        let mut body = soon(answer).await.unwrap().into_body();
        assert_eq!(next(&mut body).await, "ok");
        drop(line);
        let error = soon(body.data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    }
    let (answer, ()) = tokio::join!(ask(&mut client, get("app", "/")), async {
        // It ends without a word.
        drop(app.asked().await);
    });
    assert_eq!(answer.0, 502);
}

#[tokio::test]
async fn trailers_that_would_change_the_request_are_refused() {
    let (_world, app, mut client) = world().await;
    let (answer, mut upload) = begin(&mut client, post()).await;
    upload.send_data(Bytes::from_static(b"hello"), false).unwrap();
    let (mut line, _) = app.asked().await;
    assert_eq!(line.chunk().await, b"hello");
    upload.send_trailers(trailers("x-forwarded-for", "6.6.6.6")).unwrap();
    assert_eq!(soon(answer).await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(line.rest().await, "");
}

#[tokio::test]
async fn a_body_that_is_held_back_comes_when_the_app_asks_for_it() {
    let (_world, app, mut client) = world().await;
    let (mut answer, mut upload) = begin(&mut client, post().header("expect", "100-continue")).await;
    let (mut line, head) = app.asked().await;
    assert_eq!(head.field("expect"), "100-continue");
    line.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    let interim = soon(poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!(interim.status(), 100);
    upload.send_data(Bytes::from_static(b"hello"), true).unwrap();
    assert_eq!(line.chunked().await, b"hello");
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(take(soon(answer).await.unwrap()).await.2, b"ok");
}

#[tokio::test]
async fn kept_answers_and_cold_files_are_the_same_as_over_http_1() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app_with(&[app.addr], r#"{"cache": {"enabled": true}}"#).await;
    let app = app.serve(|_: &Head, _| {
        Some("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok".to_owned())
    });
    let large = noise(300_000);
    world.site("blog", vec![file("/large.bin", large.clone())], false).await;
    let mut client = visit(&world).await;
    for _ in 0..3 {
        let (status, head, body) = ask(&mut client, get("app", "/kept")).await;
        assert_eq!((status.as_u16(), &*body), (200, &b"ok"[..]));
        assert!(head.contains_key("cache-status"));
        let (status, _, body) = ask(&mut client, get("app", "/kept").method("HEAD")).await;
        assert_eq!((status.as_u16(), body.len()), (200, 0));
    }
    assert_eq!(app.asked(), 1);
    let range = get("blog", "/large.bin").header("range", "bytes=100000-200000");
    let (status, _, body) = ask(&mut client, range).await;
    assert!(status == 206 && body == large[100_000..=200_000]);
    let (status, _, body) = ask(&mut client, get("blog", "/nothing")).await;
    assert!(status == 404 && !body.is_empty());
}

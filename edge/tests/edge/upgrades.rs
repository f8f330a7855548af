//! Connections that become something else than HTTP/1.1, by the visitor's wish and the app's leave.

use std::sync::Arc;

use futures::{SinkExt as _, StreamExt as _};
use tokio_rustls::rustls::version::TLS13;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::apps::App;
use crate::testkit::{Line, Script, World, noise, soon};
use crate::tls::{Authority, certify, visit};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: app.localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: chat/1\r\n\
    X-Chat-Key: 7\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\nX-Chat: 8\r\n\r\n";

async fn world() -> (World, Script) {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    (world, app)
}

/// A visitor and an app that have left HTTP behind.
async fn tunnel(world: &World, app: &Script) -> (Line, Line) {
    let mut visitor = Line::ask(world, UPGRADE).await;
    let (mut line, _) = app.asked().await;
    line.say(SWITCHED).await;
    assert_eq!(visitor.head().await.status(), 101);
    (visitor, line)
}

#[tokio::test]
async fn any_protocol_may_be_switched_to() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, UPGRADE).await;
    let (mut line, seen) = app.asked().await;
    assert_eq!((seen.field("upgrade"), seen.field("x-chat-key")), ("chat/1", "7"));
    assert!(seen.field("connection").to_lowercase().contains("upgrade"), "{}", seen.text());
    assert_eq!(seen.field("x-forwarded-for"), "127.0.0.1");
    line.say(SWITCHED).await;
    let head = visitor.head().await;
    assert_eq!((head.status(), head.field("upgrade"), head.field("x-chat")), (101, "chat/1", "8"));
    assert!(head.field("connection").eq_ignore_ascii_case("upgrade"), "{}", head.text());
    for text in ["GET / HTTP/1.1\r\n\r\n", "\0\u{1}0\r\n\r\n", "x"] {
        visitor.say(text).await;
        assert_eq!(line.exactly(text.len()).await, text.as_bytes());
        line.say(text).await;
        assert_eq!(visitor.exactly(text.len()).await, text.as_bytes());
    }
}

#[tokio::test]
async fn much_passes_in_both_directions_at_once() {
    let (world, app) = world().await;
    let (mut visitor, mut line) = tunnel(&world, &app).await;
    let bytes = noise(2_000_000);
    // Each sends more than all buffers between them hold, and reads only then.
    for _ in 0..4 {
        visitor.send(&bytes[..50_000]).await;
        line.send(&bytes[..50_000]).await;
    }
    assert!(line.exactly(200_000).await == bytes[..50_000].repeat(4));
    assert!(visitor.exactly(200_000).await == bytes[..50_000].repeat(4));
    let ((), got) = tokio::join!(visitor.send(&bytes), line.exactly(bytes.len()));
    assert!(got == bytes);
}

#[tokio::test]
async fn what_is_sent_right_behind_the_wish_or_the_leave_is_not_lost() {
    let (world, app) = world().await;
    let mut visitor = Line::ask(&world, &format!("{UPGRADE}early")).await;
    let (mut line, _) = app.asked().await;
    line.say(&format!("{SWITCHED}hello")).await;
    assert_eq!(visitor.head().await.status(), 101);
    assert_eq!(visitor.exactly(5).await, b"hello");
    assert_eq!(line.exactly(5).await, b"early");
    visitor.say("later").await;
    assert_eq!(line.exactly(5).await, b"later");
}

#[tokio::test]
async fn an_app_may_refuse_and_the_connection_stays_http() {
    let (world, app) = world().await;
    for (answer, upgrade) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno", ""),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", ""),
        (
            "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: chat/2\r\nContent-Length: 2\r\n\r\nno",
            "chat/2",
        ),
    ] {
        let mut visitor = Line::ask(&world, UPGRADE).await;
        let (mut line, _) = app.asked().await;
        line.say(answer).await;
        let head = visitor.head().await;
        assert_eq!(head.line(), answer.lines().next().unwrap());
        assert_eq!(head.field("upgrade"), upgrade, "{answer}: RFC 9110 section 15.5.22");
        assert_eq!(visitor.exactly(2).await, b"no");
        visitor.say("GET /next HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
        let (mut next, seen) = app.asked_on(line).await;
        assert_eq!(seen.line(), "GET /next HTTP/1.1");
        next.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(visitor.head().await.status(), 200);
    }
}

#[tokio::test]
async fn a_wish_that_is_none_or_would_get_around_the_edge_does_not_reach_the_app() {
    let (world, app) = world().await;
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
        "Connection: keep-alive\r\nUpgrade: websocket\r\n",
        "Upgrade: chat/1\r\n",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\n");
        let mut visitor = Line::ask(&world, &request).await;
        let (mut line, seen) = app.asked().await;
        assert_eq!((seen.field("upgrade"), seen.field("http2-settings")), ("", ""), "{fields}");
        assert!(!seen.field("connection").to_lowercase().contains("upgrade"), "{}", seen.text());
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(visitor.head().await.status(), 200, "{fields}");
    }
    let old = "GET / HTTP/1.0\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let _visitor = Line::ask(&world, old).await;
    assert_eq!(app.asked().await.1.field("upgrade"), "");
}

#[tokio::test]
async fn what_was_sent_before_one_side_ended_arrives() {
    let (world, app) = world().await;
    let (mut visitor, mut line) = tunnel(&world, &app).await;
    visitor.say("last words").await;
    visitor.end().await;
    assert_eq!(line.rest().await, "last words", "and the app learns that the visitor has ended");
    let (mut visitor, mut line) = tunnel(&world, &app).await;
    line.say("last words").await;
    line.end().await;
    assert_eq!(visitor.rest().await, "last words");
}

#[tokio::test]
async fn each_direction_of_a_tunnel_ends_by_itself() {
    let (world, app) = world().await;
    let (mut visitor, mut line) = tunnel(&world, &app).await;
    visitor.end().await;
    assert_eq!(line.rest().await, "");
    line.say("an answer to all of it").await;
    line.end().await;
    assert_eq!(visitor.rest().await, "an answer to all of it");
    let (mut visitor, mut line) = tunnel(&world, &app).await;
    line.end().await;
    assert_eq!(visitor.rest().await, "");
    visitor.say("heard").await;
    visitor.end().await;
    assert_eq!(line.rest().await, "heard");
}

#[tokio::test]
async fn a_side_that_breaks_off_ends_the_other() {
    let (world, app) = world().await;
    let (visitor, mut line) = tunnel(&world, &app).await;
    drop(visitor);
    assert_eq!(line.rest().await, "");
    let (mut visitor, line) = tunnel(&world, &app).await;
    drop(line);
    assert_eq!(visitor.rest().await, "");
}

#[tokio::test]
async fn a_websocket_passes_over_tls() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("app", &["app.localhost"]), &["app.localhost"]).await;
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let stream = visit(world.edge.https_addr().unwrap(), &Arc::clone(&client), "app.localhost").await.unwrap();
    let request = "wss://app.localhost/socket".into_client_request().unwrap();
    let (mut socket, _) = Box::pin(soon(tokio_tungstenite::client_async(request, stream))).await.unwrap();
    for message in [Message::text("one"), Message::binary(noise(300_000)), Message::text("")] {
        socket.send(message.clone()).await.unwrap();
        assert!(soon(socket.next()).await.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon(socket.next()).await {}
}

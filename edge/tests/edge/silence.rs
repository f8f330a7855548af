//! Apps that are silent: each of a project's timeouts, and who is left alone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use crate::testkit::{Line, Script, World, pass, soon};

/// Longer than any wait that a test of patience sets.
const LONG: Duration = Duration::from_secs(5);
const ASK: &str = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";

async fn world(timeouts: &str) -> (World, Script) {
    let world = World::start().await;
    let app = Script::start().await;
    world.app_with(&[app.addr], &policy(timeouts)).await;
    (world, app)
}

fn policy(timeouts: &str) -> String {
    format!(r#"{{"app": {{"timeouts": {timeouts}}}}}"#)
}

/// An address whose queue of connections is full, and what fills it.
async fn deaf() -> (SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // The system takes one more than it was told, or a few.
    while let Ok(socket) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
        waiting.push(socket.unwrap());
    }
    (addr, waiting, listener)
}

#[tokio::test]
async fn an_instance_that_accepts_no_connection_in_time_is_passed_over() {
    let world = World::start().await;
    let (deaf, _waiting, _listener) = deaf().await;
    world.app_with(&[deaf], &policy(r#"{"connect_ms": 100}"#)).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let head = visitor.head().await;
    assert_eq!((head.status(), head.field("retry-after")), (504, "2"));
    let app = Script::start().await;
    world.app_with(&[deaf, app.addr], &policy(r#"{"connect_ms": 100}"#)).await;
    for _ in 0..4 {
        // Not even what must not be repeated fails: the instance has seen nothing of it.
        let request = "POST / HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\npay";
        let mut visitor = Line::ask(&world, request).await;
        let (mut line, _) = app.asked().await;
        assert_eq!(line.exactly(3).await, b"pay");
        line.say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert_eq!(visitor.head().await.status(), 204);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_given_up_and_asked_of_nobody_else() {
    let world = World::start().await;
    let (one, two) = (Script::start().await, Script::start().await);
    let policy = policy(r#"{"first_byte_ms": 150}"#);
    world.app_with(&[one.addr, two.addr], &policy).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let (mut line, other) = tokio::select! {
        asked = one.asked() => (asked.0, &two),
        asked = two.asked() => (asked.0, &one),
    };
    let head = visitor.head().await;
    assert_eq!((head.status(), head.field("retry-after")), (504, "2"));
    assert_eq!(line.rest().await, "", "the app learns that nobody waits any more");
    let nobody = tokio::time::timeout(Duration::from_millis(50), other.accept()).await;
    assert!(nobody.is_err(), "it may be at work, and would have twice as much");
}

#[tokio::test]
async fn an_answer_that_stops_is_broken_off() {
    let (world, app) = world(r#"{"between_bytes_ms": 150}"#).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    assert_eq!(visitor.head().await.status(), 200);
    assert_eq!(visitor.chunk().await, b"half");
    assert_eq!(visitor.rest().await, "");
    assert_eq!(line.rest().await, "");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_in_all_is_ended_however_lively_it_is() {
    let (world, app) = world(r#"{"total_ms": 2000}"#).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let drip = tokio::spawn(async move {
        let mut drops = 0;
        // Ends with an error when the edge has left.
        while line.try_say("1\r\n.\r\n").await {
            drops += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drops
    });
    assert_eq!(visitor.head().await.status(), 200);
    let text = visitor.rest().await;
    assert!(text.starts_with("1\r\n.\r\n") && !text.contains("0\r\n\r\n"), "{text}");
    assert!(soon(drip).await.unwrap() > 1);
    // Also before it begins.
    let mut visitor = Line::ask(&world, ASK).await;
    let (_line, _) = app.asked().await;
    assert_eq!(visitor.head().await.status(), 504);
}

#[tokio::test]
async fn an_app_that_is_slow_but_alive_is_left_alone() {
    let (world, app) = world(r#"{"first_byte_ms": 9000, "between_bytes_ms": 9000}"#).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n.").await;
    assert_eq!(visitor.head().await.status(), 200);
    assert_eq!(visitor.exactly(1).await, b".");
    for n in 0..9 {
        pass(LONG).await;
        line.say(&n.to_string()).await;
        assert_eq!(visitor.exactly(1).await, n.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_visitor_who_reads_slowly_is_not_the_apps_silence() {
    let (world, app) = world(r#"{"between_bytes_ms": 3000, "first_byte_ms": 3000}"#).await;
    let mut visitor = Line::ask(&world, ASK).await;
    let (mut line, _) = app.asked().await;
    let body = crate::testkit::noise(1 << 20).repeat(40);
    line.say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())).await;
    let mut send = Box::pin(line.send(&body));
    // All buffers are full soon, and the app can't send.
    let sent = tokio::time::timeout(Duration::from_millis(500), &mut send).await;
    assert!(sent.is_err(), "the buffers hold all of it");
    pass(LONG).await;
    let read = async {
        assert_eq!(visitor.head().await.status(), 200);
        assert!(visitor.exactly(body.len()).await == body);
    };
    tokio::join!(read, send);
}

#[tokio::test]
async fn a_stream_of_events_may_be_silent_for_long() {
    let world = World::start_with(|config| config.timeouts.upstream = Duration::from_secs(3)).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let ask = "GET / HTTP/1.1\r\nHost: app.localhost\r\nAccept: text/event-stream\r\n\r\n";
    let mut visitor = Line::ask(&world, ask).await;
    let (mut line, _) = app.asked().await;
    pass(LONG).await;
    line.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 200);
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        pass(LONG).await;
        line.say(&format!("9\r\n{event}\r\n")).await;
        assert_eq!(visitor.chunk().await, event.as_bytes());
    }
}

#[tokio::test]
async fn a_tunnel_has_no_other_timeout_than_its_own() {
    let all = r#"{"first_byte_ms": 3000, "between_bytes_ms": 3000, "total_ms": 3000}"#;
    let (world, app) = world(all).await;
    let upgrade = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n";
    let mut visitor = Line::ask(&world, upgrade).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/1\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 101);
    pass(LONG).await;
    line.say("ping").await;
    assert_eq!(visitor.exactly(4).await, b"ping");
    pass(LONG).await;
    visitor.say("pong").await;
    assert_eq!(line.exactly(4).await, b"pong");
}

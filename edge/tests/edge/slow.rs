//! Visitors who take their time: each wait ends by its setting, and nobody else notices.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::apps::App;
use crate::testkit::{Line, Script, World, file, soon};

/// A wait that ends within a test.
const SHORT: Duration = Duration::from_millis(100);
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n";

/// Somebody else is served as ever.
async fn is_served(world: &World) {
    assert!(soon(world.raw(REQUEST)).await.ends_with("home"));
}

async fn world(change: impl FnOnce(&mut edge::Config)) -> World {
    let world = World::start_with(change).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    world
}

#[tokio::test]
async fn a_head_that_does_not_end_closes_its_connection_wherever_it_stops() {
    let world = world(|config| config.timeouts.client_head = SHORT).await;
    let mut lines = Vec::new();
    for part in ["G", "GET / HT", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\nHost: blog.localhost\r\nX: ", "PRI * HT", "\r"]
    {
        lines.push(Line::ask(&world, part).await);
    }
    // One behind a request that was answered.
    let mut second = Line::ask(&world, "GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\nGET /").await;
    assert_eq!(second.head().await.status(), 200);
    assert_eq!(second.exactly(4).await, b"home");
    lines.push(second);
    for mut line in lines {
        is_served(&world).await;
        assert_eq!(line.rest().await, "");
    }
}

#[tokio::test]
async fn a_body_that_stops_ends_the_request_also_for_the_app() {
    let world = world(|config| config.timeouts.client = SHORT).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    for (fields, part) in
        [("Content-Length: 10", "hello"), ("Transfer-Encoding: chunked", "a\r\nhello"), ("Content-Length: 10", "")]
    {
        let request = format!("POST / HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\n\r\n{part}");
        let mut visitor = Line::ask(&world, &request).await;
        let (mut line, _) = app.asked().await;
        is_served(&world).await;
        // What came of the body, and then the end of the connection.
        assert!(!line.rest().await.contains("0\r\n\r\n"), "the body is not ended for the visitor");
        let answer = visitor.rest().await;
        assert!(!answer.starts_with("HTTP/1.1 200 "), "{fields}: {answer}");
    }
}

#[tokio::test]
async fn a_visitor_who_does_not_take_an_answer_is_cut_off_and_so_is_the_app() {
    let world = world(|config| config.timeouts.client_stall = SHORT).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let _visitor = Line::ask(&world, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n").await;
    let piece = vec![b'x'; 1 << 20];
    while line.try_send(&piece).await {}
    is_served(&world).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_and_after_a_request() {
    // Settings of this wait are whole seconds.
    let world = world(|config| config.timeouts.client_idle = Duration::from_secs(1)).await;
    let mut silent = Line::visit(&world).await;
    let mut idle = Line::ask(&world, "GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await;
    assert_eq!(idle.head().await.status(), 200);
    assert_eq!(idle.exactly(4).await, b"home");
    is_served(&world).await;
    assert_eq!(silent.rest().await, "");
    assert_eq!(idle.rest().await, "");
}

#[tokio::test]
async fn a_visitor_who_has_said_all_is_answered_still_and_one_who_said_nothing_is_closed() {
    let world = world(|_| {}).await;
    let mut asked = TcpStream::connect(world.edge.addr()).await.unwrap();
    asked.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.unwrap();
    asked.shutdown().await.unwrap();
    let answer = Line::new(asked).rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("home"), "{answer}");
    for part in ["", "GET / HT"] {
        let mut line = Line::ask(&world, part).await;
        line.end().await;
        assert_eq!(line.rest().await, "", "{part:?}");
    }
}

#[tokio::test]
async fn many_slow_visitors_leave_the_others_alone() {
    let world = world(|_| {}).await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let mut slow = Vec::new();
    for number in 0..300 {
        let part = match number % 3 {
            0 => "GET / HTTP/1.1\r\nHost: blog",
            1 => "POST /upload HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 9\r\n\r\nx",
            _ => "",
        };
        slow.push(Line::ask(&world, part).await);
    }
    is_served(&world).await;
    let request = "GET /head HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    assert!(soon(world.raw(request)).await.starts_with("HTTP/1.1 200 "));
}

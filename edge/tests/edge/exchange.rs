//! What passes between a visitor over HTTP/1 and an app, byte for byte.

use std::sync::Arc;

use common::id::DeploymentId;
use common::policy::AppTimeouts;
use common::route::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::testkit::{World, noise, route, soon};

/// An app of which a test writes each byte.
struct App(TcpListener);

impl App {
    async fn start(world: &World) -> Self {
        Self::start_with(world, AppTimeouts::default()).await
    }

    async fn start_with(world: &World, timeouts: AppTimeouts) -> Self {
        let app = Self(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let upstreams = vec![app.0.local_addr().unwrap()];
        let mut told = route("app", &DeploymentId::new(), Target::App { upstreams, unavailable: None, wakes: false });
        Arc::make_mut(&mut told.policy).app.timeouts = timeouts;
        world.tell(vec![told]).await;
        app
    }

    async fn accept(&self) -> TcpStream {
        soon(self.0.accept()).await.unwrap().0
    }
}

/// A visitor who has sent these bytes.
async fn visitor(world: &World, bytes: &str) -> TcpStream {
    let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    socket
}

async fn write(socket: &mut TcpStream, bytes: &str) {
    socket.write_all(bytes.as_bytes()).await.unwrap();
}

/// Reads until what came ends so.
async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let so_far = || String::from_utf8_lossy(&text).into_owned();
        let byte = soon(socket.read_u8()).await;
        let Ok(byte) = byte else { panic!("it ended before {end:?}: {:?}", so_far()) };
        text.push(byte);
    }
    String::from_utf8(text).unwrap()
}

/// Reads until the connection is closed.
async fn rest(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // One that is reset has ended too.
    let _ = soon(socket.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn interim_answers_reach_visitors_who_know_them() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor_11 = visitor(&world, GET).await;
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n").await;
    let hints = until(&mut visitor_11, "\r\n\r\n").await;
    assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", "before the answer itself");
    write(&mut asked, OK).await;
    assert!(until(&mut visitor_11, "ok").await.starts_with("HTTP/1.1 200 OK\r\n"));

    let mut visitor_10 = visitor(&world, "GET /a HTTP/1.0\r\nHost: app.localhost\r\n\r\n").await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await;
    write(&mut asked, OK).await;
    assert!(rest(&mut visitor_10).await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_body_that_is_held_back_comes_when_the_app_asks_for_it() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let post = "POST /a HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut visitor_1 = visitor(&world, post).await;
    let mut asked = app.accept().await;
    let head = until(&mut asked, "\r\n\r\n").await;
    assert!(head.contains("\r\nExpect: 100-continue\r\n"), "{head}");
    write(&mut asked, "HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(until(&mut visitor_1, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    write(&mut visitor_1, "hello").await;
    until(&mut asked, "hello").await;
    write(&mut asked, OK).await;
    until(&mut visitor_1, "ok").await;

    let mut refused = visitor(&world, post).await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await;
    let answer = rest(&mut refused).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn trailer_fields_pass_in_both_directions() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor = visitor(
        &world,
        "POST /a HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    )
    .await;
    let mut asked = app.accept().await;
    let head = until(&mut asked, "\r\n\r\n").await;
    assert!(head.contains("\r\nTE: trailers\r\n") && head.contains("\r\nConnection: TE\r\n"), "{head}");
    assert_eq!(until(&mut asked, "\r\n\r\n").await, "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
    write(&mut asked, "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    write(&mut asked, "2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n").await;
    until(&mut visitor, "\r\n\r\n").await;
    assert_eq!(until(&mut visitor, "\r\n\r\n").await, "2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n");
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_goes_on() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor =
        visitor(&world, "POST /a HTTP/1.1\r\nHost: app.localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    until(&mut visitor, "\r\n\r\n").await;
    for word in ["one", "two"] {
        let chunk = format!("3\r\n{word}\r\n");
        write(&mut visitor, &chunk).await;
        assert_eq!(until(&mut asked, "\r\n").await + &until(&mut asked, "\r\n").await, chunk);
        write(&mut asked, &chunk).await;
        assert_eq!(until(&mut visitor, "\r\n").await + &until(&mut visitor, "\r\n").await, chunk);
    }
    write(&mut visitor, "0\r\n\r\n").await;
    until(&mut asked, "0\r\n\r\n").await;
    write(&mut asked, "0\r\n\r\n").await;
    until(&mut visitor, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_closed_fails_nobody() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor = visitor(&world, GET).await;
    let mut first = app.accept().await;
    for _ in 0..3 {
        until(&mut first, "\r\n\r\n").await;
        write(&mut first, OK).await;
        until(&mut visitor, "ok").await;
        write(&mut visitor, GET).await;
    }
    // It was asked once more, and closes without a word, as a server does whose patience ends at that moment.
    until(&mut first, "\r\n\r\n").await;
    drop(first);
    let mut second = app.accept().await;
    until(&mut second, "\r\n\r\n").await;
    write(&mut second, OK).await;
    assert!(until(&mut visitor, "ok").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn what_is_not_safe_to_repeat_is_not_repeated() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor = visitor(&world, GET).await;
    let mut first = app.accept().await;
    until(&mut first, "\r\n\r\n").await;
    write(&mut first, OK).await;
    until(&mut visitor, "ok").await;
    write(&mut visitor, "POST /a HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 1\r\n\r\nx").await;
    until(&mut first, "\r\n\r\nx").await;
    drop(first);
    assert!(until(&mut visitor, "\r\n\r\n").await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn an_app_is_told_nothing_of_the_visitors_connection() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let _visitor = visitor(
        &world,
        "GET /a HTTP/1.1\r\nHost: app.localhost\r\nConnection: keep-alive, X-Own\r\nKeep-Alive: 5\r\nX-Own: 1\r\n\
         Proxy-Authorization: x\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    let head = until(&mut app.accept().await, "\r\n\r\n").await;
    assert!(head.contains("\r\nX-Kept: 1\r\n"), "{head}");
    for name in ["connection:", "keep-alive:", "x-own:", "proxy-authorization:"] {
        assert!(!head.to_lowercase().contains(name), "{name} in {head}");
    }
}

#[tokio::test]
async fn an_app_is_left_when_its_visitor_leaves() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let waiting = visitor(&world, GET).await;
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    drop(waiting);
    assert_eq!(rest(&mut asked).await, "");

    let mut reading = visitor(&world, GET).await;
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    until(&mut reading, "ok\r\n").await;
    drop(reading);
    assert_eq!(rest(&mut asked).await, "");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let world = World::start().await;
    let app = App::start(&world).await;
    for (begun, whole) in [
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "0\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "ok1234567"),
    ] {
        let mut visitor = visitor(&world, GET).await;
        let mut asked = app.accept().await;
        until(&mut asked, "\r\n\r\n").await;
        write(&mut asked, begun).await;
        until(&mut visitor, "ok").await;
        drop(asked);
        assert!(!rest(&mut visitor).await.ends_with(whole));
    }
}

#[tokio::test]
async fn each_of_a_projects_timeouts_ends_what_it_is_for() {
    let short = Some(100);
    let world = World::start_with(|config| config.admin = Some("127.0.0.1:0".parse().unwrap())).await;

    let first_byte = AppTimeouts { first_byte_ms: short, ..AppTimeouts::default() };
    let app = App::start_with(&world, first_byte).await;
    let mut silent = visitor(&world, GET).await;
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    assert!(until(&mut silent, "\r\n\r\n").await.starts_with("HTTP/1.1 504 "));
    assert_eq!(rest(&mut asked).await, "");

    for timeouts in [
        AppTimeouts { between_bytes_ms: short, ..AppTimeouts::default() },
        AppTimeouts { total_ms: Some(500), ..AppTimeouts::default() },
    ] {
        let app = App::start_with(&world, timeouts).await;
        let mut halted = visitor(&world, GET).await;
        let mut asked = app.accept().await;
        until(&mut asked, "\r\n\r\n").await;
        write(&mut asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
        until(&mut halted, "ok\r\n").await;
        assert_eq!(rest(&mut halted).await, "", "its end is missing");
        assert_eq!(rest(&mut asked).await, "");
    }
    let metrics = format!("http://{}/metrics", world.edge.admin_addr().unwrap());
    let metrics = world.client.get(metrics).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("event=\"timed_out\"} 3\n") && metrics.contains("event=\"broken\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_visitor_who_sends_requests_without_waiting_gets_the_answers_in_order() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let body = String::from_utf8_lossy(&noise(20_000)).replace(|c: char| !c.is_ascii_alphanumeric(), "x");
    let post = format!("POST /a HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut visitor = visitor(&world, &(post.clone() + &post + GET)).await;
    let mut asked = app.accept().await;
    for n in 1..=3 {
        until(&mut asked, "\r\n\r\n").await;
        if n < 3 {
            let mut sent = vec![0; body.len()];
            soon(asked.read_exact(&mut sent)).await.unwrap();
            assert!(sent == body.as_bytes());
        }
        write(&mut asked, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}")).await;
        assert!(until(&mut visitor, "\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(until(&mut visitor, &n.to_string()).await, n.to_string());
    }
}

#[tokio::test]
async fn an_answer_without_a_length_that_breaks_off_is_told_by_a_reset() {
    let world = World::start().await;
    let app = App::start(&world).await;
    for ends in [true, false] {
        let mut visitor = visitor(&world, "GET /a HTTP/1.0\r\nHost: app.localhost\r\n\r\n").await;
        let mut asked = app.accept().await;
        until(&mut asked, "\r\n\r\n").await;
        write(&mut asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n")
            .await;
        until(&mut visitor, "ok").await;
        if ends {
            write(&mut asked, "0\r\n\r\n").await;
        }
        drop(asked);
        assert_eq!(soon(visitor.read_to_end(&mut Vec::new())).await.is_ok(), ends);
    }
}

#[tokio::test]
async fn a_visitor_who_says_nothing_more_gets_the_answer_that_it_waits_for() {
    let world = World::start().await;
    let app = App::start(&world).await;
    let mut visitor = visitor(&world, GET).await;
    visitor.shutdown().await.unwrap();
    let mut asked = app.accept().await;
    until(&mut asked, "\r\n\r\n").await;
    write(&mut asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await;
    until(&mut visitor, "ok\r\n").await;
    write(&mut asked, "0\r\n\r\n").await;
    assert_eq!(rest(&mut visitor).await, "0\r\n\r\n");
}

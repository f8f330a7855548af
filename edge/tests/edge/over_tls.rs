//! What holds in plain holds over TLS and HTTP/2 too: hot files, slow visitors, streams, and limits of bandwidth.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use common::manifest::Encoding;
use h2::client::SendRequest;
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls;

use crate::testkit::{Line, Published, Script, World, file, noise, soon};
use crate::tls::{Authority, certify, visit};

/// A world whose hosts have certificates, and what a browser brings along.
async fn world(change: impl FnOnce(&mut edge::Config)) -> (World, Authority) {
    let world = World::start_with(change).await;
    let authority = Authority::new();
    let names = ["blog.localhost", "app.localhost"];
    certify(&world.control_plane, authority.issue("both", &names), &names).await;
    (world, authority)
}

/// A visitor over HTTP/1.1 who has sent this.
async fn ask(world: &World, client: &Arc<ClientConfig>, host: &str, request: &str) -> Line {
    let stream = visit(world.edge.https_addr().unwrap(), client, host).await.unwrap();
    let mut line = Line::new(stream);
    line.say(request).await;
    line
}

/// A visitor over HTTP/2.
async fn ask_h2(world: &World, authority: &Authority) -> SendRequest<bytes::Bytes> {
    let client = authority.client(&[&TLS13], &["h2"]);
    let stream = visit(world.edge.https_addr().unwrap(), &client, "app.localhost").await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    client
}

fn get(host: &str) -> http::Request<()> {
    http::Request::get(format!("https://{host}.localhost/")).body(()).unwrap()
}

/// An answer without what differs from one moment, and one request, to the next.
fn lasting(answer: &str) -> String {
    let is_lasting = |line: &&str| !line.starts_with("Date: ") && !line.starts_with("x-request-id: ");
    answer.split_inclusive("\r\n").filter(is_lasting).collect()
}

#[tokio::test]
async fn a_hot_file_is_the_same_as_in_plain() {
    let (world, authority) = world(|_| {}).await;
    let css = Published {
        path: "/a.css",
        bytes: b"body { color: red }".repeat(100),
        variants: vec![(Encoding::Br, b"brotli".to_vec())],
    };
    world.site("blog", vec![file("/index.html", "home"), css, file("/b.txt", noise_text(90_000))], false).await;
    for version in [&TLS12, &TLS13] {
        let client = authority.client(&[version], &["http/1.1"]);
        for path in ["/", "/a.css", "/b.txt", "/absent"] {
            for fields in ["", "Accept-Encoding: br\r\n", "If-None-Match: *\r\n", "Range: bytes=1-2\r\n"] {
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\n{fields}Connection: close\r\n\r\n");
                let plain = lasting(&soon(world.raw(&request)).await);
                // The second time it is hot.
                for _ in 0..2 {
                    let mut visitor = ask(&world, &client, "blog.localhost", &request).await;
                    assert_eq!(lasting(&visitor.rest().await), plain, "{request}");
                }
            }
        }
    }
}

#[tokio::test]
async fn hot_files_that_are_asked_for_at_once_come_in_order() {
    let (world, authority) = world(|_| {}).await;
    let text = noise_text(40_000);
    world.site("blog", vec![file("/index.html", "home"), file("/b.txt", text.clone())], false).await;
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let requests = "GET /b.txt HTTP/1.1\r\nHost: blog.localhost\r\n\r\nGET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";
    // In one record each that ends within a request, too.
    for cut in [requests.len(), 20, requests.len() - 3] {
        let mut visitor = ask(&world, &client, "blog.localhost", &requests[..cut]).await;
        visitor.say(&requests[cut..]).await;
        for body in [&text[..], b"home"] {
            assert_eq!(visitor.head().await.status(), 200);
            assert!(visitor.exactly(body.len()).await == body, "cut at {cut}");
        }
    }
}

fn noise_text(len: usize) -> Vec<u8> {
    noise(len).into_iter().map(|byte| b'a' + byte % 26).collect()
}

#[tokio::test]
async fn a_visitor_who_does_not_read_holds_up_the_app_and_gets_everything_later() {
    let (world, authority) = world(|_| {}).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let request = "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    let mut visitor = ask(&world, &client, "app.localhost", request).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\n\r\n").await;
    let piece = noise(1 << 20);
    // The buffers of the system and the edge are a few megabytes; one that kept all would take this.
    let mut send = Box::pin(async {
        for _ in 0..64 {
            line.send(&piece).await;
        }
        line.end().await;
    });
    let all = tokio::time::timeout(Duration::from_secs(2), &mut send).await;
    assert!(all.is_err(), "64 MB were taken from the app while the visitor read nothing");
    let read = async {
        assert_eq!(visitor.head().await.status(), 200);
        let mut bytes = 0;
        loop {
            let chunk = visitor.chunk().await;
            if chunk.is_empty() {
                return bytes;
            }
            bytes += chunk.len();
        }
    };
    assert_eq!(tokio::join!(read, send).0, 64 << 20);
}

#[tokio::test]
async fn a_visitor_who_takes_nothing_is_cut_off_and_so_is_the_app() {
    let (world, authority) = world(|config| config.timeouts.client_stall = Duration::from_millis(100)).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let piece = vec![b'x'; 1 << 20];
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let request = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    let _visitor = ask(&world, &client, "app.localhost", request).await;
    let (mut line, _) = app.asked().await;
    line.say("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n").await;
    while line.try_send(&piece).await {}
    let request = "GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n";
    let mut other = ask(&world, &client, "blog.localhost", request).await;
    assert!(other.rest().await.ends_with("home"), "others are served");
}

#[tokio::test]
async fn each_event_arrives_over_http_2_before_the_next_is_written() {
    let (world, authority) = world(|_| {}).await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    for framing in ["Transfer-Encoding: chunked\r\n", ""] {
        let mut client = ask_h2(&world, &authority).await;
        let (answer, _) = client.send_request(get("app"), true).unwrap();
        let (mut line, _) = app.asked().await;
        line.say(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n")).await;
        let mut body = soon(answer).await.unwrap().into_body();
        for n in 0..5 {
            let event = format!("data: {n}\n\n");
            let sent = if framing.is_empty() { event.clone() } else { format!("{:x}\r\n{event}\r\n", event.len()) };
            line.say(&sent).await;
            let mut got = Vec::new();
            while got.len() < event.len() {
                let piece = soon(body.data()).await.unwrap().unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                got.extend_from_slice(&piece);
            }
            assert_eq!(got, event.as_bytes(), "{framing}");
        }
    }
}

#[tokio::test]
async fn a_streamed_answer_is_paced_and_another_one_beside_it_is_not() {
    const LENGTH: usize = 400_000;
    let (world, authority) = world(|_| {}).await;
    let body = String::from_utf8(vec![b'x'; LENGTH]).unwrap();
    let app = Script::start().await.serve(move |_, _| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x\r\nTransfer-Encoding: chunked\r\n\r\n";
        Some(format!("{head}{LENGTH:x}\r\n{body}\r\n0\r\n\r\n"))
    });
    // Twenty seconds for all of it.
    world.app_with(&[app.addr], r#"{"limits": {"project": {"bytes_per_s": 20000}}}"#).await;
    world.app("free", &[app.addr]).await;
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let request = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    let mut over_h1 = ask(&world, &client, "app.localhost", request).await;
    assert_eq!(over_h1.head().await.status(), 200);
    let mut over_h2 = ask_h2(&world, &authority).await;
    let (answer, _) = over_h2.send_request(get("app"), true).unwrap();
    let mut over_h2 = soon(answer).await.unwrap().into_body();
    let whole_h1 = async { assert_eq!(over_h1.chunked().await.len(), LENGTH) };
    let whole_h2 = async {
        while let Some(piece) = over_h2.data().await {
            over_h2.flow_control().release_capacity(piece.unwrap().len()).unwrap();
        }
    };
    let free = async { soon(world.get("free", "/").send()).await.unwrap().bytes().await.unwrap() };
    tokio::select! {
        biased;
        () = whole_h1 => panic!("over HTTP/1.1, twenty times what a second allows came at once"),
        () = whole_h2 => panic!("over HTTP/2, twenty times what a second allows came at once"),
        free = free => assert_eq!(free.len(), LENGTH),
    }
}

//! Load balancers that say whose connection they forward.

use std::time::Duration;

use rustls::version::TLS13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls;

use crate::apps::App;
use crate::testkit::{World, soon};
use crate::tls::{Authority, ask, certify};

const REQUEST: &[u8] = b"GET /head HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xCB\0\x71\x07\x0A\0\0\x01\xDC\x04\x01\xBB\x04\0\x02ab";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn world(from: &str) -> World {
    let from = from.parse().unwrap();
    let world = World::start_with(move |config| {
        config.proxy_protocol_from = vec![from];
        config.timeouts.proxy_header = Duration::from_millis(200);
    })
    .await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    world
}

/// What comes back for these bytes, each piece sent by itself.
async fn answer(world: &World, pieces: &[&[u8]]) -> String {
    let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for piece in pieces {
        // Refused while bytes are still on their way, the connection is reset.
        let _ = socket.write_all(piece).await;
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    let _ = soon(socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_trusted_balancer_says_who_the_visitor_is() {
    let world = world("127.0.0.0/8").await;
    for header in [V1, V2] {
        let one_by_one: Vec<&[u8]> = header.chunks(1).chain([REQUEST]).collect();
        for pieces in [&[header, REQUEST][..], &[&[header, REQUEST].concat()], &one_by_one] {
            let answer = answer(&world, pieces).await;
            assert!(answer.contains("x-forwarded-for: 203.0.113.7"), "{answer}");
        }
    }
    let local_with_more = [&V2[..12], b"\x20\x31\0\x05/sock"].concat();
    for header in [LOCAL, &local_with_more, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ::1 ::1 1 2\r\n"] {
        let answer = answer(&world, &[header, REQUEST]).await;
        assert!(answer.contains("x-forwarded-for: 127.0.0.1"), "{answer}");
    }
}

#[tokio::test]
async fn a_trusted_balancer_that_says_nothing_or_nonsense_is_closed() {
    let world = world("127.0.0.0/8").await;
    let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
    let v2 = |rest: &[u8]| [&V2[..12], rest].concat();
    for bytes in [
        REQUEST,
        b"PROXY TCP4 nonsense\r\n",
        &V2[..14],
        b"",
        b"PROXY TCP4 203.0.113.7",
        &long,
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 056324 443\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 443\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443 x\r\n",
        b"PROXY TCP4  203.0.113.7 10.0.0.1 56324 443\r\n",
        b"PROXY TCP6 203.0.113.7 10.0.0.1 56324 443\r\n",
        b"PROXY UDP4 203.0.113.7 10.0.0.1 56324 443\r\n",
        b"proxy TCP4 203.0.113.7 10.0.0.1 56324 443\r\n",
        // A version and a command that there are not, a Unix socket, too few bytes for addresses, a field that ends
        // beyond the header, and more bytes than any balancer sends.
        &v2(b"\x11\x11\0\x0c\xCB\0\x71\x07\x0A\0\0\x01\xDC\x04\x01\xBB"),
        &v2(b"\x22\x11\0\x0c\xCB\0\x71\x07\x0A\0\0\x01\xDC\x04\x01\xBB"),
        &v2(&[b"\x21\x31\0\xd8", &[b'/'; 216][..]].concat()),
        &v2(b"\x21\x11\0\x04\xCB\0\x71\x07"),
        &v2(b"\x21\x11\0\x11\xCB\0\x71\x07\x0A\0\0\x01\xDC\x04\x01\xBB\x04\0\x09ab"),
        &v2(&[b"\x21\x11\xff\xff", &[0; 2000][..]].concat()),
    ] {
        assert_eq!(answer(&world, &[bytes, REQUEST]).await, "", "{}", bytes.escape_ascii());
    }
    let mut silent = TcpStream::connect(world.edge.addr()).await.unwrap();
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap_or(0), 0, "not waited for forever");
}

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let world = world("10.0.0.0/8").await;
    let plain = answer(&world, &[REQUEST]).await;
    assert!(plain.contains("x-forwarded-for: 127.0.0.1"), "{plain}");
    for header in [V1, V2] {
        let answer = answer(&world, &[header, REQUEST]).await;
        assert!(!answer.contains("203.0.113.7") && !answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn the_header_comes_before_the_handshake() {
    let world = world("127.0.0.0/8").await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("app", &["app.localhost"]), &["app.localhost"]).await;
    for header in [V1, V2] {
        let mut socket = TcpStream::connect(world.edge.https_addr().unwrap()).await.unwrap();
        socket.write_all(header).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(authority.client(&[&TLS13], &["http/1.1"]));
        let mut visitor = soon(connector.connect("app.localhost".try_into().unwrap(), socket)).await.unwrap();
        let answer = ask(&mut visitor, "app.localhost", "/head").await;
        assert!(answer.contains("x-forwarded-for: 203.0.113.7"), "{answer}");
        assert!(answer.contains("x-forwarded-proto: https"), "{answer}");
    }
}

//! HTTP/2 as visitors speak it: with a real client, and frame by frame where no client would.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::apps::App;
use crate::testkit::{World, file, noise, soon};

/// Kinds of frames (RFC 9113 section 6), and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub async fn visit(world: &World) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    client
}

pub fn get(host: &str, path: &str) -> http::request::Builder {
    Request::get(format!("http://{host}.localhost{path}"))
}

/// Sends a request without a body and takes the whole answer, making room as it comes.
pub async fn ask(client: &mut SendRequest<Bytes>, request: http::request::Builder) -> (StatusCode, HeaderMap, Vec<u8>) {
    poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
    let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    take(soon(answer).await.unwrap()).await
}

pub async fn take(answer: http::Response<h2::RecvStream>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = soon(body.data()).await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    (head.status, head.headers, bytes)
}

/// A visitor who writes frames by hand.
struct Raw(TcpStream);

impl Raw {
    /// Opens a connection with these settings.
    async fn open(world: &World, settings: &[u8]) -> Self {
        let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut this = Self(socket);
        this.send(&frame(SETTINGS, 0, 0, settings)).await;
        this
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The edge may have closed the connection.
        let _ = self.0.write_all(bytes).await;
    }

    /// The next frame; `None` when the connection is closed.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        soon(self.0.read_exact(&mut head)).await.ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        soon(self.0.read_exact(&mut payload)).await.ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// The next frame of this kind.
    async fn next_of(&mut self, wanted: u8) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let (kind, flags, stream, payload) = self.next().await?;
            if kind == wanted {
                return Some((flags, stream, payload));
            }
        }
    }

    /// The next frame of one of these kinds.
    async fn next_of_any(&mut self, wanted: &[u8]) -> Option<(u8, Vec<u8>)> {
        loop {
            let (kind, _, _, payload) = self.next().await?;
            if wanted.contains(&kind) {
                return Some((kind, payload));
            }
        }
    }

    /// The code of the error with which a stream was reset.
    async fn reset(&mut self) -> Option<u32> {
        let (_, _, payload) = self.next_of(RST_STREAM).await?;
        Some(u32::from_be_bytes(payload.try_into().unwrap()))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field that is written out (RFC 7541 section 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(name.len()).unwrap()];
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend_from_slice(value.as_bytes());
    bytes
}

/// `GET / HTTP/2` with more fields.
fn start_page(host: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84];
    block.extend(literal(":authority", &format!("{host}.localhost")));
    for (name, value) in fields {
        block.extend(literal(name, value));
    }
    block
}

#[tokio::test]
async fn a_hot_file_is_the_same_as_a_cold_one() {
    let world = World::start().await;
    let large = noise(300_000);
    world.site("blog", vec![file("/index.html", "page"), file("/large.bin", large.clone())], false).await;
    let mut client = visit(&world).await;
    let mut seen: Vec<HeaderMap> = Vec::new();
    for _ in 0..4 {
        let (status, mut head, body) = ask(&mut client, get("blog", "/")).await;
        assert_eq!((status.as_u16(), &*body), (200, &b"page"[..]));
        assert!(head.remove("date").is_some());
        head.remove("x-request-id");
        seen.push(head);
    }
    assert!(seen.iter().all(|head| *head == seen[0]), "{seen:?}");
    let tag = seen[0]["etag"].to_str().unwrap().to_owned();
    for _ in 0..3 {
        let (status, head, body) = ask(&mut client, get("blog", "/").header("if-none-match", &tag)).await;
        assert_eq!((status.as_u16(), body.len(), &head["etag"]), (304, 0, &seen[0]["etag"]));
        let (status, head, body) = ask(&mut client, get("blog", "/").method("HEAD")).await;
        assert_eq!((status.as_u16(), body.len(), &head["content-length"]), (200, 0, &seen[0]["content-length"]));
        let (status, _, body) = ask(&mut client, get("blog", "/").header("range", "bytes=1-2")).await;
        assert_eq!((status.as_u16(), &*body), (206, &b"ag"[..]));
        // More than the visitor makes room for at first.
        let (status, _, body) = ask(&mut client, get("blog", "/large.bin")).await;
        assert!(status.as_u16() == 200 && body == large);
    }
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", noise(2000))], false).await;
    let mut client = visit(&world).await;
    for _ in 0..5 {
        let mut answers = Vec::new();
        for _ in 0..100 {
            poll_fn(|cx| client.poll_ready(cx)).await.unwrap();
            answers.push(client.send_request(get("blog", "/").body(()).unwrap(), true).unwrap().0);
        }
        // Taken side by side: they share one window.
        let all = answers.into_iter().map(async |answer| take(answer.await.unwrap()).await);
        for (status, _, body) in soon(futures::future::join_all(all)).await {
            assert!(status.as_u16() == 200 && body == noise(2000));
        }
    }
}

#[tokio::test]
async fn a_new_deployment_is_seen_by_the_next_request_of_a_connection() {
    let world = World::start().await;
    let mut client = visit(&world).await;
    for text in ["one", "two"] {
        world.site("blog", vec![file("/index.html", text)], false).await;
        for _ in 0..3 {
            assert_eq!(ask(&mut client, get("blog", "/")).await.2, text.as_bytes());
        }
    }
}

#[tokio::test]
async fn early_hints_come_before_the_answer() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.app("app", &[listener.local_addr().unwrap()]).await;
    let app = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await.unwrap();
        socket.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n").await.unwrap();
        // The answer waits until the hints are there.
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        (socket, go, wait)
    });
    let mut client = visit(&world).await;
    let (mut answer, _) = client.send_request(get("app", "/").body(()).unwrap(), true).unwrap();
    let hints = soon(poll_fn(|cx| answer.poll_informational(cx))).await.unwrap().unwrap();
    assert_eq!((hints.status().as_u16(), &hints.headers()["link"]), (103, &"</a.css>".parse().unwrap()));
    let (mut socket, _, _) = app.await.unwrap();
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(take(soon(answer).await.unwrap()).await.2, b"ok");
}

#[tokio::test]
async fn a_websocket_opens_over_a_stream() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let mut client = visit(&world).await;
    // The edge's settings, which allow it, have come with an answer.
    ask(&mut client, get("app", "/")).await;
    assert!(client.is_extended_connect_protocol_enabled());
    let mut request =
        Request::connect("http://app.localhost/socket").header("sec-websocket-version", "13").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut sender) = client.send_request(request, false).unwrap();
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("sec-websocket-accept") && !answer.headers().contains_key("upgrade"));
    let mut body = answer.into_body();
    for _ in 0..2 {
        // A text of two letters, under a mask of zeros (RFC 6455 section 5.2).
        sender.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi"), false).unwrap();
        assert_eq!(&soon(body.data()).await.unwrap().unwrap()[..], b"\x81\x02hi");
    }
    // Other streams go on beside it.
    assert_eq!(ask(&mut client, get("app", "/")).await.2, b"app");
    sender.send_data(Bytes::from_static(b"\x88\x80\0\0\0\0"), true).unwrap();
    while let Some(Ok(_)) = soon(body.data()).await {}
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn an_upload_goes_through_as_it_comes() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let mut client = visit(&world).await;
    let (answer, mut sender) =
        client.send_request(get("app", "/upload").method("POST").body(()).unwrap(), false).unwrap();
    // More than fits into the windows.
    let sent = noise(1_900_000);
    let mut left = Bytes::from(sent.clone());
    let send = async {
        while !left.is_empty() {
            sender.reserve_capacity(left.len());
            let room = poll_fn(|cx| sender.poll_capacity(cx)).await.unwrap().unwrap();
            let piece = left.split_to(room.min(left.len()));
            sender.send_data(piece, left.is_empty()).unwrap();
        }
    };
    let (answer, ()) = tokio::join!(async { take(soon(answer).await.unwrap()).await }, send);
    assert!(answer.0 == 200 && answer.2 == sent, "{:?}", answer.0);
}

#[tokio::test]
async fn what_two_servers_may_read_differently_is_refused() {
    const PROTOCOL_ERROR: u32 = 1;
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    for fields in [
        &[("connection", "close")][..],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[("Upper", "case")],
        &[("", "no name")],
        &[(":path", "/twice")],
        &[("content-length", "1"), ("content-length", "2")],
        &[("content-length", "+0")],
        &[("content-length", "5")],
    ] {
        let mut raw = Raw::open(&world, &[]).await;
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &start_page("blog", fields))).await;
        let code = match raw.next_of_any(&[RST_STREAM, GOAWAY]).await {
            Some((RST_STREAM, payload)) => u32::from_be_bytes(payload.try_into().unwrap()),
            Some((_, payload)) => u32::from_be_bytes(payload[4..8].try_into().unwrap()),
            None => panic!("{fields:?} is not refused"),
        };
        assert!(matches!(code, PROTOCOL_ERROR | 9), "{fields:?}: {code}");
    }
    let mut client = visit(&world).await;
    let (status, ..) = ask(&mut client, get("blog", "/").header("host", "other.localhost")).await;
    assert_eq!(status, 400, "two names");
    let (status, ..) = ask(&mut client, get("blog", &format!("/{}", "x".repeat(9000)))).await;
    assert_eq!(status, 414);
    let many = (0..101).fold(get("blog", "/"), |request, n| request.header(format!("x-{n}"), "1"));
    assert_eq!(ask(&mut client, many).await.0, 431, "too many fields");
    assert_eq!(ask(&mut client, get("blog", "/")).await.0, 200, "and the connection goes on");
}

#[tokio::test]
async fn floods_end_their_connection_and_nobody_elses() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let mut neighbour = visit(&world).await;
    let reset = |stream: u32| {
        let mut frames =
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &start_page("blog", &[("range", "bytes=0-1")]));
        frames.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames
    };
    let bomb = {
        // One large field, and then nothing but references to it (RFC 7541 section 6.1).
        let mut block = start_page("blog", &[]);
        block.extend([0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
        block.extend([b'y'; 0x7f + 0x0f01]);
        block.extend([0xbe; 8000]);
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
    };
    // It waits for the body's end.
    let begun = frame(HEADERS, END_HEADERS, 1, &start_page("blog", &[]));
    let floods: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("PING", vec![], frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", vec![], frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16])),
        ("WINDOW_UPDATE", vec![], frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("empty DATA", begun, frame(DATA, 0, 1, &[])),
        ("CONTINUATION", frame(HEADERS, 0, 1, &start_page("blog", &[])), frame(CONTINUATION, 0, 1, &literal("a", "b"))),
        ("unknown", vec![], frame(99, 0, 0, &[])),
        ("rapid reset", vec![], vec![]),
    ];
    for (name, start, one) in floods {
        let mut raw = Raw::open(&world, &[]).await;
        raw.send(&start).await;
        let flood = match one.is_empty() {
            true => (0..20_000).flat_map(|n| reset(2 * n + 1)).collect(),
            false => one.repeat(40_000),
        };
        let (mut reader, mut writer) = raw.0.into_split();
        let write = async {
            let _ = writer.write_all(&flood).await;
        };
        let read = async {
            let mut all = Vec::new();
            // Closed, or reset because there was more to read.
            let _ = reader.read_to_end(&mut all).await;
        };
        soon(async { tokio::join!(write, read) }).await;
        assert_eq!(ask(&mut neighbour, get("blog", "/")).await.2, b"page", "beside {name}");
    }
    let mut raw = Raw::open(&world, &[]).await;
    raw.send(&bomb).await;
    let answered = raw.next_of_any(&[HEADERS, RST_STREAM, GOAWAY]).await.unwrap();
    // `:status: 200` is the table's entry 8 (RFC 7541 appendix A).
    assert!(answered.0 != HEADERS || answered.1[0] != 0x88, "a bomb is no request");
    assert_eq!(ask(&mut neighbour, get("blog", "/")).await.2, b"page", "beside a bomb");
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_one_by_one() {
    const REFUSED_STREAM: u32 = 7;
    let world = World::start_with(|config| config.h2.streams = 3).await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let mut raw = Raw::open(&world, &[]).await;
    let mut block = vec![0x82, 0x86];
    block.extend(literal(":path", "/slow"));
    block.extend(literal(":authority", "app.localhost"));
    // The limit holds once the visitor has acknowledged it.
    raw.next_of(SETTINGS).await.unwrap();
    raw.send(&frame(SETTINGS, 1, 0, &[])).await;
    for stream in [1, 3, 5, 7] {
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)).await;
    }
    assert_eq!(raw.reset().await, Some(REFUSED_STREAM));
    for _ in 0..3 {
        app.arrived().await;
        app.go_on();
    }
    for _ in 0..3 {
        assert!(raw.next_of(HEADERS).await.is_some());
    }
}

#[tokio::test]
async fn who_makes_no_room_loses_the_stream_and_the_connection_goes_on() {
    const CANCEL: u32 = 8;
    let world = World::start_with(|config| config.timeouts.client_stall = Duration::from_millis(200)).await;
    world.site("blog", vec![file("/index.html", noise(1000)), file("/empty.txt", "")], false).await;
    // Room for one byte (SETTINGS_INITIAL_WINDOW_SIZE).
    let mut raw = Raw::open(&world, &[0, 4, 0, 0, 0, 1]).await;
    for stream in [1, 3, 5] {
        // The first comes cold, the others hot.
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &start_page("blog", &[]))).await;
        assert_eq!(raw.next_of(DATA).await.unwrap().2.len(), 1);
        assert_eq!(raw.reset().await, Some(CANCEL));
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_notice() {
    let world = World::start_with(|config| config.timeouts.client_idle = Duration::from_millis(100)).await;
    let mut raw = Raw::open(&world, &[]).await;
    let (_, _, payload) = raw.next_of(GOAWAY).await.unwrap();
    assert_eq!(payload[4..8], [0; 4], "no error");
    while raw.next().await.is_some() {}
}

#[tokio::test]
async fn what_begins_with_neither_http_nor_its_preface_gets_no_answer() {
    let world = World::start().await;
    assert_eq!(soon(world.raw("INVALID CONNECTION PREFACE\r\n\r\n")).await, "");
    assert!(soon(world.raw("GET / HTTP/3.0\r\n\r\n")).await.starts_with("HTTP/1.1 505"));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_its_request_resets_nothing() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let mut raw = Raw::open(&world, &[]).await;
    raw.send(&frame(HEADERS, END_HEADERS, 1, &start_page("blog", &[]))).await;
    assert_eq!(raw.next_of(DATA).await.unwrap().2, b"page");
    raw.send(&frame(DATA, 0, 1, b"late")).await;
    raw.send(&frame(DATA, END_STREAM, 1, b"")).await;
    raw.send(&frame(PING, 0, 0, &[7; 8])).await;
    let (kind, payload) = raw.next_of_any(&[RST_STREAM, GOAWAY, PING]).await.unwrap();
    assert_eq!((kind, &*payload), (PING, &[7; 8][..]));
}

#[tokio::test]
async fn a_window_beyond_all_bounds_resets_its_stream_even_when_nothing_more_is_sent_on_it() {
    const FLOW_CONTROL_ERROR: u32 = 3;
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let mut raw = Raw::open(&world, &[]).await;
    for stream in [1, 3] {
        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &start_page("blog", &[]))).await;
        assert_eq!(raw.next_of(DATA).await.unwrap().2, b"page", "the connection goes on");
        for _ in 0..2 {
            raw.send(&frame(WINDOW_UPDATE, 0, stream, &(u32::MAX >> 1).to_be_bytes())).await;
        }
        assert_eq!(raw.reset().await, Some(FLOW_CONTROL_ERROR));
    }
}

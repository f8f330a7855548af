//! How connections and the edge itself begin and end.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::apps::App;
use crate::testkit::{World, file, soon};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n";

/// Reads until `end` has come.
async fn read_until(socket: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        assert_ne!(soon(socket.read_buf(&mut all)).await.unwrap(), 0, "{}", all.escape_ascii());
    }
    all
}

#[tokio::test]
async fn draining_lets_a_slow_answer_end_and_closes_what_is_idle() {
    let world = World::start().await;
    let app = App::start("slow").await;
    world.app("slow", &[app.addr]).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let mut idle = TcpStream::connect(world.edge.addr()).await.unwrap();
    idle.write_all(REQUEST).await.unwrap();
    read_until(&mut idle, b"page").await;
    let mut silent = TcpStream::connect(world.edge.addr()).await.unwrap();

    let slow = tokio::spawn(world.get("slow", "/slow").send());
    app.arrived().await;
    let (drained, ()) = tokio::join!(soon(world.edge.drain(Duration::from_secs(60))), async {
        assert_eq!(soon(idle.read(&mut [0; 1])).await.unwrap(), 0, "the idle connection is closed");
        assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap_or(0), 0, "so is one that never asked");
        // The listener is closed once its accept loop has ended.
        soon(async { while TcpStream::connect(world.edge.addr()).await.is_ok() {} }).await;
        app.go_on();
        assert_eq!(slow.await.unwrap().unwrap().text().await.unwrap(), "slow");
    });
    let () = drained;
}

#[tokio::test]
async fn draining_cuts_off_what_does_not_end_in_time() {
    let world = World::start().await;
    let app = App::start("slow").await;
    world.app("slow", &[app.addr]).await;
    let slow = tokio::spawn(world.get("slow", "/slow").send());
    app.arrived().await;
    soon(world.edge.drain(Duration::from_millis(50))).await;
    assert!(slow.await.unwrap().is_err());
}

#[tokio::test]
async fn requests_sent_without_waiting_for_answers_are_all_answered_in_order() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page"), file("/a.css", "style")], false).await;
    let request = |path, field| format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\n{field}\r\n");
    let all = [request("/", ""), request("/a.css", ""), request("/", "Connection: close\r\n")].concat();
    let answers = soon(world.raw(&all)).await;
    let bodies: Vec<_> = answers.split("HTTP/1.1 200 OK").map(|a| a.rsplit('\n').next().unwrap()).collect();
    assert_eq!(bodies, ["", "page", "style", "page"]);
}

#[tokio::test]
async fn a_connection_is_used_again_only_when_the_visitor_wants_it() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    for request in [
        "GET / HTTP/1.0\r\nHost: blog.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n",
    ] {
        assert!(soon(world.raw(request)).await.ends_with("page"), "the edge closes after the answer");
    }
    let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    for _ in 0..3 {
        socket.write_all(REQUEST).await.unwrap();
        read_until(&mut socket, b"page").await;
    }
}

#[tokio::test]
async fn an_address_in_use_is_refused_by_its_name() {
    let world = World::start().await;
    let message = edge::listen(world.edge.addr()).unwrap_err().to_string();
    assert!(message.contains(&world.edge.addr().to_string()), "{message}");
}

#[tokio::test]
async fn a_visitor_beyond_the_bound_waits_until_another_leaves() {
    let world = World::start_with(|config| config.max_connections = 1).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let mut first = TcpStream::connect(world.edge.addr()).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    read_until(&mut first, b"page").await;
    let mut second = TcpStream::connect(world.edge.addr()).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    read_until(&mut first, b"page").await;
    assert!(second.try_read(&mut [0; 1]).is_err(), "the second waits");
    drop(first);
    read_until(&mut second, b"page").await;
}

#[tokio::test]
async fn a_visitor_who_drips_a_head_is_cut_off() {
    let world = World::start_with(|config| config.timeouts.client_head = Duration::from_millis(50)).await;
    let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: blog").await.unwrap();
    assert_eq!(soon(socket.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn the_access_log_tells_each_request_without_its_secrets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    // For every test of this process: one of a single thread would be missed where another thread came first.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::start().await;
    let id = world.site("logged", vec![file("/index.html", "page")], false).await;
    world.get("logged", "/?token=hunter2").header("cookie", "hunter2").send().await.unwrap();
    world.get("unlogged", "/missing?hunter2").send().await.unwrap();
    soon(world.edge.drain(Duration::from_secs(5))).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let of_host = |host: &str| {
        let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut access = events.filter(|e| e["target"] == "edge::access" && e["fields"]["host"] == host);
        let fields = access.next().unwrap()["fields"].clone();
        assert!(access.next().is_none(), "one event a request");
        fields
    };
    let found = of_host("logged.localhost");
    for (name, value) in [("project", "logged"), ("method", "GET"), ("path", "/"), ("deployment", id.as_str())] {
        assert_eq!(found[name], value);
    }
    assert_eq!((&found["status"], &found["bytes"]), (&200.into(), &4.into()));
    assert!(found["duration_ms"].is_number());
    let missing = of_host("unlogged.localhost");
    assert_eq!((&missing["path"], &missing["status"]), (&"/missing".into(), &404.into()));
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn http_2_without_tls_is_answered_too() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("http://blog.localhost/").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "page");
}

//! Running apps behind the edge.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use common::id::DeploymentId;
use common::route::{Route, Target};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::testkit::{World, field, noise, route, soon};

/// An app whose slow answers wait until the test lets them go on.
#[derive(Clone)]
pub struct App {
    pub addr: SocketAddr,
    name: &'static str,
    arrived: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl App {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let closed = || Arc::new(Semaphore::new(0));
        let app = Self { addr, name, arrived: closed(), gate: closed() };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/events", get(events))
            .route("/socket", any(socket))
            .route("/upload", post(upload))
            .route("/head", any(head))
            .fallback(|State(app): State<Self>| async move { app.name })
            .with_state(app.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        app
    }

    /// Waits until a request for something slow is here.
    pub async fn arrived(&self) {
        soon(self.arrived.acquire()).await.unwrap().forget();
    }

    /// Lets one slow thing go on.
    pub fn go_on(&self) {
        self.gate.add_permits(1);
    }

    async fn wait(&self) {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
    }
}

async fn slow(State(app): State<App>) -> &'static str {
    app.wait().await;
    app.name
}

async fn events(State(app): State<App>) -> Response {
    let events = futures::stream::unfold((app, 0), |(app, n)| async move {
        if n > 0 {
            app.gate.acquire().await.unwrap().forget();
        }
        (n < 3).then(|| (Ok::<_, Infallible>(Event::default().data(n.to_string())), (app, n + 1)))
    });
    Sse::new(events).into_response()
}

async fn socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket: WebSocket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                socket.send(message).await.unwrap();
            }
        }
    })
}

async fn upload(body: Bytes) -> Bytes {
    body
}

/// Tells the head of the request as the app saw it.
async fn head(request: Request) -> Response {
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    ([("server", "secret-server/1.0"), ("x-app", "yes")], text).into_response()
}

/// An address at which nothing listens.
async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_app_sees_the_visitor_as_the_edge_does() {
    let world = World::start().await;
    let app = App::start("app").await;
    let id = world.app("app", &[app.addr]).await;
    let answer = world
        .request("DELETE", "app", "/head?a=b%20c")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-prefix", "/evil")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("cookie", "a=b")
        .header("te", "trailers")
        .send()
        .await
        .unwrap();
    assert_eq!(field(&answer, "server"), "AstroCloud");
    assert_eq!(field(&answer, "x-app"), "yes");
    assert_eq!(field(&answer, "x-astrocloud-deployment"), id.as_str());
    let seen = answer.text().await.unwrap();
    assert!(seen.starts_with("DELETE /head?a=b%20c\n"), "{seen}");
    for line in [
        "host: app.localhost",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: app.localhost",
        "x-forwarded-proto: http",
        "x-real-ip: 127.0.0.1",
        "cookie: a=b",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line} in {seen}");
    }
    assert!(!seen.contains("6.6.6.6") && !seen.contains("evil"), "{seen}");
    let absolute = "GET http://app.localhost/head?q HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    assert!(world.raw(absolute).await.contains("GET /head?q\n"));
}

#[tokio::test]
async fn bodies_pass_in_both_directions() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let body = noise(1_500_000);
    let known = world.request("POST", "app", "/upload").body(body.clone()).send().await.unwrap();
    assert!(known.bytes().await.unwrap() == body);
    let pieces: Vec<_> = body.chunks(70_000).map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c))).collect();
    let streamed = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let streamed = world.request("POST", "app", "/upload").body(streamed).send().await.unwrap();
    assert!(streamed.bytes().await.unwrap() == body);
}

#[tokio::test]
async fn a_visitor_who_speaks_http_1_0_gets_no_chunks() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    for _ in 0..3 {
        app.go_on();
    }
    let request = "GET /events HTTP/1.0\r\nHost: app.localhost\r\nConnection: keep-alive\r\n\r\n";
    let answer = soon(world.raw(request)).await;
    assert!(answer.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n") && !answer.to_lowercase().contains("chunked"), "{answer}");
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let answer = world.get("app", "/events").header("accept", "text/event-stream").send().await.unwrap();
    let mut events = answer.bytes_stream();
    for n in 0..3 {
        let event = soon(events.next()).await.unwrap().unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
        app.go_on();
    }
    assert!(soon(events.next()).await.is_none());
}

#[tokio::test]
async fn a_websocket_passes_and_outlives_the_usual_silence() {
    let world = World::start_with(|config| {
        config.timeouts.client = Duration::from_millis(100);
        config.timeouts.upstream = Duration::from_millis(100);
    })
    .await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let mut request = format!("ws://{}/socket", world.edge.addr()).into_client_request().unwrap();
    request.headers_mut().insert("host", "app.localhost".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    for text in ["one", "two"] {
        socket.send(tungstenite::Message::text(text)).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), tungstenite::Message::text(text));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let large = tungstenite::Message::binary(noise(300_000));
    socket.send(large.clone()).await.unwrap();
    assert!(soon(socket.next()).await.unwrap().unwrap() == large);
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon(socket.next()).await {}
}

#[tokio::test]
async fn an_app_without_an_instance_says_why() {
    let world = World::start().await;
    let target = Target::App { upstreams: Vec::new(), unavailable: Some("The app is starting.".into()), wakes: false };
    let preview = Route { production: false, ..route("app", &DeploymentId::new(), target) };
    world.tell(vec![preview]).await;
    let answer = world.request("POST", "app", "/").body("x").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "retry-after")), (503, "2"));
    assert_eq!(field(&answer, "x-robots-tag"), "noindex");
    assert_eq!(answer.text().await.unwrap(), "The app is starting.\n");
}

#[tokio::test]
async fn an_address_that_accepts_nothing_is_passed_over() {
    let world = World::start().await;
    let app = App::start("alive").await;
    world.app("app", &[dead().await, app.addr, dead().await]).await;
    for _ in 0..20 {
        let answer = world.request("POST", "app", "/upload").body("once").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "once"));
    }
}

#[tokio::test]
async fn an_app_that_fails_is_told_without_its_inside() {
    let world = World::start_with(|config| config.timeouts.upstream = Duration::from_millis(200)).await;
    let gone = dead().await;
    world.app("gone", &[gone]).await;
    let answer = world.get("gone", "/?secret").header("accept", "text/html").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "retry-after")), (502, "2"));
    let page = answer.text().await.unwrap();
    assert!(!page.contains(&gone.port().to_string()) && !page.contains("127.0.0.1"), "{page}");

    let app = App::start("slow").await;
    world.app("slow", &[app.addr]).await;
    assert_eq!(world.get("slow", "/slow").send().await.unwrap().status(), 504);

    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.app("rude", &[rude.local_addr().unwrap()]).await;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = rude.accept().await {
            tokio::io::AsyncWriteExt::write_all(&mut socket, b"220 mail.example ESMTP\r\n").await.unwrap();
        }
    });
    assert_eq!(world.get("rude", "/").send().await.unwrap().status(), 502);
}

#[tokio::test]
async fn an_app_at_a_single_deployments_address_is_kept_out_of_search_engines() {
    let world = World::start().await;
    let app = App::start("app").await;
    let target = Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    world.tell(vec![Route { production: false, ..route("app-1", &DeploymentId::new(), target) }]).await;
    assert_eq!(field(&world.get("app-1", "/").send().await.unwrap(), "x-robots-tag"), "noindex");
}

#[tokio::test]
async fn a_request_that_has_begun_keeps_its_app_when_the_route_flips() {
    let world = World::start().await;
    let (old, new) = (App::start("old").await, App::start("new").await);
    let old_id = world.app("app", &[old.addr]).await;
    let begun = tokio::spawn(world.get("app", "/slow").send());
    old.arrived().await;
    world.app("app", &[new.addr]).await;
    assert_eq!(world.get("app", "/").send().await.unwrap().text().await.unwrap(), "new");
    old.go_on();
    let answer = begun.await.unwrap().unwrap();
    assert_eq!(field(&answer, "x-astrocloud-deployment"), old_id.as_str());
    assert_eq!(answer.text().await.unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flips_between_apps_under_load_fail_no_request() {
    let world = Arc::new(World::start().await);
    let apps = [App::start("one").await, App::start("two").await];
    world.app("app", &[apps[0].addr]).await;
    let done = tokio_util::sync::CancellationToken::new();
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (world, done) = (Arc::clone(&world), done.clone());
            tokio::spawn(async move {
                while !done.is_cancelled() {
                    let answer = world.request("POST", "app", "/upload").body("body").send().await.unwrap();
                    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "body"));
                }
            })
        })
        .collect();
    for flip in 0..50 {
        let live = &apps[flip % 2];
        world.app("app", &[live.addr]).await;
        assert_eq!(world.get("app", "/").send().await.unwrap().text().await.unwrap(), live.name);
    }
    done.cancel();
    for task in load {
        task.await.unwrap();
    }
}

/// A route of a single deployment's own address.
fn preview(deployment: &DeploymentId, upstreams: &[SocketAddr], wakes: bool) -> Route {
    let unavailable = upstreams.is_empty().then(|| "The app is starting.".to_owned());
    let target = Target::App { upstreams: upstreams.to_vec(), unavailable, wakes };
    Route { production: false, ..route("app-1", deployment, target) }
}

#[tokio::test]
async fn a_visitor_of_an_app_that_sleeps_waits_until_it_runs() {
    let world = World::start().await;
    let id = DeploymentId::new();
    world.tell(vec![preview(&id, &[], true)]).await;
    let visits: Vec<_> =
        (0..3).map(|_| tokio::spawn(world.request("POST", "app-1", "/upload").body("body").send())).collect();
    assert_eq!(world.control_plane.wanted(1).await, std::slice::from_ref(&id), "many visitors are one wish");
    world.app("other", &[]).await;
    let app = App::start("app").await;
    world.tell(vec![preview(&id, &[app.addr], false)]).await;
    for visit in visits {
        let answer = soon(visit).await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "body"));
    }
}

#[tokio::test]
async fn a_visitor_is_told_when_an_app_does_not_start_in_time_or_at_all() {
    let world = World::start_with(|config| config.timeouts.wake = Duration::from_millis(50)).await;
    let id = DeploymentId::new();
    world.tell(vec![preview(&id, &[], true)]).await;
    let late = world.get("app-1", "/").send().await.unwrap();
    assert_eq!((late.status().as_u16(), late.text().await.unwrap().as_str()), (503, "The app is starting.\n"));

    let world = World::start().await;
    world.tell(vec![preview(&id, &[], true)]).await;
    let visit = tokio::spawn(world.get("app-1", "/").send());
    world.control_plane.wanted(1).await;
    world.tell(vec![preview(&id, &[], false)]).await;
    assert_eq!(soon(visit).await.unwrap().unwrap().status(), 503, "it failed to start");
    world.control_plane.wanted(2).await;

    world.tell(vec![preview(&id, &[], true)]).await;
    let visit = tokio::spawn(world.get("app-1", "/").send());
    world.control_plane.wanted(3).await;
    soon(world.edge.drain(Duration::from_secs(60))).await;
    assert_eq!(visit.await.unwrap().unwrap().status(), 503, "the edge ends before the app starts");
}

#[tokio::test]
async fn an_app_that_runs_only_on_request_is_kept_while_it_is_asked_for() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let id = DeploymentId::new();
    world.tell(vec![preview(&id, &[app.addr], false)]).await;
    for host in ["app", "app-1", "app-1"] {
        assert_eq!(world.get(host, "/").send().await.unwrap().status(), 200);
    }
    assert_eq!(world.control_plane.wanted(1).await, [id], "a project's own app runs anyway");
}

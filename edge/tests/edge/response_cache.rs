//! Kept answers of apps.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use common::id::DeploymentId;
use common::policy::{AppPolicy, AppProtocol, CachePolicy, Policy};
use common::route::{Change, FeedMessage, Purge, Purged, Route, Snapshot, Target};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::testkit::{World, field, route, soon};

/// An app that counts its requests, and answers with the fields that `?name=value&…` asks for. The body is the
/// request's number; below `/slow` it waits until the test lets it go on.
#[derive(Clone)]
struct App {
    addr: SocketAddr,
    requests: watch::Sender<usize>,
    gate: Arc<Semaphore>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let app = Self { addr, requests: watch::channel(0).0, gate: Arc::new(Semaphore::new(0)) };
        let router = Router::new().fallback(answer).with_state(app.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        app
    }

    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    /// Waits until so many requests have come.
    async fn reached(&self, count: usize) {
        soon(self.requests.subscribe().wait_for(|all| *all >= count)).await.unwrap();
    }
}

async fn answer(State(app): State<App>, request: Request) -> Response {
    let mut number = 0;
    app.requests.send_modify(|all| {
        *all += 1;
        number = *all;
    });
    let mut response = if request.uri().path().starts_with("/slow") {
        let gate = Arc::clone(&app.gate);
        let pieces = futures::stream::iter(["first ".to_owned(), number.to_string()]).then(move |piece| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Bytes::from(piece))
            }
        });
        Body::from_stream(pieces).into_response()
    } else {
        number.to_string().into_response()
    };
    for (name, value) in url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        if name == "status" {
            *response.status_mut() = value.parse().unwrap();
        } else {
            let name: axum::http::HeaderName = name.parse().unwrap();
            response.headers_mut().append(name, value.parse().unwrap());
        }
    }
    response
}

fn cached(host: &str, deployment: &DeploymentId, upstream: SocketAddr) -> Route {
    let target = Target::App { upstreams: vec![upstream], unavailable: None, wakes: false };
    let cache = CachePolicy { enabled: true, ..CachePolicy::default() };
    Route { policy: Policy { cache, ..Policy::default() }.into(), ..route(host, deployment, target) }
}

/// An edge before an app whose answers are kept.
async fn world() -> (World, App) {
    let (world, app) = (World::start().await, App::start().await);
    world.tell(vec![cached("shop", &DeploymentId::new(), app.addr)]).await;
    (world, app)
}

/// What the app answered, and what the cache says that it did.
async fn get(world: &World, path: &str) -> (String, String) {
    let answer = world.get("shop", path).send().await.unwrap();
    let status = field(&answer, "cache-status").to_owned();
    (answer.text().await.unwrap(), status)
}

const KEPT: &str = "/?cache-control=max-age%3D600";

#[tokio::test]
async fn an_app_is_asked_once_for_what_it_lets_be_kept() {
    let (world, app) = world().await;
    let path = "/page?cache-control=max-age%3D600&date=Sun,%2006%20Nov%202050%2008:49:37%20GMT&cache-tag=a";
    let first = world.get("shop", path).send().await.unwrap();
    assert_eq!(field(&first, "cache-status"), "AstroCloud; fwd=uri-miss; ttl=600; stored");
    assert_eq!(first.text().await.unwrap(), "1");
    let second = world.get("shop", path).send().await.unwrap();
    assert!(field(&second, "cache-status").starts_with("AstroCloud; hit; ttl="), "{second:?}");
    assert!(!field(&second, "age").is_empty() && !field(&second, "x-request-id").is_empty());
    assert_eq!(field(&second, "date"), "Sun, 06 Nov 2050 08:49:37 GMT", "the date is the app's");
    assert_eq!((field(&second, "server"), field(&second, "cache-tag")), ("AstroCloud", ""));
    assert!(field(&second, "x-astrocloud-deployment").starts_with("dpl_"));
    assert_eq!(second.text().await.unwrap(), "1");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn nothing_is_kept_for_those_who_did_not_ask_for_it() {
    let (world, app) = (World::start().await, App::start().await);
    world.app("shop", &[app.addr]).await;
    assert_eq!(get(&world, KEPT).await, ("1".into(), String::new()));
    assert_eq!(get(&world, KEPT).await, ("2".into(), String::new()));
}

#[tokio::test]
async fn what_is_made_for_one_visitor_reaches_no_other() {
    let (world, _app) = world().await;
    for path in [
        "/a?cache-control=max-age%3D600&set-cookie=a%3Db",
        "/b?cache-control=private,%20max-age%3D600",
        "/c?cache-control=no-store",
        "/d",
    ] {
        let (first, second) = (get(&world, path).await.0, get(&world, path).await.0);
        assert_ne!(first, second, "{path}");
    }
    get(&world, KEPT).await;
    let secret = world.get("shop", KEPT).header("authorization", "Bearer x").send().await.unwrap();
    assert_eq!(field(&secret, "cache-status"), "AstroCloud; fwd=bypass");
}

#[tokio::test]
async fn many_visitors_share_one_answer_while_it_arrives() {
    let (world, app) = world().await;
    let path = "/slow?cache-control=max-age%3D600";
    let mut first = soon(world.get("shop", path).send()).await.unwrap_or_else(|e| panic!("{e}"));
    app.gate.add_permits(1);
    assert_eq!(soon(first.chunk()).await.unwrap().unwrap(), "first ");
    let others: Vec<_> = (0..20).map(|_| tokio::spawn(world.get("shop", path).send())).collect();
    let mut begun = Vec::new();
    for other in others {
        let mut answer = soon(other).await.unwrap().unwrap();
        assert_eq!(soon(answer.chunk()).await.unwrap().unwrap(), "first ");
        begun.push(answer);
    }
    app.gate.add_permits(1);
    let rest = join_all(begun.into_iter().map(reqwest::Response::text)).await;
    assert!(rest.iter().all(|text| text.as_ref().unwrap() == "1"));
    assert_eq!(soon(first.text()).await.unwrap(), "1");
    assert_eq!(app.requests(), 1);
    assert_eq!(get(&world, path).await.0, "first 1");
}

#[tokio::test]
async fn a_purge_is_in_effect_when_it_is_applied() {
    let (world, _app) = world().await;
    let path = "/x?cache-control=max-age%3D600&cache-tag=news,sport";
    for (count, what) in [
        Purged::Everything,
        Purged::Host("shop.localhost".into()),
        Purged::Url(format!("shop.localhost{path}")),
        Purged::Tag("sport".into()),
    ]
    .into_iter()
    .enumerate()
    {
        let before = (count + 1).to_string();
        assert_eq!(get(&world, path).await.0, before);
        let others = [Purged::Host("other".into()), Purged::Tag("x".into()), Purged::Url("shop.localhost/y".into())];
        purge(&world, "shop", others.to_vec()).await;
        purge(&world, "another", vec![what.clone()]).await;
        assert_eq!(get(&world, path).await.0, before);
        purge(&world, "shop", vec![what]).await;
    }
    assert_eq!(get(&world, path).await.0, "5");
}

async fn purge(world: &World, project: &str, what: Vec<Purged>) {
    let purges = what.into_iter().map(|what| Purge { project: project.into(), what }).collect();
    let version = world.control_plane.change_all(Change { purges, ..Change::default() });
    world.control_plane.applied(version).await;
}

#[tokio::test]
async fn what_was_purged_while_the_edge_was_away_is_not_used() {
    let (world, app) = world().await;
    let deployment = DeploymentId::new();
    world.tell(vec![cached("shop", &deployment, app.addr)]).await;
    assert_eq!(get(&world, KEPT).await.0, "1");
    // A snapshot of a later version: what changed in between, purges too, was not told.
    let routes = vec![cached("shop", &deployment, app.addr)];
    world.control_plane.say(FeedMessage::Snapshot(Snapshot { version: 9000, routes, ..Snapshot::default() }));
    soon(world.control_plane.applied(9000)).await;
    assert_eq!(get(&world, KEPT).await.0, "2");
}

#[tokio::test]
async fn a_new_deployment_begins_with_nothing() {
    let (world, app) = world().await;
    assert_eq!(get(&world, KEPT).await.0, "1");
    assert_eq!(get(&world, KEPT).await.0, "1");
    world.tell(vec![cached("shop", &DeploymentId::new(), app.addr)]).await;
    assert_eq!(get(&world, KEPT).await.0, "2");
}

#[tokio::test]
async fn a_successful_change_ends_what_is_kept() {
    let (world, _app) = world().await;
    assert_eq!(get(&world, KEPT).await.0, "1");
    let failed = world.request("POST", "shop", &format!("{KEPT}&status=500")).send().await.unwrap();
    assert_eq!(field(&failed, "cache-status"), "AstroCloud; fwd=method");
    let other = world.request("POST", "shop", "/other").body("x").send().await.unwrap();
    assert_eq!(other.status(), 200);
    assert_eq!(get(&world, KEPT).await.0, "1");
    assert_eq!(world.request("POST", "shop", KEPT).body("x").send().await.unwrap().status(), 200);
    assert_eq!(get(&world, KEPT).await.0, "5");
}

#[tokio::test]
async fn a_visitor_who_has_it_and_one_who_wants_a_part_are_answered_from_what_is_kept() {
    let (world, app) = world().await;
    let path = "/?cache-control=max-age%3D600&etag=%22v1%22&x-long=yes";
    get(&world, path).await;
    let unchanged = world.get("shop", path).header("if-none-match", "\"v1\"").send().await.unwrap();
    assert_eq!((unchanged.status().as_u16(), field(&unchanged, "etag")), (304, "\"v1\""));
    let part = world.get("shop", path).header("range", "bytes=0-0").send().await.unwrap();
    assert_eq!((part.status().as_u16(), field(&part, "content-range")), (206, "bytes 0-0/1"));
    let head = world.request("HEAD", "shop", path).send().await.unwrap();
    assert_eq!((head.status().as_u16(), field(&head, "content-length")), (200, "1"));
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_stale_answer_is_used_while_the_app_is_asked_behind() {
    let (world, app) = world().await;
    // It is stale when it comes, because it says that it is old.
    let path = "/?cache-control=max-age%3D10,%20stale-while-revalidate%3D600&age=20";
    assert_eq!(get(&world, path).await.0, "1");
    let (text, status) = get(&world, path).await;
    assert_eq!((text.as_str(), &status[..23]), ("1", "AstroCloud; hit; ttl=-1"), "{status}");
    app.reached(2).await;
}

#[tokio::test]
async fn a_kept_answer_stands_in_for_an_app_that_is_gone() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    world.tell(vec![cached("shop", &DeploymentId::new(), addr)]).await;
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=10, stale-if-error=600\r\nAge: 20\r\n\
                      Content-Length: 3\r\nConnection: close\r\n\r\nold";
        socket.write_all(answer.as_bytes()).await.unwrap();
        // Nobody listens any more.
    });
    assert_eq!(get(&world, "/").await.0, "old");
    let (text, status) = soon(get(&world, "/")).await;
    assert_eq!(text, "old");
    assert!(status.starts_with("AstroCloud; fwd=stale; ttl=-"), "{status}");
    assert_eq!(soon(world.get("shop", "/never-seen").send()).await.unwrap().status(), 502);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_broken_off_for_the_visitor_and_not_kept() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.tell(vec![cached("shop", &DeploymentId::new(), listener.local_addr().unwrap())]).await;
    tokio::spawn(async move {
        for body in ["half", "whole!!!"] {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await.unwrap();
            let head =
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 8\r\nConnection: close\r\n\r\n";
            socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    let broken = soon(world.get("shop", "/").send()).await.unwrap();
    assert!(soon(broken.text()).await.is_err());
    assert_eq!(soon(get(&world, "/")).await.0, "whole!!!");
    assert_eq!(soon(get(&world, "/")).await.0, "whole!!!");
}

#[tokio::test]
async fn early_hints_come_before_an_answer_that_is_to_be_kept() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.tell(vec![cached("shop", &DeploymentId::new(), listener.local_addr().unwrap())]).await;
    let (go_on, wait) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        socket.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n").await.unwrap();
        wait.await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok";
        socket.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut hint = [0; 512];
    let count = soon(socket.read(&mut hint)).await.unwrap();
    let hint = String::from_utf8_lossy(&hint[..count]).to_lowercase();
    assert!(hint.starts_with("http/1.1 103") && hint.contains("link: </a.css>; rel=preload"), "{hint}");
    go_on.send(()).unwrap();
    let mut answer = String::new();
    soon(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok"), "{answer}");
}

#[tokio::test]
async fn streams_of_events_are_left_alone() {
    let (world, _app) = world().await;
    let answer = world.get("shop", KEPT).header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(field(&answer, "cache-status"), "AstroCloud; fwd=bypass");
}

#[tokio::test]
async fn a_kept_answer_is_the_same_over_http_2() {
    let (world, app) = world().await;
    let path = "/page?cache-control=max-age%3D600&date=Sun,%2006%20Nov%202050%2008:49:37%20GMT";
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let url = format!("http://shop.localhost{path}");
        let request = axum::http::Request::builder().uri(url).body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let (head, mut body) = soon(answer).await.unwrap().into_parts();
        assert!(!head.headers.contains_key("x-astrocloud-date"));
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), "1");
    }
    assert_eq!(get(&world, path).await.0, "1", "and the one that HTTP/1 gets");
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn what_has_a_body_goes_to_the_app_though_no_field_says_so() {
    let (world, app) = world().await;
    let socket = TcpStream::connect(world.edge.addr()).await.unwrap();
    let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..2 {
        let request = axum::http::Request::builder().uri(format!("http://shop.localhost{KEPT}")).body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"asked"), true).unwrap();
        assert_eq!(soon(answer).await.unwrap().headers()["cache-status"], "AstroCloud; fwd=bypass");
    }
    assert_eq!(app.requests(), 2);
}

#[tokio::test]
async fn an_app_over_http_2_is_asked_once_too() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut route = cached("shop", &DeploymentId::new(), upstream);
    let app = AppPolicy { protocol: AppProtocol::H2c, ..AppPolicy::default() };
    route.policy = Policy { app, ..(*route.policy).clone() }.into();
    world.tell(vec![route]).await;
    tokio::spawn(async move {
        let mut number = 0;
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                number += 1;
                let head = axum::http::Response::builder().header("cache-control", "max-age=600").body(()).unwrap();
                let mut body = respond.send_response(head, false).unwrap();
                let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
                body.send_data(Bytes::from(format!("{number} {authority}")), true).unwrap();
            }
        }
    });
    for _ in 0..3 {
        let (text, status) = soon(get(&world, "/")).await;
        assert_eq!(text, "1 shop.localhost", "{status}");
    }
}

#[tokio::test]
async fn a_kept_answer_is_compressed_for_those_who_take_it_so() {
    let (world, app) = world().await;
    let path = format!("/?cache-control=max-age%3D600&content-type=text/html&x-pad={}", "x".repeat(10));
    let _ = get(&world, &path).await;
    for encoding in ["gzip", "identity"] {
        let answer = world.get("shop", &path).header("accept-encoding", encoding).send().await.unwrap();
        assert!(field(&answer, "cache-status").contains("hit"), "{encoding}: {answer:?}");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn a_visitor_who_leaves_does_not_end_what_others_will_be_glad_of() {
    let (world, app) = world().await;
    let path = "/slow?cache-control=max-age%3D600";
    app.gate.add_permits(1);
    let mut first = soon(world.get("shop", path).send()).await.unwrap();
    assert_eq!(soon(first.chunk()).await.unwrap().unwrap(), "first ");
    drop(first);
    app.gate.add_permits(1);
    assert_eq!(soon(get(&world, path)).await.0, "first 1");
    assert_eq!(app.requests(), 1);
    assert!(tokio::time::timeout(Duration::ZERO, app.reached(2)).await.is_err());
}

#[tokio::test]
async fn a_hit_is_the_same_for_those_who_say_something_to_caches() {
    let (world, app) = world().await;
    let path = format!(
        "/?cache-control=max-age%3D600&vary=x-kind&etag=%22v1%22&x-request-id=evil&server=evil&content-type=text/html\
         &x-long={}",
        "x".repeat(2000)
    );
    let ask = |method: &str, kind: &'static str, word: bool| {
        let request = world.request(method, "shop", &path).header("x-kind", kind);
        if word { request.header("cache-control", "max-age=600") } else { request }
    };
    ask("GET", "a", false).send().await.unwrap().bytes().await.unwrap();
    for method in ["GET", "HEAD"] {
        let mut seen = Vec::new();
        for word in [false, true] {
            let answer = ask(method, "a", word).send().await.unwrap();
            assert!(field(&answer, "cache-status").contains("; hit"), "{answer:?}");
            let fields = answer.headers().iter().filter(|(name, _)| *name != "x-request-id" && *name != "cache-status");
            let mut fields: Vec<_> = fields.map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
            fields.sort();
            seen.push((answer.status(), fields, answer.bytes().await.unwrap()));
        }
        assert_eq!(seen[0], seen[1], "{method}");
    }
    let other = ask("GET", "b", false).send().await.unwrap();
    assert_eq!(field(&other, "cache-status"), "AstroCloud; fwd=vary-miss; ttl=600; stored");
    assert_eq!(app.requests(), 2);
}

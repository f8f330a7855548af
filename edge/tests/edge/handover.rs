//! A new edge takes over from a running one.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use edge::{Config, Edge, handover};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::rustls;

use crate::apps::App;
use crate::testkit::{World, file, soon};
use crate::tls::{Authority, ask, certify, visit};

const SOCKET: &str = "handover.sock";

async fn successor(config: Config, world: &World) -> (Edge, handover::Ready) {
    let taken = soon(handover::take(&config.folder)).await.unwrap().unwrap();
    (Edge::start(taken.sockets, config, world.store.clone()).unwrap(), taken.ready)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_fails_while_one_edge_after_another_takes_over() {
    let mut world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("blog", &["blog.localhost"]), &["blog.localhost"]).await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let (http, https) = (world.edge.addr(), world.edge.https_addr().unwrap());

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    let traffic = (0..4).map(|_| {
        let (stop, asked, config) = (Arc::clone(&stop), Arc::clone(&asked), Arc::clone(&config));
        tokio::spawn(async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
            while !stop.load(Ordering::Relaxed) {
                let answer =
                    client.get(format!("http://{http}/")).header("host", "blog.localhost").send().await.unwrap();
                assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (200, "page"));
                let mut visitor = visit(https, &config, "blog.localhost").await.unwrap();
                assert!(ask(&mut visitor, "blog.localhost", "/").await.ends_with("page"));
                asked.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let traffic: Vec<_> = traffic.collect();
    let more = async |by: usize| {
        let start = asked.load(Ordering::Relaxed);
        soon(async {
            while asked.load(Ordering::Relaxed) < start + by {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    more(20).await;
    for _ in 0..3 {
        let offer = world.edge.offer().unwrap();
        let (next, ready) = successor(world.config(), &world).await;
        more(10).await;
        ready.tell().await.unwrap();
        soon(offer.taken()).await;
        soon(world.edge.drain(Duration::from_secs(10))).await;
        assert_eq!((next.addr(), next.https_addr()), (http, Some(https)));
        world.edge = next;
        more(20).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in traffic {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_being_answered_ends_at_the_old_edge() {
    let world = World::start().await;
    let app = App::start("slow").await;
    world.app("slow", &[app.addr]).await;
    let slow = tokio::spawn(world.get("slow", "/slow").send());
    app.arrived().await;
    let offer = world.edge.offer().unwrap();
    let (_next, ready) = successor(world.config(), &world).await;
    ready.tell().await.unwrap();
    soon(offer.taken()).await;
    let (answer, ()) = tokio::join!(slow, async {
        let drained = world.edge.drain(Duration::from_secs(60));
        tokio::pin!(drained);
        assert!(futures::poll!(&mut drained).is_pending());
        app.go_on();
        soon(drained).await;
    });
    assert_eq!(answer.unwrap().unwrap().text().await.unwrap(), "slow");
    let next = world.get("slow", "/").send().await.unwrap();
    assert_eq!(next.text().await.unwrap(), "slow");
}

#[tokio::test]
async fn an_http_2_visitor_is_told_to_go_and_finds_the_new_edge() {
    let world = World::start().await;
    let authority = Authority::new();
    certify(&world.control_plane, authority.issue("slow", &["slow.localhost"]), &["slow.localhost"]).await;
    let app = App::start("slow").await;
    world.app("slow", &[app.addr]).await;
    let config = authority.client(&[&TLS13], &["h2"]);
    let https = world.edge.https_addr().unwrap();
    let visitor = visit(https, &config, "slow.localhost").await.unwrap();
    let (mut sender, connection) = h2::client::handshake(visitor).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path| http::Request::get(format!("https://slow.localhost{path}")).body(()).unwrap();
    let (answer, _) = sender.send_request(request("/slow"), true).unwrap();
    app.arrived().await;

    let offer = world.edge.offer().unwrap();
    let (_next, ready) = successor(world.config(), &world).await;
    ready.tell().await.unwrap();
    soon(offer.taken()).await;
    let ((), answer) = tokio::join!(soon(world.edge.drain(Duration::from_secs(60))), async {
        app.go_on();
        soon(answer).await.unwrap()
    });
    assert_eq!(answer.status(), 200);
    // It ends with a goodbye, not a reset.
    soon(connection).await.unwrap().unwrap();
    let visitor = visit(https, &config, "slow.localhost").await.unwrap();
    let (mut sender, connection) = h2::client::handshake(visitor).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(soon(sender.send_request(request("/"), true).unwrap().0).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_successor_that_ends_before_it_serves_changes_nothing() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page")], false).await;
    let offer = world.edge.offer().unwrap();
    drop(soon(handover::take(&world.config().folder)).await.unwrap().unwrap());
    assert!(futures::poll!(std::pin::pin!(offer.taken())).is_pending());
    assert_eq!(world.get("blog", "/").send().await.unwrap().status(), 200);
    let (_next, ready) = successor(world.config(), &world).await;
    ready.tell().await.unwrap();
    soon(offer.taken()).await;
}

#[tokio::test]
async fn only_the_owner_may_take_over_and_without_a_running_edge_there_is_nothing_to_take() {
    let world = World::start().await;
    let folder = world.config().folder;
    assert!(handover::take(&folder).await.unwrap().is_none());
    let offer = world.edge.offer().unwrap();
    let mode = std::fs::metadata(folder.join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(offer);
    assert!(!folder.join(SOCKET).exists());

    // What is left of an edge that was killed.
    drop(std::os::unix::net::UnixListener::bind(folder.join(SOCKET)).unwrap());
    assert!(handover::take(&folder).await.unwrap().is_none());
    let _offer = world.edge.offer().unwrap();
    assert!(soon(handover::take(&folder)).await.unwrap().is_some());

    world.edge.drain(Duration::from_secs(10)).await;
    assert!(handover::take(&folder).await.unwrap().is_none());
    assert!(TcpStream::connect(world.edge.addr()).await.is_err(), "the offer does not keep the port open");
    assert!(world.edge.offer().is_err());
}

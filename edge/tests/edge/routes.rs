//! Which site a request reaches, and how the edge follows the control plane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::id::DeploymentId;
use common::route::{Change, FeedMessage, Snapshot, Target};

use crate::testkit::{ControlPlane, World, field, file, route, soon, start_edge};

fn static_target() -> Target {
    Target::Static { earlier: Vec::new() }
}

#[tokio::test]
async fn a_host_without_a_site_is_told_so() {
    let world = World::start().await;
    let text = world.get("nobody", "/").send().await.unwrap();
    assert_eq!((text.status().as_u16(), field(&text, "content-type")), (404, "text/plain; charset=utf-8"));
    assert_eq!(text.text().await.unwrap(), "There is no site at this address.\n");
    let page = world.get("nobody", "/").header("accept", "text/html").send().await.unwrap();
    assert_eq!(field(&page, "content-type"), "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("There is no site at this address."));
}

#[tokio::test]
async fn hosts_are_found_however_they_are_spelled() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "here")], false).await;
    for (target, fields, status) in [
        ("/", "Host: BLOG.localhost:1234\r\n", "200"),
        ("/", "Host: blog.localhost.\r\n", "200"),
        ("http://blog.localhost/", "Host: blog.localhost\r\n", "200"),
        ("/", "", "400"),
        ("/", "Host:\r\n", "400"),
        ("/", "Host: blog.localhost\r\nHost: other.localhost\r\n", "400"),
        ("/", "Host: a b\r\n", "400"),
        ("http://other.localhost/", "Host: blog.localhost\r\n", "400"),
        ("/", "Host: blog.localhost.evil.example\r\n", "404"),
    ] {
        let answer = world.raw(&format!("GET {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {fields}: {answer}");
    }
}

#[tokio::test]
async fn changes_are_applied_in_order_and_acknowledged_after_they_are_visible() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    for host in ["a", "b", "c"] {
        let version = world.control_plane.publish(vec![route(host, &id, static_target())]);
        world.control_plane.applied(version).await;
        assert_eq!(world.get(host, "/").send().await.unwrap().status(), 200);
    }
    let version = world.control_plane.change(Vec::new(), vec!["b.localhost".into()]);
    world.control_plane.applied(version).await;
    assert_eq!(world.get("b", "/").send().await.unwrap().status(), 404);
    assert_eq!(world.control_plane.all_applied(), [100, 101, 102, 103, 104]);
}

#[tokio::test]
async fn a_gap_makes_the_edge_ask_for_everything_again() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    let upsert = vec![route("wrong", &id, static_target())];
    world.control_plane.say(FeedMessage::Delta { version: 300, change: Change { upsert, ..Change::default() } });
    soon(world.control_plane.connections(2)).await;
    world.tell(vec![route("right", &id, static_target())]).await;
    assert_eq!(world.get("right", "/").send().await.unwrap().status(), 200);
    assert_eq!(world.get("wrong", "/").send().await.unwrap().status(), 404);
    assert!(!world.control_plane.all_applied().contains(&300));
}

#[tokio::test]
async fn a_control_plane_that_comes_back_is_followed_again() {
    let world = World::start().await;
    let id = world.site("a", vec![file("/index.html", "x")], false).await;
    world.control_plane.stop();
    let routes = Snapshot { version: 500, routes: vec![route("b", &id, static_target())], ..Snapshot::default() };
    // The old server lets go of its port in its own time.
    let back = soon(async {
        loop {
            if tokio::net::TcpListener::bind(world.control_plane.addr).await.is_ok() {
                break ControlPlane::start_at(world.control_plane.addr, routes).await;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    soon(back.applied(500)).await;
    assert_eq!(world.get("a", "/").send().await.unwrap().status(), 404);
    assert_eq!(world.get("b", "/").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_last_good_routes_are_served_without_a_control_plane() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "still here")], false).await;
    world.control_plane.stop();
    world.edge.drain(std::time::Duration::from_secs(5)).await;
    let again = start_edge(world.config(), &world.store);
    let answer =
        world.client.get(format!("http://{}/", again.addr())).header("host", "blog.localhost").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "still here");
}

#[tokio::test]
async fn an_edge_that_knows_nothing_yet_says_that_it_is_starting() {
    let world = World::start().await;
    world.edge.drain(std::time::Duration::from_secs(5)).await;
    world.control_plane.stop();
    let folder = world.config().folder;
    std::fs::write(folder.join("routes.jsonl"), "{\"version\":").unwrap();
    let edge = start_edge(world.config(), &world.store);
    let answer =
        world.client.get(format!("http://{}/", edge.addr())).header("host", "a.localhost").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "retry-after")), (503, "2"));
    assert!(folder.join("routes.jsonl.damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_flips_under_load_fail_no_request_and_mix_no_deployments() {
    let world = Arc::new(World::start().await);
    let mut deployments: Vec<DeploymentId> = Vec::new();
    for name in ["one", "two"] {
        let files = vec![file("/index.html", name), file("/a.css", format!("{name} css"))];
        deployments.push(world.publish(files, false).await);
    }
    let expected = [("one", deployments[0].clone()), ("two", deployments[1].clone())];
    world.tell(vec![route("blog", &deployments[0], static_target())]).await;
    let (done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (world, done, requests, expected) =
                (Arc::clone(&world), Arc::clone(&done), Arc::clone(&requests), expected.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let answer = world.get("blog", "/").send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let deployment = field(&answer, "x-astrocloud-deployment").to_owned();
                    let body = answer.text().await.unwrap();
                    assert!(
                        expected.iter().any(|(b, d)| *b == body && d.as_str() == deployment),
                        "{body} {deployment}"
                    );
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for flip in 0..100 {
        let live = flip % 2;
        world.tell(vec![route("blog", &deployments[live], static_target())]).await;
        // Whoever asks after the edge said that it applied the flip sees it.
        assert_eq!(world.get("blog", "/").send().await.unwrap().text().await.unwrap(), expected[live].0);
    }
    done.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    assert!(requests.load(Ordering::Relaxed) > 100);
}

//! Large files, which the system sends by itself where it can: visitors get the same bytes either way.

use std::time::Duration;

use common::policy::Policy;
use common::route::{Route, Target};
use rustls::version::TLS13;
use tokio_rustls::rustls;

use crate::testkit::{Line, World, file, noise, route};
use crate::tls::{Authority, certify, visit};

/// More than is kept in memory, and than one step of any way sends.
const SIZE: usize = 3_000_001;
/// More than the sockets of both ends hold.
const HUGE: usize = 24 << 20;

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\n{fields}\r\n")
}

/// Reads an answer whose length is told.
async fn body(line: &mut Line, status: u16) -> Vec<u8> {
    let head = line.head().await;
    assert_eq!(head.status(), status, "{}", head.text());
    line.exactly(head.field("content-length").parse().unwrap()).await
}

/// Asks for the same things in one go, and compares the answers.
async fn compare(mut line: Line, all: &[u8]) {
    let asked = [
        get("/large.bin", ""),
        get("/large.bin", "Range: bytes=100-2000099\r\n"),
        get("/", ""),
        get("/large.bin", "Range: bytes=-1\r\n"),
        get("/large.bin", "Connection: close\r\n"),
    ];
    line.say(&asked.concat()).await;
    assert!(body(&mut line, 200).await == all);
    assert!(body(&mut line, 206).await == all[100..2_000_100]);
    assert_eq!(body(&mut line, 200).await, b"home");
    assert_eq!(body(&mut line, 206).await, all[SIZE - 1..]);
    assert!(body(&mut line, 200).await == all);
    assert_eq!(line.rest().await, "");
}

#[tokio::test]
async fn large_files_and_their_parts_are_the_same_in_plain_and_over_tls() {
    let (world, authority) = (World::start().await, Authority::new());
    let all = noise(SIZE);
    world.site("blog", vec![file("/index.html", "home"), file("/large.bin", all.clone())], false).await;
    certify(&world.control_plane, authority.issue("blog", &["blog.localhost"]), &["blog.localhost"]).await;
    compare(Line::visit(&world).await, &all).await;
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    let secure = visit(world.edge.https_addr().unwrap(), &config, "blog.localhost").await.unwrap();
    compare(Line::new(secure), &all).await;
    let mut old = Line::ask(&world, "GET /large.bin HTTP/1.0\r\nHost: blog.localhost\r\n\r\n").await;
    old.head().await;
    assert!(old.rest_bytes().await == all);
}

#[tokio::test]
async fn a_large_file_with_a_bandwidth_arrives_whole() {
    let world = World::start().await;
    let id = world.publish(vec![file("/large.bin", noise(SIZE))], false).await;
    let policy: Policy = serde_json::from_str(r#"{"limits": {"project": {"bytes_per_s": 20000000}}}"#).unwrap();
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: policy.into(), ..route("blog", &id, target) }]).await;
    let answer = world.get("blog", "/large.bin").send().await.unwrap();
    assert!(answer.bytes().await.unwrap() == noise(SIZE));
}

#[tokio::test]
async fn a_visitor_who_stops_to_take_a_file_is_cut_off_and_what_was_sent_is_counted() {
    let world = World::start_with(|config| config.timeouts.client_stall = Duration::from_millis(100)).await;
    world.site("blog", vec![file("/huge.bin", vec![b'x'; HUGE])], false).await;
    let mut line = Line::ask(&world, &get("/huge.bin", "")).await;
    // The request is told of when it has ended, so this waits until the edge has given up.
    let usage = world.control_plane.usage("blog", 1).await;
    let told = usize::try_from(usage.bytes_out).unwrap();
    assert_eq!(line.head().await.field("content-length"), HUGE.to_string());
    let got = line.rest_bytes().await.len();
    assert!(got > 0 && got <= told && told < HUGE, "{got} bytes came, {told} were told");
}

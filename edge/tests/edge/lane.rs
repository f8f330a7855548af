//! Hot files, answered the quick way: nobody notices but by the time it takes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::manifest::Encoding;
use common::policy::{Hsts, HttpsPolicy, Policy};
use common::route::{Route, Target};
use edge::{AccessLog, Config, LogTo};
use http::HeaderMap;
use rustls::version::TLS13;
use serde_json::Value;
use tokio_rustls::rustls;

use crate::testkit::{Line, Published, World, field, file, noise, route, soon};
use crate::tls::{Authority, ask, certify, visit};

/// The counter of answers that were ready.
const HITS: &str = "astrocloud_edge_cache_requests_total{result=\"hit\"} ";
/// How often each thing is asked for: the first answers are made, the later ones are ready.
const TIMES: usize = 4;

/// What is asked for by `request`, with these paths in place of `PATH`.
async fn answer(world: &World, request: &str, path: &str) -> String {
    soon(world.raw(&request.replace("PATH", path))).await
}

/// An answer without what differs from one moment, and one request, to the next.
fn lasting(answer: &str) -> String {
    let is_lasting = |line: &&str| !line.starts_with("Date: ") && !line.starts_with("x-request-id: ");
    answer.split_inclusive("\r\n").filter(is_lasting).collect()
}

/// How often an answer was ready: of answers out of sites, only those count as hits.
async fn ready(world: &World) -> u64 {
    let url = format!("http://{}/metrics", world.edge.admin_addr().unwrap());
    let text = world.client.get(url).send().await.unwrap().text().await.unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix(HITS)).unwrap();
    count.parse().unwrap()
}

/// The same as [`answer`], and whether it was ready.
async fn judged(world: &World, request: &str, path: &str) -> (String, bool) {
    let before = ready(world).await;
    let answer = answer(world, request, path).await;
    (answer, ready(world).await > before)
}

async fn start(change: impl FnOnce(&mut Config)) -> World {
    World::start_with(|config| {
        config.admin = Some("127.0.0.1:0".parse().unwrap());
        change(config);
    })
    .await
}

async fn world() -> World {
    let world = start(|_| {}).await;
    let variants = vec![(Encoding::Br, b"brotli".to_vec()), (Encoding::Gzip, b"gzip".to_vec())];
    let text = Published { path: "/a.css", bytes: noise_text(), variants };
    // The last is one that the system sends by itself.
    let plain = [("/b.bin", noise(9000)), ("/404.html", b"nothing".to_vec()), ("/c.bin", noise(700_000))];
    let files = [file("/index.html", "home"), text].into_iter().chain(plain.map(|(path, bytes)| file(path, bytes)));
    world.site("blog", files.collect(), false).await;
    world
}

fn noise_text() -> Vec<u8> {
    noise(3000).into_iter().map(|byte| b'a' + byte % 26).collect()
}

#[tokio::test]
async fn an_answer_is_the_same_whichever_way_it_takes() {
    let world = world().await;
    let tag = {
        let head = world.get("blog", "/a.css").send().await.unwrap();
        head.headers()["etag"].to_str().unwrap().to_owned()
    };
    for first in ["GET PATH HTTP/1.1", "HEAD PATH HTTP/1.1", "GET PATH HTTP/1.0", "HEAD PATH HTTP/1.0"] {
        for fields in [
            String::new(),
            "Accept-Encoding: br\r\n".to_owned(),
            "Accept-Encoding: gzip\r\n".to_owned(),
            "Accept-Encoding: gzip;q=0, identity\r\n".to_owned(),
            "Accept-Encoding: zstd, br;q=0.5, gzip;q=0.9\r\n".to_owned(),
            format!("If-None-Match: {tag}\r\n"),
            "If-None-Match: *\r\n".to_owned(),
            "If-None-Match: \"another\"\r\n".to_owned(),
        ] {
            let request = format!("{first}\r\nHost: blog.localhost\r\n{fields}Connection: close\r\n\r\n");
            for path in ["/", "/a.css", "/b.bin", "/c.bin"] {
                // The first time nothing is ready; a query is never looked for among what is.
                answer(&world, &request, path).await;
                let (quick, was_ready) = judged(&world, &request, path).await;
                assert!(was_ready, "{request} {path}: {quick}");
                let (ordinary, was_ready) = judged(&world, &request, &format!("{path}?x")).await;
                assert!(!was_ready, "{request} {path}: {ordinary}");
                assert_eq!(lasting(&quick), lasting(&ordinary), "{request} {path}");
            }
        }
    }
}

#[tokio::test]
async fn many_requests_at_once_get_the_same_answers_as_one_by_one() {
    let world = world().await;
    let request = |path: &str, last: &str| format!("GET {path} HTTP/1.1\r\nHost: blog.localhost\r\n{last}\r\n");
    let (mut together, mut single) = (String::new(), String::new());
    for path in ["/", "/a.css", "/c.bin", "/b.bin", "/c.bin", "/c.bin", "/c.bin", "/c.bin", "/", "/missing"] {
        together += &request(path, "");
        let alone = request(path, "Connection: close\r\n");
        world.raw(&alone).await;
        single += &world.raw(&alone).await.replace("Connection: close\r\n", "");
    }
    together += &request("/", "Connection: close\r\n");
    single += &world.raw(&request("/", "Connection: close\r\n")).await.replace("Connection: close\r\n", "");
    let got = soon(world.raw(&together)).await;
    let got = got.replace("Connection: close\r\n", "").replace("Connection: keep-alive\r\n", "");
    assert_eq!(lasting(&got), lasting(&single));
}

#[tokio::test]
async fn a_new_deployment_is_seen_by_the_next_request_on_the_same_connection() {
    let world = World::start().await;
    world.site("blog", vec![file("/index.html", "page 0")], false).await;
    let mut line = Line::visit(&world).await;
    for number in 0..5 {
        if number > 0 {
            world.site("blog", vec![file("/index.html", format!("page {number}"))], false).await;
        }
        for _ in 0..3 {
            line.say("GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await;
            assert_eq!(line.head().await.status(), 200);
            assert_eq!(line.exactly(6).await, format!("page {number}").as_bytes());
        }
    }
    let version = world.control_plane.change(Vec::new(), vec!["blog.localhost".to_owned()]);
    world.control_plane.applied(version).await;
    line.say("GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await;
    assert_eq!(line.head().await.status(), 404);
}

#[tokio::test]
async fn a_site_whose_requests_are_judged_is_never_answered_the_quick_way() {
    let world = start(|_| {}).await;
    let id = world.publish(vec![file("/index.html", "home")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    let request = "GET PATH HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n";
    let hash = common::password::hash("s3cret").unwrap();
    let protection =
        format!(r#"{{"protection": [{{"path": "/", "on": "all", "users": [{{"user": "team", "hash": {hash:?}}}]}}]}}"#);
    for (policy, status) in [
        (protection.as_str(), 401),
        (r#"{"rules": [{"name": "all", "if": {"paths": ["/*"]}, "then": {"deny": {"status": 410}}}]}"#, 410),
        (r#"{"access": {"deny": ["127.0.0.0/8"]}}"#, 403),
        // There is no certificate, so nobody is redirected; but that is looked at.
        (r#"{"https": {"redirect": true}}"#, 200),
    ] {
        let open = route("blog", &id, target.clone());
        world.tell(vec![open.clone()]).await;
        for _ in 0..3 {
            assert!(answer(&world, request, "/").await.starts_with("HTTP/1.1 200 "), "before {policy}");
        }
        assert!(judged(&world, request, "/").await.1, "it is hot");
        let policy_read: Policy = serde_json::from_str(policy).unwrap();
        world.tell(vec![Route { policy: Arc::new(policy_read), ..open }]).await;
        for _ in 0..3 {
            let (answer, was_ready) = judged(&world, request, "/").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{policy}: {answer}");
            assert!(!was_ready, "{policy}: {answer}");
        }
    }
}

#[tokio::test]
async fn who_is_let_pass_by_a_rule_makes_nothing_ready_for_who_is_not() {
    let world = start(|_| {}).await;
    let id = world.publish(vec![file("/index.html", "home")], false).await;
    let json = r#"{"rules": [{"name": "bots", "if": {"headers": [{"name": "x-bot", "value": "yes"}]},
        "then": {"deny": {"status": 410}}}]}"#;
    let policy: Policy = serde_json::from_str(json).unwrap();
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: Arc::new(policy), ..route("blog", &id, target) }]).await;
    let request = "GET PATH HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n";
    for _ in 0..3 {
        let (passed, was_ready) = judged(&world, &format!("{request}\r\n"), "/").await;
        assert!(passed.starts_with("HTTP/1.1 200 ") && !was_ready, "{passed}");
        let denied = answer(&world, &format!("{request}X-Bot: yes\r\n\r\n"), "/").await;
        assert!(denied.starts_with("HTTP/1.1 410 "), "{denied}");
    }
}

#[tokio::test]
async fn hsts_is_said_over_tls_alone_also_for_hot_files() {
    let (world, authority) = (World::start().await, Authority::new());
    let hsts = Hsts { max_age_s: 600, include_subdomains: false, preload: false };
    let policy = Policy { https: HttpsPolicy { redirect: false, hsts: Some(hsts) }, ..Policy::default() };
    let id = world.publish(vec![file("/index.html", "home")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: policy.into(), ..route("blog", &id, target) }]).await;
    certify(&world.control_plane, authority.issue("blog", &["blog.localhost"]), &["blog.localhost"]).await;
    let config = authority.client(&[&TLS13], &["http/1.1"]);
    for _ in 0..TIMES {
        let mut visitor = visit(world.edge.https_addr().unwrap(), &config, "blog.localhost").await.unwrap();
        let answer = ask(&mut visitor, "blog.localhost", "/").await;
        assert!(answer.ends_with("home"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nstrict-transport-security: max-age=600\r\n"), "{answer}");
        let answer = world.get("blog", "/").send().await.unwrap();
        assert_eq!(field(&answer, "strict-transport-security"), "");
        let tag = field(&answer, "etag").to_owned();
        let answer = world.get("blog", "/").header("if-none-match", tag).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "strict-transport-security")), (304, ""));
    }
}

#[tokio::test]
async fn every_request_for_a_hot_file_has_an_id_of_its_own_and_keeps_its_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let to = LogTo::File(path.clone());
    let world = start(|config| config.access_log = Some(AccessLog { to, sample: 1.0 })).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let mut told = BTreeSet::new();
    let mut note = |headers: &HeaderMap| told.insert(headers["x-request-id"].to_str().unwrap().to_owned());
    let mut over_h2 = crate::h2::visit(&world).await;
    for _ in 0..TIMES {
        let asked = world.get("blog", "/").header("traceparent", &parent);
        let answer = asked.header("x-request-id", "chosen-by-a-stranger").send().await.unwrap();
        note(answer.headers());
        let tag = field(&answer, "etag").to_owned();
        assert_eq!(answer.text().await.unwrap(), "home");
        let answer = world.get("blog", "/").header("if-none-match", tag).send().await.unwrap();
        assert_eq!(answer.status(), 304);
        note(answer.headers());
        let request = crate::h2::get("blog", "/").header("traceparent", &parent).header("x-request-id", "chosen");
        note(&crate::h2::ask(&mut over_h2, request).await.1);
    }
    assert_eq!(told.len(), 3 * TIMES, "{told:?}");
    assert!(told.iter().all(|id| id.len() == 26), "{told:?}");
    assert!(ready(&world).await >= 2 * u64::try_from(TIMES).unwrap(), "they were ready");
    // The log is whole once the edge has ended.
    world.edge.drain(Duration::from_secs(5)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logged: BTreeSet<String> = lines.iter().map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(logged, told);
    assert!(lines.iter().filter(|line| line["status"] == 200).all(|line| line["trace_id"] == TRACE), "{text}");
}

#[tokio::test]
async fn what_a_trusted_proxy_says_of_its_visitor_holds_for_hot_files() {
    let world = start(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let mut over_h2 = crate::h2::visit(&world).await;
    for number in 0..TIMES {
        let id = format!("of-the-proxy-{number}");
        let answer = soon(world.get("blog", "/").header("x-request-id", &id).send()).await.unwrap();
        assert_eq!(field(&answer, "x-request-id"), id);
        assert_eq!(answer.text().await.unwrap(), "home");
        let request = crate::h2::get("blog", "/").header("x-request-id", &id);
        assert_eq!(crate::h2::ask(&mut over_h2, request).await.1["x-request-id"], id);
    }
    assert_eq!(ready(&world).await, 0);
}

#[tokio::test]
async fn an_overloaded_edge_refuses_new_visitors_of_hot_files_too() {
    const MOST: usize = 100;
    let world = start(|config| config.max_connections = MOST).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let request = "GET PATH HTTP/1.1\r\nHost: blog.localhost\r\nConnection: close\r\n\r\n";
    for _ in 0..TIMES {
        assert!(answer(&world, request, "/").await.starts_with("HTTP/1.1 200 "));
    }
    let mut idle = Vec::new();
    for _ in 0..MOST - 3 {
        idle.push(Line::visit(&world).await);
    }
    // It is overloaded once that has lasted for a while.
    soon(async { while !answer(&world, request, "/").await.starts_with("HTTP/1.1 503 ") {} }).await;
}

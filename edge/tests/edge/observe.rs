//! What an operator and the control plane are told of requests.

use std::path::Path;
use std::time::Duration;

use edge::{AccessLog, LogTo, Otlp};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::apps::App;
use crate::testkit::{World, field, file, soon};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of the access log once it has so many, without those of refused bytes.
async fn logged(path: &Path, count: usize) -> Vec<Value> {
    soon(async {
        loop {
            let lines = lines(path);
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn world() -> (World, App, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap().keep();
    let path = folder.join("access.log");
    let to = LogTo::File(path.clone());
    let world = World::start_with(|config| {
        config.access_log = Some(AccessLog { to, sample: 1.0 });
        config.admin = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    (world, app, path)
}

#[tokio::test]
async fn every_request_is_in_the_access_log_with_its_id_and_without_its_query() {
    let (world, app, path) = world().await;
    let answer = world.get("app", "/head?secret=1").header("user-agent", "test \"1\"").send().await.unwrap();
    let id = field(&answer, "x-request-id").to_owned();
    answer.bytes().await.unwrap();
    for _ in 0..2 {
        // The second one is answered out of memory.
        world.get("blog", "/?secret=2").send().await.unwrap().bytes().await.unwrap();
        world.get("blog", "/").header("user-agent", "quick").send().await.unwrap().bytes().await.unwrap();
    }
    world.get("nobody", "/x").send().await.unwrap().bytes().await.unwrap();
    soon(world.raw("GET / HTTP/1.1\nHost: blog.localhost\n\n")).await;
    let all = logged(&path, 7).await;
    let of = |host: &str| all.iter().filter(|line| line["host"] == format!("{host}.localhost")).collect::<Vec<_>>();
    let first = of("app")[0];
    assert_eq!((first["request_id"].as_str(), first["user_agent"].as_str()), (Some(&*id), Some("test \"1\"")));
    assert_eq!((first["method"].as_str(), first["path"].as_str()), (Some("GET"), Some("/head")));
    assert_eq!((first["project"].as_str(), first["status"].as_u64()), (Some("app"), Some(200)));
    assert_eq!(first["upstream"].as_str(), Some(&*app.addr.to_string()));
    assert_eq!((first["client"].as_str(), first["scheme"].as_str()), (Some("127.0.0.1"), Some("http")));
    assert!(first["bytes_out"].as_u64() > Some(0) && first["first_byte_ms"].is_f64());
    assert_eq!(first["trace_id"].as_str().map(str::len), Some(32));
    assert_eq!(of("blog").len(), 4);
    assert!(of("blog").iter().all(|line| line["bytes_out"] == 4 && line["status"] == 200), "{all:?}");
    assert!(of("blog").iter().any(|line| line["cache"] == "hit" && line["user_agent"] == "quick"), "{all:?}");
    assert_eq!(of("nobody")[0]["status"], 404);
    assert!(all.iter().any(|line| line["status"] == 400 && line["refused"] == "malformed"), "{all:?}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("secret"));
}

#[tokio::test]
async fn what_was_refused_says_why_and_by_which_rule() {
    let (world, app, path) = world().await;
    let json = r#"{"rules": [{"name": "watch", "then": "log"},
        {"name": "no-admin", "if": {"paths": ["/admin"]}, "then": {"deny": {}}}]}"#;
    let policy: common::policy::Policy = serde_json::from_str(json).unwrap();
    let target = common::route::Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    let id = common::id::DeploymentId::new();
    let route = common::route::Route { policy: policy.into(), ..crate::testkit::route("app", &id, target) };
    world.tell(vec![route]).await;
    for path in ["/admin", "/"] {
        world.get("app", path).send().await.unwrap().bytes().await.unwrap();
    }
    let all = logged(&path, 2).await;
    let line = |path: &str| all.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(
        (&line("/admin")["refused"], &line("/admin")["rules"]),
        (&"rule".into(), &vec!["watch", "no-admin"].into())
    );
    assert_eq!((&line("/")["rules"], &line("/")["status"]), (&vec!["watch"].into(), &200.into()));
}

#[tokio::test]
async fn the_control_plane_is_told_what_projects_were_served_also_at_the_end() {
    let (world, _app, _) = world().await;
    for _ in 0..3 {
        world.get("app", "/").send().await.unwrap().bytes().await.unwrap();
        world.get("blog", "/").send().await.unwrap().bytes().await.unwrap();
    }
    world.request("POST", "app", "/upload").body("12345").send().await.unwrap().bytes().await.unwrap();
    world.get("blog", "/missing").send().await.unwrap().bytes().await.unwrap();
    world.edge.drain(Duration::from_secs(5)).await;
    let app = world.control_plane.usage("app", 4).await;
    assert_eq!((app.requests, app.bytes_in, app.bytes_out, app.statuses), (4, 5, 3 * 3 + 5, [0, 4, 0, 0, 0]));
    let blog = world.control_plane.usage("blog", 4).await;
    assert_eq!((blog.requests, blog.statuses), (4, [0, 3, 0, 1, 0]));
    assert_eq!(blog.latencies.iter().sum::<u64>(), 4);
}

#[tokio::test]
async fn the_operator_sees_metrics_health_and_readiness() {
    let (world, _app, _) = world().await;
    let admin = format!("http://{}", world.edge.admin_addr().unwrap());
    let get = async |path: &str| {
        let answer = world.client.get(format!("{admin}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    world.get("app", "/").send().await.unwrap().bytes().await.unwrap();
    assert_eq!(get("/healthz").await, (200, "alive\n".into()));
    assert_eq!(get("/readyz").await, (200, "ready\n".into()));
    let text = soon(async {
        loop {
            let (status, text) = get("/metrics").await;
            assert_eq!(status, 200);
            if text.contains("astrocloud_edge_requests_total{protocol=\"1.1\",status=\"2xx\"} 1\n") {
                return text;
            }
        }
    })
    .await;
    for part in [
        "# TYPE astrocloud_edge_request_duration_seconds histogram\n",
        "astrocloud_edge_connections{kind=\"http\"} 1\n",
        "astrocloud_edge_feed_connected 1.0\n",
        "astrocloud_edge_routes 2.0\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert_eq!(get("/elsewhere").await.0, 404);
    assert_eq!(world.client.post(format!("{admin}/metrics")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn an_edge_is_not_ready_before_it_knows_routes_or_once_it_drains_and_says_so() {
    let (world, app, _) = world().await;
    let admin = world.edge.admin_addr().unwrap();
    let ready = async |admin: std::net::SocketAddr| {
        let answer = reqwest::get(format!("http://{admin}/readyz")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let slow = tokio::spawn(world.get("app", "/slow").send());
    app.arrived().await;
    tokio::join!(world.edge.drain(Duration::from_secs(10)), async {
        soon(async { while ready(admin).await.0 == 200 {} }).await;
        assert_eq!(ready(admin).await, (503, "not ready: the edge drains\n".into()));
        app.go_on();
    });
    slow.await.unwrap().unwrap();

    let mut config = world.config();
    config.folder = tempfile::tempdir().unwrap().keep();
    config.key_file = config.folder.join("edge.key");
    config.feed = "http://127.0.0.1:1".parse().unwrap();
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let alone = crate::testkit::start_edge(config, &world.store);
    assert_eq!(ready(alone.admin_addr().unwrap()).await, (503, "not ready: no routes are known yet\n".into()));
}

#[tokio::test]
async fn a_collector_gets_the_span_that_the_app_was_told_as_its_parent() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let take = move |body: axum::body::Bytes| {
        let tell = tell.clone();
        async move { tell.send(body).unwrap() }
    };
    let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let world = World::start_with(|config| {
        config.otlp = Some(Otlp { endpoint, sample: 1.0, service: "edge".to_owned() });
    })
    .await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    let head = world.get("app", "/head").send().await.unwrap().text().await.unwrap();
    let parent = head.lines().find_map(|line| line.strip_prefix("traceparent: ")).unwrap();
    let parts: Vec<&str> = parent.split('-').collect();
    assert_eq!(parts[3], "01", "the app records it too");
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let sent = soon(told.recv()).await.unwrap();
    for id in [bytes(parts[1]), bytes(parts[2])] {
        assert!(sent.windows(id.len()).any(|window| window == id), "{parent}");
    }
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused_at_the_start() {
    let world = World::start().await;
    let start = |change: &dyn Fn(&mut edge::Config)| {
        let mut config = world.config();
        change(&mut config);
        let listening = edge::listen("127.0.0.1:0".parse().unwrap()).unwrap();
        edge::Edge::start(listening, config, world.store.clone()).err().unwrap().to_string()
    };
    let log = AccessLog { to: LogTo::File("/nowhere/access.log".into()), sample: 1.0 };
    assert!(start(&|config| config.access_log = Some(log.clone())).contains("/nowhere/access.log"));
    assert!(start(&|config| config.geoip = Some("/nowhere/countries.mmdb".into())).contains("/nowhere/countries.mmdb"));
    let otlp = Otlp { endpoint: "ftp://x/".parse().unwrap(), sample: 1.0, service: "edge".into() };
    assert!(start(&|config| config.otlp = Some(otlp.clone())).contains("ftp://x/"));
}

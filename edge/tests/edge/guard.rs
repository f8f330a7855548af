//! Limits, lists, rules and overload, as visitors meet them.

use common::policy::Policy;
use common::route::{Route, Target};
use tokio::net::TcpStream;

use crate::apps::App;
use crate::testkit::{Script, World, field, file, noise, route, soon};

/// Makes an app live as `app.localhost`, and a site as `blog.localhost`, both with this policy.
async fn world(policy: &str) -> (World, App) {
    let world = World::start().await;
    let app = App::start("app").await;
    tell(&world, &app, policy).await;
    (world, app)
}

async fn tell(world: &World, app: &App, policy: &str) {
    let policy: Policy = serde_json::from_str(policy).unwrap();
    let site = world.publish(vec![file("/index.html", "home"), file("/big.bin", noise(300_000))], false).await;
    let upstreams = Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    let routes = [("app", upstreams), ("blog", Target::Static { earlier: Vec::new() })];
    let with_policy = |(host, target)| Route { policy: policy.clone().into(), ..route(host, &site, target) };
    world.tell(routes.map(with_policy).into()).await;
}

async fn status(world: &World, host: &str, path: &str) -> u16 {
    world.get(host, path).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_visitor_who_asks_too_often_gets_429_and_is_told_when_to_come_again() {
    let (world, app) = world(r#"{"limits": {"client": {"requests_per_s": 1, "burst": 2}}}"#).await;
    for host in ["app", "blog"] {
        for _ in 0..3 {
            assert_eq!(status(&world, host, "/").await, 200, "{host}");
        }
        let refused = world.get(host, "/").send().await.unwrap();
        assert_eq!(refused.status(), 429);
        assert_eq!(field(&refused, "retry-after"), "1");
        assert_eq!(field(&refused, "cache-control"), "no-store");
        assert!(!field(&refused, "x-request-id").is_empty());
    }
    // Another policy holds from the next request on.
    tell(&world, &app, "{}").await;
    for _ in 0..10 {
        assert_eq!(status(&world, "blog", "/").await, 200);
    }
}

#[tokio::test]
async fn requests_beyond_a_projects_concurrency_get_503_until_others_have_ended() {
    let (world, app) = world(r#"{"limits": {"project": {"concurrent": 1}}}"#).await;
    let slow = tokio::spawn(world.get("app", "/slow").send());
    app.arrived().await;
    let refused = world.get("app", "/").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(field(&refused, "retry-after"), "1");
    app.go_on();
    assert_eq!(soon(slow).await.unwrap().unwrap().text().await.unwrap(), "app");
    // The first request's end is seen a moment after its answer's.
    soon(async {
        while status(&world, "app", "/").await == 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_addresses_that_are_served_get_an_answer() {
    let (world, app) = world(r#"{"access": {"deny": ["127.0.0.0/8"]}}"#).await;
    for host in ["app", "blog"] {
        assert_eq!(status(&world, host, "/").await, 403, "{host}");
    }
    tell(&world, &app, r#"{"access": {"allow": ["127.0.0.1/32"]}}"#).await;
    for host in ["app", "blog"] {
        assert_eq!(status(&world, host, "/").await, 200, "{host}");
    }
}

#[tokio::test]
async fn rules_deny_redirect_and_allow_before_an_app_or_a_file_is_asked() {
    let json = r#"{"rules": [
        {"name": "office", "if": {"headers": [{"name": "x-office", "value": "yes"}]}, "then": "allow"},
        {"name": "admin", "if": {"paths": ["/admin", "/admin/*"]}, "then": {"deny": {"status": 404}}},
        {"name": "old", "if": {"paths": ["/old/*"], "methods": ["GET"]},
         "then": {"redirect": {"to": "https://new.example/?a=b", "status": 301}}}]}"#;
    let (world, _app) = world(json).await;
    for host in ["app", "blog"] {
        for path in ["/admin", "/admin/x", "/%61dmin/x", "//admin/x", "/x/..%2fadmin/x", "/./admin"] {
            assert_eq!(world.raw(&ask(host, path)).await.split(' ').nth(1), Some("404"), "{host}{path}");
        }
        let moved = world.get(host, "/old/page?q").send().await.unwrap();
        assert_eq!((moved.status().as_u16(), field(&moved, "location")), (301, "https://new.example/?a=b"));
    }
    let office = world.get("app", "/admin").header("x-office", "yes").send().await.unwrap();
    assert_eq!(office.text().await.unwrap(), "app");
    assert_eq!(world.request("POST", "app", "/old/page").send().await.unwrap().status(), 200);
    assert_eq!(status(&world, "app", "/administration").await, 200);
}

fn ask(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}.localhost\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_rule_limits_what_it_matches_and_nothing_else() {
    let json = r#"{"rules": [{"name": "login", "if": {"paths": ["/upload"], "methods": ["POST"]},
        "then": {"rate_limit": {"requests": 2, "per_s": 3600}}}]}"#;
    let (world, _app) = world(json).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(world.request("POST", "app", "/upload").send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(status(&world, "app", "/").await, 200);
}

#[tokio::test]
async fn a_paced_answer_arrives_whole() {
    let (world, _app) = world(r#"{"limits": {"client": {"bytes_per_s": 1000000}}}"#).await;
    let file = world.get("blog", "/big.bin").send().await.unwrap();
    assert_eq!(file.bytes().await.unwrap(), noise(300_000));
    let upload = world.request("POST", "app", "/upload").body(noise(300_000)).send().await.unwrap();
    assert_eq!(upload.bytes().await.unwrap(), noise(300_000));
}

#[tokio::test]
async fn a_visitor_has_a_bounded_number_of_connections() {
    let world = World::start_with(|config| {
        config.client_connections = Some(2);
        config.unbounded_clients = Vec::new();
    })
    .await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
        let answer = soon(one_answer(&mut socket)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        held.push(socket);
    }
    let mut third = TcpStream::connect(world.edge.addr()).await.unwrap();
    assert_eq!(soon(one_answer(&mut third)).await, "", "it is closed without an answer");
    held.pop();
    soon(async {
        loop {
            let mut socket = TcpStream::connect(world.edge.addr()).await.unwrap();
            if !one_answer(&mut socket).await.is_empty() {
                return;
            }
        }
    })
    .await;
}

/// The first bytes of the answer to a request; nothing when the connection is closed.
async fn one_answer(socket: &mut TcpStream) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut answer = vec![0; 4096];
    if socket.write_all(b"GET / HTTP/1.1\r\nHost: blog.localhost\r\n\r\n").await.is_err() {
        return String::new();
    }
    let count = socket.read(&mut answer).await.unwrap_or_default();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

#[tokio::test]
async fn an_overloaded_edge_refuses_strangers_and_still_answers_the_operator() {
    let world = World::start_with(|config| {
        config.max_connections = 8;
        config.admin = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    // Each visit takes a place of its own.
    let mut idle = Vec::new();
    for _ in 0..7 {
        idle.push(TcpStream::connect(world.edge.addr()).await.unwrap());
    }
    let refused = soon(async {
        loop {
            let answer = world.raw(&ask("app", "/")).await;
            if answer.starts_with("HTTP/1.1 503 ") {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(refused.contains("\r\nRetry-After: 5\r\n") || refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    let known = "GET / HTTP/1.1\r\nHost: app.localhost\r\nCookie: session=1\r\nConnection: close\r\n\r\n";
    assert!(soon(world.raw(known)).await.starts_with("HTTP/1.1 200 "), "who is known is served");
    let admin = format!("http://{}", world.edge.admin_addr().unwrap());
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(world.client.get(format!("{admin}{path}")).send().await.unwrap().status(), 200, "{path}");
    }
}

/// An edge behind a proxy on this machine that speaks for all visitors.
async fn behind_a_proxy(policy: &str) -> (World, App) {
    let world = World::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = App::start("app").await;
    tell(&world, &app, policy).await;
    (world, app)
}

async fn status_of(world: &World, visitor: &str, host: &str, path: &str) -> u16 {
    let request = world.get(host, path).header("x-forwarded-for", visitor);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn lists_are_of_visitors_and_not_of_the_proxies_that_speak_for_them() {
    let (world, app) = behind_a_proxy(r#"{"access": {"deny": ["203.0.113.0/24", "2001:db8::/32"]}}"#).await;
    for host in ["app", "blog"] {
        for (visitor, expected) in [
            ("203.0.113.7", 403),
            ("198.51.100.1", 200),
            ("2001:db8::1", 403),
            ("2001:db9::1", 200),
            // Whatever a visitor wrote in front of its own address.
            ("198.51.100.1, 203.0.113.7", 403),
            ("203.0.113.7, 198.51.100.1", 200),
        ] {
            assert_eq!(status_of(&world, visitor, host, "/").await, expected, "{host} {visitor}");
        }
    }
    tell(&world, &app, r#"{"access": {"allow": ["203.0.113.0/24"]}}"#).await;
    assert_eq!(status_of(&world, "203.0.113.7", "app", "/").await, 200);
    assert_eq!(status_of(&world, "198.51.100.1", "app", "/").await, 403);
}

#[tokio::test]
async fn a_stranger_does_not_get_past_a_list_by_naming_another_address() {
    let (world, _app) = world(r#"{"access": {"deny": ["127.0.0.0/8"]}}"#).await;
    for host in ["app", "blog"] {
        let request =
            world.get(host, "/").header("x-forwarded-for", "198.51.100.1").header("x-real-ip", "198.51.100.1");
        assert_eq!(request.send().await.unwrap().status(), 403, "{host}");
    }
}

#[tokio::test]
async fn each_visitor_has_a_rate_of_its_own_and_an_ipv6_visitor_one_for_its_network() {
    let (world, _app) =
        behind_a_proxy(r#"{"rules": [{"name": "few", "then": {"rate_limit": {"requests": 2, "per_s": 3600}}}]}"#).await;
    for (visitor, expected) in [
        ("203.0.113.1", 200),
        ("203.0.113.1", 200),
        ("203.0.113.1", 429),
        ("203.0.113.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 200),
        ("2001:db8::3", 429),
        ("2001:db8:0:1::3", 200),
    ] {
        assert_eq!(status_of(&world, visitor, "app", "/").await, expected, "{visitor}");
    }
}

#[tokio::test]
async fn a_rule_may_count_by_a_field_or_all_together() {
    let by = |by: &str| {
        format!(
            r#"{{"rules": [{{"name": "few", "then": {{"rate_limit": {{"requests": 1, "per_s": 3600, "by": {by}}}}}}}]}}"#
        )
    };
    let (world, app) = behind_a_proxy(&by(r#"{"header": "x-key"}"#)).await;
    let keyed = async |key: &str| {
        let request = world.get("app", "/").header("x-key", key);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!([keyed("a").await, keyed("a").await, keyed("b").await], [200, 429, 200]);
    tell(&world, &app, &by(r#""project""#)).await;
    assert_eq!(status_of(&world, "203.0.113.1", "app", "/").await, 200);
    assert_eq!(status_of(&world, "203.0.113.2", "app", "/").await, 429);
}

#[tokio::test]
async fn a_visitor_who_has_much_open_does_not_keep_others_away() {
    let (world, app) = behind_a_proxy(r#"{"limits": {"client": {"concurrent": 1}}}"#).await;
    let slow = tokio::spawn(world.get("app", "/slow").header("x-forwarded-for", "203.0.113.1").send());
    app.arrived().await;
    assert_eq!(status_of(&world, "203.0.113.1", "app", "/").await, 429);
    assert_eq!(status_of(&world, "203.0.113.2", "app", "/").await, 200);
    app.go_on();
    assert_eq!(soon(slow).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_paced_answer_ends_after_one_that_is_not_and_began_later() {
    let world = World::start().await;
    let body = String::from_utf8(vec![b'x'; 400_000]).unwrap();
    let app = Script::start().await.serve(move |_, _| {
        Some(format!("HTTP/1.1 200 OK\r\nContent-Type: application/x\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    world.app_with(&[app.addr], r#"{"limits": {"project": {"bytes_per_s": 20000}}}"#).await;
    world.app("free", &[app.addr]).await;
    let mut paced = soon(world.get("app", "/").send()).await.unwrap();
    assert_eq!(paced.status(), 200);
    let whole = async { while soon(paced.chunk()).await.unwrap().is_some() {} };
    let free = async { soon(world.get("free", "/").send()).await.unwrap().bytes().await.unwrap() };
    tokio::select! {
        biased;
        () = whole => panic!("twenty times what a second allows came at once"),
        free = free => assert_eq!(free.len(), 400_000),
    }
}

//! Header fields between visitors and apps: what an app is told of its visitor, and what passes in either direction.

use common::id::DeploymentId;
use common::route::{Route, Target};

use crate::testkit::{Head, Line, Script, World, route};

/// An edge that believes its neighbours on this machine whom they speak for.
async fn behind_a_proxy() -> World {
    World::start_with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    })
    .await
}

/// Sends a request for an app with these fields beside `Host`, and an answer with these fields. Returns the heads of
/// the request as the app gets it, and of the answer as the visitor gets it.
async fn exchange(world: &World, app: &Script, asked: &str, answered: &str) -> (Head, Head) {
    let request = format!("GET /a?b HTTP/1.1\r\nHost: app.localhost\r\n{asked}\r\n");
    let mut visitor = Line::ask(world, &request).await;
    let (mut line, request) = app.asked().await;
    line.say(&format!("HTTP/1.1 200 OK\r\n{answered}Content-Length: 2\r\n\r\nok")).await;
    let answer = visitor.head().await;
    assert_eq!(visitor.exactly(2).await, b"ok");
    (request, answer)
}

async fn asked(world: &World, app: &Script, fields: &str) -> Head {
    exchange(world, app, fields, "").await.0
}

#[tokio::test]
async fn what_strangers_say_of_themselves_is_replaced_by_what_the_edge_sees() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let claims = "X-Forwarded-For: 6.6.6.6\r\nX-FORWARDED-FOR: 7.7.7.7\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 666\r\nX-Forwarded-Prefix: /evil\r\n\
        X-Forwarded-Server: evil.example\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil.example\r\n\
        Forwarded: for=7.7.7.7\r\nX-Request-ID: evil\r\nX-Kept: yes\r\n";
    let seen = asked(&world, &app, claims).await;
    for (name, value) in [
        ("host", "app.localhost"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "app.localhost"),
        ("x-forwarded-port", "80"),
        ("x-real-ip", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1;host=\"app.localhost\";proto=http"),
        ("x-kept", "yes"),
    ] {
        assert_eq!(seen.field(name), value, "{name}");
    }
    let text = seen.text().to_lowercase();
    assert!(!text.contains("evil") && !text.contains("6.6.6.6") && !text.contains("7.7.7.7"), "{text}");
    assert!(!text.contains("666"), "{text}");
}

#[tokio::test]
async fn claims_in_the_spelling_that_cgi_makes_the_same_are_taken_away_too() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    // WSGI, PHP and Rack read `X_Forwarded_For` and `X-Forwarded-For` as one `HTTP_X_FORWARDED_FOR`.
    let claims = "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: evil\r\nX_Real_IP: 6.6.6.6\r\nX_Request_Id: evil\r\n\
        Proxy: evil\r\nMy_Field: yes\r\n";
    let seen = asked(&world, &app, claims).await;
    assert_eq!(seen.field("my_field"), "yes");
    assert!(!seen.text().contains("6.6.6.6") && !seen.text().contains("evil"), "{}", seen.text());
}

#[tokio::test]
async fn the_port_that_the_visitor_named_is_told() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let mut visitor = Line::ask(&world, "GET / HTTP/1.1\r\nHost: app.localhost:8080\r\n\r\n").await;
    let (mut line, seen) = app.asked().await;
    line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 204);
    assert_eq!((seen.field("host"), seen.field("x-forwarded-port")), ("app.localhost:8080", "8080"));
    assert_eq!(seen.field("x-forwarded-host"), "app.localhost:8080");
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_whom_it_speaks_for() {
    let world = behind_a_proxy().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let told = "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.2.2.2\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: evil.example\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n";
    let seen = asked(&world, &app, told).await;
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9, 10.2.2.2, 127.0.0.1"),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-host", "app.localhost"),
        ("forwarded", "for=203.0.113.9;host=\"app.localhost\";proto=https, for=10.2.2.2, for=127.0.0.1"),
    ] {
        assert_eq!(seen.field(name), value, "{name}");
    }
    let none = asked(&world, &app, "").await;
    assert_eq!((none.field("x-forwarded-for"), none.field("x-forwarded-proto")), ("127.0.0.1", "http"));
}

#[tokio::test]
async fn a_visitor_over_ipv6_is_told_as_each_field_writes_it() {
    let world = behind_a_proxy().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    for written in ["2001:db8::1", "[2001:db8::1]:4711", "2001:DB8:0:0::1"] {
        let seen = asked(&world, &app, &format!("X-Forwarded-For: {written}\r\n")).await;
        assert_eq!(seen.field("x-forwarded-for"), "2001:db8::1, 127.0.0.1");
        assert_eq!(seen.field("x-real-ip"), "2001:db8::1");
        let forwarded = "for=\"[2001:db8::1]\";host=\"app.localhost\";proto=http, for=127.0.0.1";
        assert_eq!(seen.field("forwarded"), forwarded);
    }
    let mapped = asked(&world, &app, "X-Forwarded-For: ::ffff:203.0.113.9\r\n").await;
    assert_eq!(mapped.field("x-real-ip"), "203.0.113.9");
}

#[tokio::test]
async fn what_concerns_one_connection_is_not_passed_to_the_app() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let own = "Connection: keep-alive, X-Mine\r\nConnection: x-also\r\nX-Mine: 1\r\nX-Also: 1\r\nKeep-Alive: 5\r\n\
        Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Kept: 1\r\n";
    let seen = asked(&world, &app, own).await;
    for name in ["x-mine", "x-also", "keep-alive", "proxy-connection", "proxy-authorization", "te", "upgrade"] {
        assert_eq!(seen.field(name), "", "{name} in {}", seen.text());
    }
    assert!(!seen.field("connection").to_lowercase().contains("x-"), "{}", seen.text());
    assert_eq!(seen.field("x-kept"), "1");
}

#[tokio::test]
async fn a_visitor_cannot_have_the_edges_own_fields_taken_away() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    for name in ["X-Forwarded-For", "x-real-ip", "Forwarded", "X-Forwarded-Proto", "X_Request_Id", "Host"] {
        let request = format!("GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: close, {name}\r\n\r\n");
        let answer = world.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
    }
    let seen = asked(&world, &app, "Connection: close, Traceparent\r\n").await;
    assert_eq!(seen.all("traceparent").len(), 1);
}

#[tokio::test]
async fn what_concerns_the_apps_connection_is_not_passed_to_the_visitor() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let own = "Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\
        Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 1\r\n";
    let (_, answer) = exchange(&world, &app, "", own).await;
    for name in ["x-mine", "keep-alive", "proxy-connection", "proxy-authenticate", "upgrade", "transfer-encoding"] {
        assert_eq!(answer.field(name), "", "{name} in {}", answer.text());
    }
    assert_eq!((answer.field("x-kept"), answer.field("content-length")), ("1", "2"));
}

#[tokio::test]
async fn each_request_has_an_id_that_the_app_and_the_visitor_get() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (seen, answer) = exchange(&world, &app, "X-Request-Id: mine\r\n", "X-Request-Id: the-apps\r\n").await;
        assert_eq!(seen.field("x-request-id"), answer.field("x-request-id"));
        ids.push(answer.field("x-request-id").to_owned());
    }
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.len() == 26), "{ids:?}");
}

#[tokio::test]
async fn a_trusted_proxys_id_of_a_request_is_kept_if_it_is_one() {
    let world = behind_a_proxy().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let (seen, answer) = exchange(&world, &app, "X-Request-Id: outer-7/a\r\n", "").await;
    assert_eq!((seen.field("x-request-id"), answer.field("x-request-id")), ("outer-7/a", "outer-7/a"));
    for odd in ["two words", "a,b", &"x".repeat(129)] {
        let seen = asked(&world, &app, &format!("X-Request-Id: {odd}\r\n")).await;
        assert_eq!(seen.field("x-request-id").len(), 26, "{odd}");
    }
}

/// Version, trace, span and flags.
fn parts(traceparent: &str) -> [&str; 4] {
    traceparent.split('-').collect::<Vec<_>>().try_into().unwrap()
}

#[tokio::test]
async fn a_trace_goes_on_at_the_app_with_the_edge_between() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let sent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\ntracestate: a=1,b=2\r\n");
    for (world, flags) in [(World::start().await, "00"), (behind_a_proxy().await, "01")] {
        let app = Script::start().await;
        world.app("app", &[app.addr]).await;
        let seen = asked(&world, &app, &sent).await;
        let [version, id, span, sampled] = parts(seen.field("traceparent"));
        assert_eq!((version, id, sampled), ("00", trace, flags), "only a trusted proxy may have it recorded");
        assert!(span.len() == 16 && span != "b7ad6b7169203331", "{span}");
        assert_eq!(seen.field("tracestate"), "a=1,b=2");
    }
}

#[tokio::test]
async fn a_trace_begins_where_none_is_named_that_can_be_read() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for sent in [
        String::new(),
        "tracestate: a=1\r\n".to_owned(),
        format!("traceparent: {zero}\r\ntracestate: a=1\r\n"),
        "traceparent: nonsense\r\ntracestate: a=1\r\n".to_owned(),
        format!("traceparent: {good}\r\ntraceparent: {good}\r\ntracestate: a=1\r\n"),
    ] {
        let seen = asked(&world, &app, &sent).await;
        let [_, id, ..] = parts(seen.field("traceparent"));
        assert!(id.len() == 32 && *id != *"0".repeat(32) && !good.contains(id), "{sent}: {id}");
        assert_eq!(seen.field("tracestate"), "", "{sent}");
    }
}

#[tokio::test]
async fn an_answer_says_who_serves_it_and_not_what_the_app_would_have_said_of_that() {
    let world = World::start().await;
    let app = Script::start().await;
    let id = world.app("app", &[app.addr]).await;
    let answered = "Server: secret/1.0\r\nX-AstroCloud-Deployment: lie\r\nX-Robots-Tag: nofollow\r\n\
        Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n";
    let (_, answer) = exchange(&world, &app, "", answered).await;
    assert_eq!(answer.field("server"), "AstroCloud");
    assert_eq!(answer.field("x-astrocloud-deployment"), id.as_str());
    assert_eq!(answer.field("x-robots-tag"), "nofollow", "a project's own address is as the app says");
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);

    let target = Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    world.tell(vec![Route { production: false, ..route("app", &DeploymentId::new(), target) }]).await;
    let (_, answer) = exchange(&world, &app, "", answered).await;
    assert_eq!(answer.field("x-robots-tag"), "noindex");
}

#[tokio::test]
async fn names_values_and_their_order_pass_as_they_were_written() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let fields = "X-Many: 1\r\nX-Other: a\r\nX-Many: 2, 3\r\nX-Empty:\r\nX-Latin: caf\u{e9}\r\n";
    let (seen, answer) = exchange(&world, &app, fields, fields).await;
    for head in [seen, answer] {
        assert_eq!(head.all("x-many"), ["1", "2, 3"]);
        assert_eq!(head.all("x-empty"), [""]);
        assert_eq!(head.field("x-latin"), "caf\u{e9}");
        assert!(head.text().contains("X-Many") || head.text().contains("x-many"));
    }
}

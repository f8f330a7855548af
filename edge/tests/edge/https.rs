//! Visitors of plain HTTP who are led to HTTPS, and those over HTTPS who are told to stay.

use common::certificate::Challenge;
use common::id::DeploymentId;
use common::policy::Policy;
use common::route::{Change, Route, Target};
use tokio_rustls::rustls::version::TLS13;

use crate::testkit::{Head, Line, Script, Served, World, field, file, route};
use crate::tls::{Authority, certify, visit};

const REDIRECT: &str = r#"{"https": {"redirect": true, "hsts": {"max_age_s": 600, "include_subdomains": true}}}"#;
const HSTS: &str = "max-age=600; includeSubDomains";

async fn app() -> Served {
    Script::start().await.serve(|_, _| Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned()))
}

/// Makes an app live as `app.localhost`, and a site as `blog.localhost`, both with this policy.
async fn tell(world: &World, app: &Served, policy: &str) {
    world.app_with(&[app.addr], policy).await;
    let policy: Policy = serde_json::from_str(policy).unwrap();
    let site = world.publish(vec![file("/index.html", "home")], false).await;
    let blog = route("blog", &site, Target::Static { earlier: Vec::new() });
    world.tell(vec![Route { policy: policy.into(), ..blog }]).await;
}

async fn certified(world: &World) -> Authority {
    let authority = Authority::new();
    let names = ["app.localhost", "blog.localhost"];
    certify(&world.control_plane, authority.issue("both", &names), &names).await;
    authority
}

/// The head of an answer over TLS.
async fn over_tls(world: &World, authority: &Authority, host: &str, fields: &str) -> Head {
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let host = format!("{host}.localhost");
    let mut line = Line::new(visit(world.edge.https_addr().unwrap(), &client, &host).await.unwrap());
    line.say(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
    line.head().await
}

#[tokio::test]
async fn a_visitor_in_plain_is_led_to_the_same_address_over_https() {
    let world = World::start().await;
    let app = app().await;
    tell(&world, &app, REDIRECT).await;
    for host in ["app", "blog"] {
        let answer = world.get(host, "/").send().await.unwrap();
        assert_eq!(answer.status(), 200, "without a certificate it would be led to an error");
        assert_eq!(field(&answer, "strict-transport-security"), "", "RFC 6797 section 7.2: not in plain");
    }
    let _authority = certified(&world).await;
    for host in ["app", "blog"] {
        for _ in 0..3 {
            let answer = world.request("POST", host, "/a/b?c=%20d&e").body("x").send().await.unwrap();
            assert_eq!(answer.status(), 308, "the method and the body are kept");
            assert_eq!(field(&answer, "location"), format!("https://{host}.localhost/a/b?c=%20d&e"));
            assert_eq!(field(&answer, "strict-transport-security"), "");
            assert_eq!(world.get(host, "/").send().await.unwrap().status(), 308);
        }
    }
    assert_eq!(app.asked(), 1, "the app is asked for nothing that is redirected");
    // Other projects are left alone.
    tell(&world, &app, "{}").await;
    for host in ["app", "blog"] {
        assert_eq!(world.get(host, "/").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn the_port_is_that_of_https_and_not_the_visitors() {
    let world = World::start_with(|config| config.https_port = Some(8443)).await;
    let app = app().await;
    tell(&world, &app, REDIRECT).await;
    let _authority = certified(&world).await;
    for target in ["/x", "http://app.localhost:8080/x"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: app.localhost:8080\r\nConnection: close\r\n\r\n");
        let mut visitor = Line::ask(&world, &request).await;
        let head = visitor.head().await;
        assert_eq!((head.status(), head.field("location")), (308, "https://app.localhost:8443/x"), "{target}");
    }
}

#[tokio::test]
async fn a_visitor_over_https_is_told_to_stay() {
    let world = World::start().await;
    let app = app().await;
    tell(&world, &app, REDIRECT).await;
    let authority = certified(&world).await;
    for host in ["app", "blog"] {
        // The site's page is ready from the second time on.
        for _ in 0..4 {
            let head = over_tls(&world, &authority, host, "").await;
            assert_eq!((head.status(), head.field("strict-transport-security")), (200, HSTS), "{host}");
        }
        assert_eq!(world.get(host, "/").send().await.unwrap().status(), 308, "{host}: what is ready over TLS");
    }
    let seen = "X-Forwarded-Proto: http\r\n";
    assert_eq!(over_tls(&world, &authority, "app", seen).await.status(), 200, "a stranger's word counts for nothing");
}

#[tokio::test]
async fn an_app_does_not_weaken_what_the_project_says_of_https() {
    let world = World::start().await;
    let answer = "HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=0\r\nContent-Length: 2\r\n\r\nok";
    let app = Script::start().await.serve(move |_, _| Some(answer.to_owned()));
    tell(&world, &app, REDIRECT).await;
    let authority = certified(&world).await;
    assert_eq!(over_tls(&world, &authority, "app", "").await.field("strict-transport-security"), HSTS);
    tell(&world, &app, "{}").await;
    let own = over_tls(&world, &authority, "app", "").await;
    assert_eq!(own.field("strict-transport-security"), "max-age=0", "without such a wish the app decides");
}

#[tokio::test]
async fn a_trusted_proxy_says_how_the_visitor_came() {
    let world = World::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let app = app().await;
    tell(&world, &app, REDIRECT).await;
    let authority = certified(&world).await;
    for host in ["app", "blog"] {
        for _ in 0..3 {
            let secure = world.get(host, "/").header("x-forwarded-proto", "https").send().await.unwrap();
            assert_eq!((secure.status().as_u16(), field(&secure, "strict-transport-security")), (200, HSTS), "{host}");
            let plain = world.get(host, "/").header("x-forwarded-proto", "http").send().await.unwrap();
            assert_eq!(plain.status(), 308, "{host}");
            assert_eq!(over_tls(&world, &authority, host, "X-Forwarded-Proto: http\r\n").await.status(), 308, "{host}");
        }
    }
}

#[tokio::test]
async fn a_stranger_cannot_say_that_it_came_over_https() {
    let world = World::start().await;
    let app = app().await;
    tell(&world, &app, REDIRECT).await;
    let _authority = certified(&world).await;
    for host in ["app", "blog"] {
        let answer = world.get(host, "/").header("x-forwarded-proto", "https").send().await.unwrap();
        assert_eq!(answer.status(), 308, "{host}");
    }
}

#[tokio::test]
async fn a_proof_of_control_is_shown_in_plain_whatever_else_holds_for_the_host() {
    let world = World::start().await;
    let app = app().await;
    let policy = r#"{"https": {"redirect": true}, "access": {"deny": ["127.0.0.0/8"]},
        "protection": [{"path": "/", "users": [{"user": "a", "hash": "-"}]}]}"#;
    tell(&world, &app, policy).await;
    let _authority = certified(&world).await;
    let proof = |host: &str| Challenge::Http01 {
        host: format!("{host}.localhost"),
        token: "token_1-x".to_owned(),
        key_authorization: format!("token_1-x.{host}"),
    };
    let challenges = Some(["app", "blog", "new"].map(proof).into());
    let version = world.control_plane.change_all(Change { challenges, ..Change::default() });
    world.control_plane.applied(version).await;
    for host in ["app", "blog", "new"] {
        let answer = world.get(host, "/.well-known/acme-challenge/token_1-x").send().await.unwrap();
        assert_eq!(answer.status(), 200, "{host}");
        assert_eq!(answer.text().await.unwrap(), format!("token_1-x.{host}"));
    }
    let unknown = world.get("app", "/.well-known/acme-challenge/token_2").send().await.unwrap();
    assert_eq!(unknown.status(), 308, "what is no proof is a page like any other");
    let id = DeploymentId::new();
    world
        .tell(vec![route("other", &id, Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false })])
        .await;
    let others = world.get("other", "/.well-known/acme-challenge/token_1-x").send().await.unwrap();
    assert_eq!(others.text().await.unwrap(), "ok", "an app may answer its own authority");
}

//! Custom domains: hosts that lead to others, and wildcards.

use common::certificate::Challenge;
use common::policy::Policy;
use common::route::{Change, Route, Target};
use tokio_rustls::rustls::version::TLS13;

use crate::testkit::{Line, Script, World, field, file, route};
use crate::tls::{Authority, certify, visit};

/// `www` leads to `shop`.
async fn pair(status: u16, policy: &str) -> World {
    let world = World::start().await;
    let site = world.site("shop", vec![file("/index.html", "shop")], false).await;
    let policy: Policy = serde_json::from_str(policy).unwrap();
    let target = Target::Redirect { to: "shop.localhost".to_owned(), status };
    world.tell(vec![Route { policy: policy.into(), ..route("www", &site, target) }]).await;
    world
}

#[tokio::test]
async fn a_host_that_leads_to_another_keeps_path_and_query() {
    for status in [301, 308] {
        let world = pair(status, "{}").await;
        for path in ["/", "/a/b?c=%20d&e", "/index.html"] {
            // More than once: the quick lane must not have an answer of the site either.
            for _ in 0..3 {
                let answer = world.get("www", path).send().await.unwrap();
                assert_eq!(answer.status(), status);
                assert_eq!(field(&answer, "location"), format!("http://shop.localhost{path}"));
            }
        }
        let answer = world.request("POST", "www", "/buy").body("x").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "location")), (status, "http://shop.localhost/buy"));
        let shop = world.get("shop", "/").send().await.unwrap();
        assert_eq!(shop.text().await.unwrap(), "shop");
    }
}

#[tokio::test]
async fn it_stays_with_the_visitors_scheme_and_port() {
    let world = pair(308, "{}").await;
    let request = "GET /x HTTP/1.1\r\nHost: www.localhost:8080\r\nConnection: close\r\n\r\n";
    let answer = Line::ask(&world, request).await.head().await;
    assert_eq!(answer.field("location"), "http://shop.localhost:8080/x");
    let authority = Authority::new();
    let names = ["www.localhost"];
    certify(&world.control_plane, authority.issue("www", &names), &names).await;
    let client = authority.client(&[&TLS13], &["http/1.1"]);
    let mut line = Line::new(visit(world.edge.https_addr().unwrap(), &client, "www.localhost").await.unwrap());
    line.say("GET /x HTTP/1.1\r\nHost: www.localhost:8443\r\n\r\n").await;
    assert_eq!(line.head().await.field("location"), "https://shop.localhost:8443/x");
}

#[tokio::test]
async fn a_proof_for_the_authority_and_https_of_the_host_itself_come_before_it() {
    let world = pair(308, r#"{"https": {"redirect": true}}"#).await;
    let proof = Challenge::Http01 {
        host: "www.localhost".to_owned(),
        token: "token".to_owned(),
        key_authorization: "proof".to_owned(),
    };
    let version = world.control_plane.change_all(Change { challenges: Some(vec![proof]), ..Change::default() });
    world.control_plane.applied(version).await;
    let answer = world.get("www", "/.well-known/acme-challenge/token").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "proof");
    let authority = Authority::new();
    let names = ["www.localhost"];
    certify(&world.control_plane, authority.issue("www", &names), &names).await;
    let answer = world.get("www", "/a").send().await.unwrap();
    assert_eq!(field(&answer, "location"), "https://www.localhost/a");
}

#[tokio::test]
async fn a_wildcard_answers_for_every_host_right_below_it_that_has_no_route_of_its_own() {
    let world = World::start().await;
    let wild = world.publish(vec![file("/index.html", "wild")], false).await;
    let own = world.publish(vec![file("/index.html", "own")], false).await;
    let site = || Target::Static { earlier: Vec::new() };
    world.tell(vec![route("*.shop", &wild, site()), route("own.shop", &own, site())]).await;
    for _ in 0..3 {
        for (host, expected) in [("a.shop", "wild"), ("b.shop", "wild"), ("own.shop", "own")] {
            let answer = world.get(host, "/").send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, expected), "{host}");
        }
    }
    for host in ["shop", "x.a.shop", "other"] {
        assert_eq!(world.get(host, "/").send().await.unwrap().status(), 404, "{host}");
    }
    let version = world.control_plane.change(Vec::new(), vec!["*.shop.localhost".to_owned()]);
    world.control_plane.applied(version).await;
    assert_eq!(world.get("a.shop", "/").send().await.unwrap().status(), 404);
    assert_eq!(world.get("own.shop", "/").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_an_app_says_below_a_wildcard_is_kept_for_each_host_alone() {
    let world = World::start().await;
    let app = Script::start().await.serve(|request, _| {
        let host = request.field("host").to_owned();
        Some(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: {}\r\n\r\n{host}", host.len()))
    });
    let id = common::id::DeploymentId::new();
    let target = Target::App { upstreams: vec![app.addr], unavailable: None, wakes: false };
    let policy: Policy = serde_json::from_str(r#"{"cache": {"enabled": true}}"#).unwrap();
    world.tell(vec![Route { policy: policy.into(), ..route("*.app", &id, target) }]).await;
    for _ in 0..3 {
        for host in ["a.app", "b.app"] {
            let answer = world.get(host, "/").send().await.unwrap().text().await.unwrap();
            assert_eq!(answer, format!("{host}.localhost"));
        }
    }
    assert_eq!(app.asked(), 2, "each host's answer is kept");
}

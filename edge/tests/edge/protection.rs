//! Who may see what: passwords on paths and on previews.

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::any;
use common::password;
use common::policy::{Credential, Policy, ProtectedHosts, Protection};
use common::route::{Route, Target};
use common::site_rules::{Login, Source};
use tokio::net::TcpListener;

use crate::testkit::{World, field, file, route};

fn user(name: &str, password: &str) -> Credential {
    Credential { user: name.to_owned(), hash: password::hash(password).unwrap() }
}

fn policy(path: &str, on: ProtectedHosts) -> Arc<Policy> {
    let protection = vec![Protection { path: path.to_owned(), on, users: vec![user("team", "s3cret")] }];
    Arc::new(Policy { protection, ..Policy::default() })
}

fn login(path: &str, name: &str, password: &str) -> Login {
    Login { on: Source { path: path.to_owned(), ..Source::default() }, users: vec![user(name, password)] }
}

/// The status that a path answers, with these name and password.
async fn status(world: &World, host: &str, path: &str, who: Option<(&str, &str)>) -> u16 {
    let request = world.get(host, path);
    let request = match who {
        Some((name, password)) => request.basic_auth(name, Some(password)),
        None => request,
    };
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_preview_is_shown_to_who_has_the_password_and_the_live_site_to_all() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x"), file("/a-DkT2a_9x.js", "1")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    let policy = policy("/", ProtectedHosts::Previews);
    let live = Route { policy: Arc::clone(&policy), ..route("site", &id, target.clone()) };
    let preview = Route { production: false, policy, ..route("preview", &id, target) };
    world.tell(vec![live, preview]).await;

    assert_eq!(status(&world, "site", "/", None).await, 200);
    let asked = world.get("preview", "/").send().await.unwrap();
    assert_eq!(asked.status(), 401);
    assert_eq!(field(&asked, "www-authenticate"), "Basic realm=\"preview\", charset=\"UTF-8\"");
    assert_eq!(field(&asked, "cache-control"), "no-store");
    assert_eq!(status(&world, "preview", "/", Some(("team", "wrong"))).await, 401);
    assert_eq!(status(&world, "preview", "/missing", None).await, 401, "nothing is told of what there is");
    for path in ["/", "/a-DkT2a_9x.js"] {
        let shown = world.get("preview", path).basic_auth("team", Some("s3cret")).send().await.unwrap();
        assert_eq!(shown.status(), 200);
        let kept = field(&shown, "cache-control");
        assert!(kept.starts_with("private, max-age=") && !kept.contains("public"), "{path}: {kept}");
    }
}

#[tokio::test]
async fn a_site_protects_its_own_paths_in_every_spelling() {
    let world = World::start().await;
    let files = ["/index.html", "/admin.html", "/admin/list.html", "/admin/open/index.html", "/administration.html"];
    let logins = vec![login("/admin/*", "root", "one"), login("/admin/open/*", "guest", "two")];
    let id = world.publish_with(files.map(|f| file(f, f)).into(), |manifest| manifest.logins = logins).await;
    world.tell(vec![route("site", &id, Target::Static { earlier: Vec::new() })]).await;
    for path in ["/", "/administration", "/index.html"] {
        // Twice: what is ready for the second request must be as open as the first was.
        assert_eq!(status(&world, "site", path, None).await, 200, "{path}");
        assert_eq!(status(&world, "site", path, None).await, 200, "{path}");
    }
    for path in ["/admin", "/admin/", "/admin.html", "/admin/list", "/admin/list.html", "/%61dmin/list", "/admin/x"] {
        assert_eq!(status(&world, "site", path, None).await, 401, "{path}");
        assert_eq!(status(&world, "site", path, Some(("guest", "two"))).await, 401, "{path}");
    }
    assert_eq!(status(&world, "site", "/admin/list", Some(("root", "one"))).await, 200);
    assert_eq!(status(&world, "site", "/admin/list", None).await, 401, "it is kept for nobody else");
    assert_eq!(status(&world, "site", "/admin/open/", Some(("guest", "two"))).await, 200);
    assert_eq!(status(&world, "site", "/admin/open/", Some(("root", "one"))).await, 401, "the longer path counts");
}

#[tokio::test]
async fn an_app_is_protected_too_and_does_not_see_the_password() {
    let world = World::start().await;
    let seen = async |headers: HeaderMap| match headers.get("authorization") {
        Some(value) => value.to_str().unwrap().to_owned(),
        None => "nothing".to_owned(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(any(seen))).await.unwrap();
    });
    let id = common::id::DeploymentId::new();
    let target = Target::App { upstreams: vec![address], unavailable: None, wakes: false };
    let policy = policy("/inside", ProtectedHosts::All);
    world.tell(vec![Route { policy, ..route("app", &id, target) }]).await;

    for path in ["/inside", "/INSIDE/x", "//inside", "/inside;a/x", "/%69nside", "/a/%2e%2e/inside"] {
        assert_eq!(status(&world, "app", path, None).await, 401, "{path}");
    }
    let inside = world.get("app", "/inside/x").basic_auth("team", Some("s3cret")).send().await.unwrap();
    assert_eq!(inside.text().await.unwrap(), "nothing");
    let outside = world.get("app", "/").header("authorization", "Bearer token").send().await.unwrap();
    assert_eq!(outside.text().await.unwrap(), "Bearer token", "the app's own logins are its own");
    let post = world.request("POST", "app", "/inside").body("x").send().await.unwrap();
    assert_eq!(post.status(), 401);
    server.abort();
}

#[tokio::test]
async fn who_tries_many_passwords_is_told_to_wait() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: policy("/", ProtectedHosts::All), ..route("site", &id, target) }]).await;
    assert_eq!(status(&world, "site", "/", Some(("team", "s3cret"))).await, 200);
    for guess in 0..10 {
        assert_eq!(status(&world, "site", "/", Some(("team", &guess.to_string()))).await, 401);
    }
    let answer = world.get("site", "/").basic_auth("team", Some("11")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "retry-after")), (429, "60"));
    assert_eq!(status(&world, "site", "/", Some(("team", "s3cret"))).await, 200, "who logged in before is let in");
}

/// A site behind one trusted proxy that speaks for all visitors, and what each gets for a password.
async fn behind_a_proxy() -> World {
    let world = World::start_with(|config| config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: policy("/", ProtectedHosts::All), ..route("site", &id, target) }]).await;
    world
}

async fn status_of(world: &World, visitor: &str, password: &str) -> u16 {
    let request = world.get("site", "/").header("x-forwarded-for", visitor).basic_auth("team", Some(password));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn behind_a_trusted_proxy_visitors_do_not_pay_for_each_other() {
    let world = behind_a_proxy().await;
    for guess in 0..10 {
        // What a visitor adds in front does not make it another one.
        assert_eq!(status_of(&world, &format!("198.51.100.{guess}, 203.0.113.1"), "wrong").await, 401);
    }
    assert_eq!(status_of(&world, "203.0.113.1", "wrong").await, 429);
    assert_eq!(status_of(&world, "203.0.113.1", "s3cret").await, 429, "even the right one is not told apart");
    assert_eq!(status_of(&world, "203.0.113.2", "wrong").await, 401);
    assert_eq!(status_of(&world, "203.0.113.2", "s3cret").await, 200);
}

#[tokio::test]
async fn a_stranger_does_not_get_more_attempts_by_naming_other_addresses() {
    let world = World::start().await;
    let id = world.publish(vec![file("/index.html", "x")], false).await;
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![Route { policy: policy("/", ProtectedHosts::All), ..route("site", &id, target) }]).await;
    for guess in 0..10 {
        assert_eq!(status_of(&world, &format!("203.0.113.{guess}"), "wrong").await, 401);
    }
    assert_eq!(status_of(&world, "203.0.113.99", "wrong").await, 429);
}

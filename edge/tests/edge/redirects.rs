//! Redirects and rewrites that a site brings.

use std::time::Duration;

use common::route::{Earlier, Route, Target};
use common::site_rules::{Expected, Parameter, Redirect, Source, Visitors};
use common::time::Timestamp;

use crate::testkit::{Published, World, field, file, route};

const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn rule(from: &str, to: Option<&str>, status: u16) -> Redirect {
    Redirect {
        from: Source { path: from.to_owned(), ..Source::default() },
        query: Vec::new(),
        to: to.map(str::to_owned),
        status,
        force: false,
        visitors: Visitors::default(),
    }
}

fn forced(from: &str, to: &str, status: u16) -> Redirect {
    Redirect { force: true, ..rule(from, Some(to), status) }
}

async fn site(files: Vec<Published>, redirects: Vec<Redirect>) -> World {
    let world = World::start().await;
    let id = world.publish_with(files, |manifest| manifest.redirects = redirects).await;
    world.tell(vec![route("site", &id, Target::Static { earlier: Vec::new() })]).await;
    world
}

fn pages() -> Vec<Published> {
    ["/index.html", "/about.html", "/docs/index.html", "/en/404.html", "/404.html", "/app/index.html"]
        .map(|f| file(f, f))
        .into()
}

/// Status, and where to or what is shown.
async fn told(world: &World, path: &str) -> (u16, String) {
    let answer = world.get("site", path).header("accept", BROWSER).send().await.unwrap();
    let status = answer.status().as_u16();
    let to = field(&answer, "location").to_owned();
    (status, if to.is_empty() { answer.text().await.unwrap() } else { to })
}

#[tokio::test]
async fn a_redirect_leads_where_the_site_says_and_is_revalidated() {
    let rules = vec![
        rule("/old/:id/*", Some("/new/:splat?id=:id"), 302),
        rule("/blog/*", Some("https://blog.example/:splat"), 301),
        rule("/moved", Some("/about"), 308),
    ];
    let world = site(pages(), rules).await;
    assert_eq!(told(&world, "/old/7/a%20b/c").await, (302, "/new/a%20b/c?id=7".into()));
    assert_eq!(told(&world, "/blog/2026/x/?a=b").await, (301, "https://blog.example/2026/x/?a=b".into()));
    assert_eq!(told(&world, "/moved/?q").await, (308, "/about?q".into()));
    let answer = world.get("site", "/moved").send().await.unwrap();
    assert_eq!(field(&answer, "cache-control"), "public, max-age=0, must-revalidate");
    assert_eq!(field(&answer, "content-length"), "0");
    let form = world.request("POST", "site", "/moved").body("x").send().await.unwrap();
    assert_eq!(form.status(), 308, "what is sent moves too");
    assert_eq!(world.request("HEAD", "site", "/moved").send().await.unwrap().status(), 308);
}

#[tokio::test]
async fn the_first_rule_that_fits_counts() {
    let rules = vec![rule("/a/b", Some("/1"), 302), rule("/a/*", Some("/2"), 302), rule("/a/c", Some("/3"), 302)];
    let world = site(pages(), rules).await;
    for (path, to) in [("/a/b", "/1"), ("/a/c", "/2"), ("/a", "/2")] {
        assert_eq!(told(&world, path).await, (302, to.into()), "{path}");
    }
    assert_eq!(told(&world, "/b").await, (404, "/404.html".into()));
}

#[tokio::test]
async fn files_come_before_rules_unless_these_are_forced() {
    let rules = vec![
        rule("/about", Some("/x"), 301),
        rule("/docs", Some("/x"), 301),
        forced("/index.html", "/", 301),
        forced("/app/*", "/about", 200),
    ];
    let world = site(pages(), rules).await;
    assert_eq!(told(&world, "/about").await, (200, "/about.html".into()));
    assert_eq!(told(&world, "/docs").await, (308, "/docs/".into()), "the page is at its other spelling");
    assert_eq!(told(&world, "/index.html").await, (301, "/".into()));
    assert_eq!(told(&world, "/app/").await, (200, "/about.html".into()));
}

#[tokio::test]
async fn a_rewrite_shows_a_file_under_the_address_that_was_asked_for() {
    let rules = vec![
        rule("/u/:name", Some("/app/"), 200),
        rule("/by/*", Some("/:splat"), 200),
        rule("/en/*", Some("/en/404.html"), 404),
        rule("/gone", Some("/about"), 410),
        rule("/secret/*", None, 404),
        rule("/tea", None, 418),
    ];
    let world = site(pages(), rules).await;
    assert_eq!(told(&world, "/u/ann").await, (200, "/app/index.html".into()));
    assert_eq!(told(&world, "/by/docs").await, (200, "/docs/index.html".into()));
    assert_eq!(told(&world, "/by/nothing").await, (404, "/404.html".into()), "one rewrite, and no more");
    assert_eq!(told(&world, "/en/x").await, (404, "/en/404.html".into()));
    assert_eq!(told(&world, "/gone").await, (410, "/about.html".into()));
    assert_eq!(told(&world, "/secret/x").await, (404, "/404.html".into()));
    assert_eq!(told(&world, "/tea").await, (418, "/404.html".into()));
    let page = world.get("site", "/u/ann").send().await.unwrap();
    let tag = field(&page, "etag").to_owned();
    assert!(!tag.is_empty());
    let again = world.get("site", "/u/ann").header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let post = world.request("POST", "site", "/u/ann").body("x").send().await.unwrap();
    assert_eq!(post.status(), 405);
}

#[tokio::test]
async fn a_status_without_a_page_is_told_in_plain_words() {
    let world = site(vec![file("/index.html", "x")], vec![rule("/gone", None, 410)]).await;
    let (status, page) = told(&world, "/gone").await;
    assert_eq!(status, 410);
    assert!(page.contains("<h1>Gone</h1>"), "{page}");
}

#[tokio::test]
async fn a_prebuilt_app_that_routes_in_the_browser_says_so_with_one_line() {
    let world = World::start().await;
    let old = world.publish(vec![file("/assets/app-OLDa1b2c.js", "old chunk")], false).await;
    let files = vec![file("/index.html", "app"), file("/assets/app-NEWa1b2c.js", "chunk")];
    let everything = vec![rule("/*", Some("/index.html"), 200)];
    let live = world.publish_with(files, |manifest| manifest.redirects = everything).await;
    let earlier = vec![Earlier { deployment: old, until: Timestamp::now().after(Duration::from_secs(3600)) }];
    world.tell(vec![route("site", &live, Target::Static { earlier })]).await;
    for (path, body) in [
        ("/", "app"),
        ("/dashboard/7?x", "app"),
        ("/v1.2/users", "app"),
        ("/assets/app-NEWa1b2c.js", "chunk"),
        ("/assets/app-OLDa1b2c.js", "old chunk"),
    ] {
        assert_eq!(told(&world, path).await, (200, body.into()), "{path}");
    }
}

#[tokio::test]
async fn a_rule_may_depend_on_the_query() {
    let with = |value: Expected, to: &str| {
        let query = vec![Parameter { name: "id".into(), value }];
        Redirect { query, ..rule("/store", Some(to), 301) }
    };
    let rules = vec![with(Expected::Named("id".into()), "/blog/:id"), rule("/store", Some("/shop"), 301)];
    let world = site(pages(), rules).await;
    assert_eq!(told(&world, "/store?id=my-post&utm=1").await, (301, "/blog/my-post?utm=1".into()));
    assert_eq!(told(&world, "/store?other=1").await, (301, "/shop?other=1".into()));
    assert_eq!(told(&world, "/store?id=/../evil%3F").await, (301, "/blog//../evil%3F".into()));
}

#[tokio::test]
async fn a_rule_may_depend_on_the_visitors_language_and_caches_are_told() {
    let german = Visitors { languages: vec!["de".into()], ..Visitors::default() };
    let beta = Visitors { cookies: vec!["beta".into()], ..Visitors::default() };
    let nobody = Visitors { countries: vec!["DE".into()], ..Visitors::default() };
    let rules = vec![
        Redirect { visitors: german, ..forced("/", "/de/", 302) },
        Redirect { visitors: beta, ..forced("/about", "/docs/", 200) },
        Redirect { visitors: nobody, ..forced("/docs/", "/de/", 302) },
    ];
    let world = site(pages(), rules).await;
    for (language, status) in [("de-CH, de;q=0.9, en;q=0.8", 302), ("en, de;q=0.5", 200), ("", 200)] {
        let answer = world.get("site", "/").header("accept-language", language).send().await.unwrap();
        assert_eq!(answer.status(), status, "{language}");
        assert_eq!(field(&answer, "vary"), "Accept-Language, Cookie", "{language}");
    }
    let chosen = world.get("site", "/").header("cookie", "nf_lang=de").header("accept-language", "en");
    assert_eq!(chosen.send().await.unwrap().status(), 302);
    let beta = world.get("site", "/about").header("cookie", "a=b; beta=1").send().await.unwrap();
    assert_eq!(beta.text().await.unwrap(), "/docs/index.html");
    assert_eq!(told(&world, "/about").await, (200, "/about.html".into()));
    let docs = world.get("site", "/docs/").send().await.unwrap();
    assert_eq!(docs.status(), 200, "nobody's country is known here");
    assert_eq!(field(&docs, "cache-control"), "private, max-age=0, must-revalidate");
}

#[tokio::test]
async fn a_rule_may_be_for_one_host_and_scheme() {
    let at = |https: bool, host: &str, to: &str| {
        let from = Source { https: Some(https), host: Some(host.to_owned()), path: "/*".into() };
        Redirect { from, force: true, ..rule("/", Some(to), 301) }
    };
    let rules = vec![
        at(false, "old.localhost", "https://new.example/:splat"),
        at(true, "site.localhost", "https://never.example/"),
    ];
    let world = World::start().await;
    let id = world.publish_with(pages(), |manifest| manifest.redirects = rules).await;
    let target = Target::Static { earlier: Vec::new() };
    world.tell(vec![route("site", &id, target.clone()), route("old", &id, target)]).await;
    let old = world.get("old", "/about?x").send().await.unwrap();
    assert_eq!((old.status().as_u16(), field(&old, "location")), (301, "https://new.example/about?x"));
    assert_eq!(told(&world, "/about").await, (200, "/about.html".into()));
}

#[tokio::test]
async fn no_address_leads_to_a_host_that_the_visitor_chose() {
    let rules = vec![rule("/go/*", Some("/:splat"), 302), rule("/*", Some("/x/:splat"), 302)];
    let world = site(vec![file("/index.html", "x")], rules).await;
    for path in ["/go//evil.example", "/go///evil.example/", "/go/%2F%2Fevil.example"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: site.localhost\r\nConnection: close\r\n\r\n");
        let answer = world.raw(&request).await.to_lowercase();
        assert!(answer.contains("\r\nlocation: /evil.example"), "{path}: {answer}");
    }
    let split = world.raw("GET /go/%0d%0aX:y HTTP/1.1\r\nHost: site.localhost\r\nConnection: close\r\n\r\n").await;
    assert!(split.starts_with("HTTP/1.1 400 "), "{split}");
}

#[tokio::test]
async fn a_single_deployments_redirects_stay_out_of_search_engines() {
    let world = World::start().await;
    let rules = vec![rule("/a", Some("/b"), 301)];
    let id = world.publish_with(pages(), |manifest| manifest.redirects = rules).await;
    let preview = Route { production: false, ..route("site", &id, Target::Static { earlier: Vec::new() }) };
    world.tell(vec![preview]).await;
    let answer = world.get("site", "/a").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "x-robots-tag")), (301, "noindex"));
}

//! Fields of answers that a site brings.

use common::manifest::Encoding;
use common::route::{Route, Target};
use common::site_rules::{HeaderRule, Redirect, Source, Visitors};

use crate::testkit::{Published, World, field, file, route};

const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

fn rule(path: &str, remove: &[&str], add: &[(&str, &str)]) -> HeaderRule {
    HeaderRule {
        on: Source { path: path.to_owned(), ..Source::default() },
        remove: remove.iter().map(|&n| n.to_owned()).collect(),
        add: add.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
    }
}

async fn site(rules: Vec<HeaderRule>) -> World {
    let page = Published {
        path: "/index.html",
        bytes: b"the page as it is".to_vec(),
        variants: vec![(Encoding::Br, b"br".to_vec())],
    };
    let files = vec![page, file("/404.html", "lost"), file("/assets/app-DkT2a_9x.js", "1"), file("/a/b.css", "b{}")];
    let world = World::start().await;
    let id = world.publish_with(files, |manifest| manifest.headers = rules).await;
    world.tell(vec![route("site", &id, Target::Static { earlier: Vec::new() })]).await;
    world
}

#[tokio::test]
async fn rules_add_to_answers_and_override_what_the_edge_would_say() {
    let world = site(vec![
        rule("/*", &[], &[("x-frame-options", "DENY"), ("cache-control", "max-age=60"), ("link", "</a>")]),
        rule("/assets/*", &[], &[("cache-control", "max-age=600"), ("link", "</b>")]),
        rule("/a/:file", &["x-content-type-options", "cache-control"], &[("x-file", "this is \":file\"")]),
    ])
    .await;
    let page = world.get("site", "/").send().await.unwrap();
    assert_eq!((field(&page, "x-frame-options"), field(&page, "cache-control")), ("DENY", "max-age=60"));
    assert_eq!(field(&page, "vary"), "Accept-Encoding");
    assert_eq!(field(&page, "content-length"), "17");
    let script = world.get("site", "/assets/app-DkT2a_9x.js").send().await.unwrap();
    assert_eq!((field(&script, "cache-control"), field(&script, "link")), ("max-age=600", "</a>, </b>"));
    let style = world.get("site", "/a/b.css").send().await.unwrap();
    assert_eq!(field(&style, "x-file"), "this is \"b.css\"");
    assert_eq!((field(&style, "x-content-type-options"), field(&style, "cache-control")), ("", ""));
}

#[tokio::test]
async fn rules_also_count_for_parts_for_what_is_unchanged_and_for_pages_of_errors() {
    let world = site(vec![rule("/*", &[], &[("content-security-policy", "default-src 'self'"), ("vary", "X")])]).await;
    let policy = "default-src 'self'";
    let page = world.get("site", "/").header("accept-encoding", "br").send().await.unwrap();
    assert_eq!((field(&page, "content-security-policy"), field(&page, "vary")), (policy, "Accept-Encoding, X"));
    let tag = field(&page, "etag").to_owned();
    let unchanged = world.get("site", "/").header("accept-encoding", "br").header("if-none-match", tag);
    let unchanged = unchanged.send().await.unwrap();
    assert_eq!((unchanged.status().as_u16(), field(&unchanged, "content-security-policy")), (304, policy));
    assert_eq!(field(&unchanged, "content-type"), "");
    let part = world.get("site", "/").header("range", "bytes=0-2").send().await.unwrap();
    assert_eq!((part.status().as_u16(), field(&part, "content-security-policy")), (206, policy));
    let lost = world.get("site", "/nope").header("accept", BROWSER).send().await.unwrap();
    assert_eq!((lost.status().as_u16(), field(&lost, "content-security-policy")), (404, policy));
}

#[tokio::test]
async fn a_redirect_is_sent_without_them() {
    let world = World::start().await;
    let redirect = Redirect {
        from: Source { path: "/a".into(), ..Source::default() },
        query: Vec::new(),
        to: Some("/b".into()),
        status: 302,
        force: false,
        visitors: Visitors::default(),
    };
    let change = |manifest: &mut common::manifest::Manifest| {
        manifest.redirects = vec![redirect];
        manifest.headers = vec![rule("/*", &[], &[("x-a", "b"), ("cache-control", "max-age=600")])];
    };
    let id = world.publish_with(vec![file("/index.html", "x")], change).await;
    world.tell(vec![route("site", &id, Target::Static { earlier: Vec::new() })]).await;
    let answer = world.get("site", "/a").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), field(&answer, "x-a")), (302, ""));
    assert_eq!(field(&answer, "cache-control"), "public, max-age=0, must-revalidate");
}

#[tokio::test]
async fn a_rule_may_be_for_one_host_and_none_lets_a_preview_into_search_engines() {
    let at = |host: &str| HeaderRule {
        on: Source { https: None, host: Some(host.to_owned()), path: "/*".into() },
        ..rule("/", &[], &[("x-host", host)])
    };
    let rules = vec![at("site.localhost"), rule("/*", &["x-robots-tag"], &[("x-robots-tag", "all")])];
    let world = World::start().await;
    let id = world.publish_with(vec![file("/index.html", "x")], |manifest| manifest.headers = rules).await;
    let target = Target::Static { earlier: Vec::new() };
    let preview = Route { production: false, ..route("preview", &id, target.clone()) };
    world.tell(vec![route("site", &id, target), preview]).await;
    let live = world.get("site", "/").send().await.unwrap();
    assert_eq!((field(&live, "x-host"), field(&live, "x-robots-tag")), ("site.localhost", "all"));
    let preview = world.get("preview", "/").send().await.unwrap();
    assert_eq!((field(&preview, "x-host"), field(&preview, "x-robots-tag")), ("", "noindex"));
}

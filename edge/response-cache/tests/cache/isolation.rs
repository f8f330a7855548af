//! Nobody gets what was made for another.

use common::policy::CachePolicy;
use http::Method;
use response_cache::{Forward, Outcome};

use crate::testkit::{World, reply};

#[tokio::test]
async fn answers_differ_by_the_fields_that_vary_names() {
    let world = World::new();
    let french = reply("max-age=60", "bonjour").with("vary", "x-tongue");
    let german = reply("max-age=60", "hallo").with("vary", "x-tongue");
    world.replies([french, german]);
    for _ in 0..2 {
        assert_eq!(world.get(&[("x-tongue", "fr")]).await.text, "bonjour");
        assert_eq!(world.get(&[("x-tongue", "de")]).await.text, "hallo");
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn what_is_made_for_one_visitor_is_not_kept() {
    for answer in [
        reply("max-age=60, private", "one"),
        reply("no-store", "one"),
        reply("max-age=60", "one").with("set-cookie", "a=b"),
        reply("max-age=60, public", "one").with("set-cookie", "a=b"),
        reply("max-age=60", "one").with("vary", "*"),
    ] {
        let world = World::new();
        world.replies([answer]);
        let first = world.get(&[]).await;
        assert_eq!(first.text, "one");
        assert!(!first.cache().contains("stored"), "{}", first.cache());
        assert_eq!(world.cache.bytes(), 0);
    }
}

#[tokio::test]
async fn requests_with_authorization_stay_away_from_the_cache() {
    let world = World::new();
    world.replies([reply("max-age=60, public", "everybody's")]);
    world.get(&[]).await;
    let outcome = world.ask(Method::GET, "/", &[("authorization", "Basic x")]).await.unwrap();
    assert!(matches!(outcome, Outcome::Pass(Forward::Bypass)));
}

#[tokio::test]
async fn with_the_developers_word_explicit_answers_to_authorization_are_shared() {
    let policy = CachePolicy { explicit_private: true, ..CachePolicy::default() };
    let authorization = [("authorization", "Basic x")];
    let world = World::with_policy(policy);
    world.replies([reply("max-age=60, public", "everybody's")]);
    assert_eq!(world.get(&authorization).await.cache(), "fwd=uri-miss; ttl=60; stored");
    assert_eq!(world.get(&[]).await.text, "everybody's");
    assert_eq!(world.get(&authorization).await.cache(), "hit; ttl=60");

    let world = World::with_policy(policy);
    world.replies([reply("max-age=60", "mine"), reply("max-age=60", "anonymous"), reply("max-age=60", "mine")]);
    assert_eq!(world.get(&authorization).await.text, "mine");
    assert_eq!(world.get(&[]).await.text, "anonymous");
    assert_eq!(world.get(&authorization).await.text, "mine", "what was kept for others does not say it is for all");
}

#[tokio::test]
async fn a_cookie_on_a_304_reaches_nobody_else() {
    let world = World::new();
    let not_modified = reply("max-age=60", "").status(304).with("set-cookie", "a=b");
    world.replies([reply("max-age=10", "one").with("etag", "\"1\""), not_modified]);
    world.get(&[]).await;
    world.pass(10);
    world.get(&[]).await;
    let hit = world.get(&[]).await;
    assert_eq!((hit.cache(), hit.field("set-cookie")), ("hit; ttl=60", ""));
}

#[tokio::test]
async fn fields_of_a_connection_and_named_fields_are_not_kept() {
    let world = World::new();
    let answer = reply("max-age=60, no-cache=\"x-mine\"", "one")
        .with("connection", "x-hop")
        .with("x-hop", "1")
        .with("x-mine", "1")
        .with("cache-tag", "a")
        .with("x-all", "1");
    world.replies([answer]);
    let miss = world.get(&[]).await;
    assert_eq!((miss.field("x-hop"), miss.field("x-mine"), miss.field("cache-tag")), ("", "1", ""));
    let hit = world.get(&[]).await;
    assert_eq!((hit.field("x-hop"), hit.field("x-mine"), hit.field("x-all")), ("", "", "1"));
}

#[tokio::test]
async fn another_deployments_answers_are_not_used() {
    let world = World::new();
    world.replies([reply("max-age=60", "old")]);
    world.get(&[]).await;
    let headers = http::HeaderMap::new();
    let ask = crate::testkit::ask(&Method::GET, "/", &headers, world.policy);
    let newer = response_cache::Ask { deployment: "dep_2", ..ask };
    world.replies([reply("max-age=60", "new")]);
    let app = world.clone();
    let outcome = world.cache.handle(&newer, |fields| app.fetch(fields)).await.unwrap();
    let Outcome::Answer(answer) = outcome else { panic!("no answer") };
    assert_eq!(crate::testkit::Got::read(answer).await.text, "new");
}

#[tokio::test]
async fn a_port_that_a_visitor_makes_up_is_in_nobody_elses_answer() {
    let world = World::new();
    world.replies([reply("max-age=60", "https://shop.example:666/"), reply("max-age=60", "https://shop.example/")]);
    let headers = http::HeaderMap::new();
    let ask = crate::testkit::ask(&Method::GET, "/", &headers, world.policy);
    let other = response_cache::Ask { port: Some(666), ..ask };
    let app = world.clone();
    let outcome = world.cache.handle(&other, |fields| app.fetch(fields)).await.unwrap();
    let Outcome::Answer(answer) = outcome else { panic!("no answer") };
    assert_eq!(crate::testkit::Got::read(answer).await.text, "https://shop.example:666/");
    assert_eq!(world.get_text().await, "https://shop.example/");
    world.cache.purge(&common::route::Purge {
        project: "shop".into(),
        what: common::route::Purged::Url("shop.example/".into()),
    });
    assert!(world.cache.lookup(&other).is_none(), "a purge ends it under every port");
}

#[tokio::test]
async fn conditions_that_only_the_app_may_judge_go_to_the_app() {
    let world = World::new();
    world.replies([reply("max-age=60", "one").with("etag", "\"1\"")]);
    world.get(&[]).await;
    for name in ["if-match", "if-unmodified-since"] {
        let outcome = world.ask(Method::GET, "/", &[(name, "\"1\"")]).await.unwrap();
        assert!(matches!(outcome, Outcome::Pass(Forward::Bypass)), "{name}");
    }
    let outcome = world.ask(Method::POST, "/", &[]).await.unwrap();
    assert!(matches!(outcome, Outcome::Pass(Forward::Method)));
}

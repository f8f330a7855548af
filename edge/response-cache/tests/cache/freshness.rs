//! What is kept is used while it is fresh, validated when it is not, and stands in where that is allowed.

use http::Method;
use response_cache::{Forward, Outcome};

use crate::testkit::{World, reply};

#[tokio::test]
async fn an_answer_is_used_while_it_is_fresh_and_tells_its_age() {
    let world = World::new();
    world.replies([reply("max-age=60", "one").with("age", "5"), reply("max-age=60", "two")]);
    let miss = world.get(&[]).await;
    assert_eq!((miss.text.as_str(), miss.cache()), ("one", "fwd=uri-miss; ttl=55; stored"));
    world.pass(54);
    let hit = world.get(&[]).await;
    assert_eq!((hit.text.as_str(), hit.cache(), hit.field("age")), ("one", "hit; ttl=1", "59"));
    assert_eq!(hit.field("content-length"), "3");
    world.pass(1);
    let stale = world.get(&[]).await;
    assert_eq!((stale.text.as_str(), stale.cache()), ("two", "fwd=stale; ttl=60; stored"));
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_stale_answer_is_validated_and_fresh_again() {
    let world = World::new();
    let not_modified = reply("max-age=100", "").status(304).with("etag", "\"1\"").with("x-new", "yes");
    world.replies([reply("max-age=10", "one").with("etag", "\"1\"").with("x-old", "yes"), not_modified]);
    world.get(&[]).await;
    world.pass(20);
    let validated = world.get(&[]).await;
    assert_eq!((validated.status, validated.text.as_str()), (200, "one"));
    assert_eq!(validated.cache(), "fwd=stale; fwd-status=304; ttl=100; stored");
    assert_eq!((validated.field("x-old"), validated.field("x-new"), validated.field("age")), ("yes", "yes", "0"));
    assert_eq!(world.seen.lock().unwrap()[1]["if-none-match"], "\"1\"");
    world.pass(99);
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=1");
}

#[tokio::test]
async fn an_answer_that_must_be_validated_each_time_is() {
    let world = World::new();
    let first = reply("no-cache", "one").with("etag", "\"1\"");
    world.replies([first, reply("no-cache", "").status(304), reply("max-age=9", "two")]);
    assert_eq!(world.get(&[]).await.cache(), "fwd=uri-miss; ttl=0; stored");
    assert_eq!(world.get_text().await, "one");
    assert_eq!(world.get_text().await, "two");
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=9");
}

#[tokio::test]
async fn a_visitor_who_has_it_gets_no_body() {
    let world = World::new();
    world.replies([reply("max-age=60", "one").with("etag", "\"1\"")]);
    let condition = [("if-none-match", "\"1\"")];
    let miss = world.get(&condition).await;
    assert_eq!((miss.status, miss.text.as_str(), miss.field("etag")), (304, "", "\"1\""));
    world.settle().await;
    assert_eq!(world.get(&condition).await.status, 304);
    let whole = world.get(&[]).await;
    assert_eq!((whole.status, whole.text.as_str()), (200, "one"));
    assert_eq!(world.requests(), 1);
    assert!(!world.seen.lock().unwrap()[0].contains_key("if-none-match"), "the app sends it whole, to be kept");
}

#[tokio::test]
async fn part_of_a_kept_answer_is_sent() {
    let world = World::new();
    world.replies([reply("max-age=60", "0123456789")]);
    world.get(&[]).await;
    let part = world.get(&[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text.as_str()), (206, "234"));
    assert_eq!((part.field("content-range"), part.field("content-length")), ("bytes 2-4/10", "3"));
    let none = world.get(&[("range", "bytes=10-")]).await;
    assert_eq!((none.status, none.text.as_str(), none.field("content-range")), (416, "", "bytes */10"));
}

#[tokio::test]
async fn a_part_of_what_is_not_kept_is_the_apps_matter() {
    let world = World::new();
    let outcome = world.ask(Method::GET, "/", &[("range", "bytes=2-4")]).await.unwrap();
    assert!(matches!(outcome, Outcome::Pass(Forward::UriMiss)));
}

#[tokio::test]
async fn a_head_is_answered_from_a_kept_answer_and_else_by_the_app() {
    let world = World::new();
    let outcome = world.ask(Method::HEAD, "/", &[]).await.unwrap();
    assert!(matches!(outcome, Outcome::Pass(Forward::UriMiss)));
    world.replies([reply("max-age=60", "one")]);
    world.get(&[]).await;
    let Outcome::Answer(head) = world.ask(Method::HEAD, "/", &[]).await.unwrap() else { panic!("no answer") };
    assert!(head.body.is_done());
    assert_eq!(head.head.headers["content-length"], "3");
}

#[tokio::test]
async fn a_stale_answer_is_used_at_once_while_it_is_validated_behind() {
    let world = World::new();
    let first = reply("max-age=10, stale-while-revalidate=30", "one");
    world.replies([first, reply("max-age=10", "two").gated()]);
    world.get(&[]).await;
    world.pass(15);
    for _ in 0..3 {
        let stale = world.get(&[]).await;
        assert_eq!((stale.text.as_str(), stale.cache()), ("one", "hit; ttl=-5"));
    }
    world.reached(2).await;
    world.gate.add_permits(2);
    world.settle().await;
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=10");
    assert_eq!(world.get_text().await, "two");
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_kept_answer_stands_in_for_errors_as_far_as_allowed() {
    // (what is kept says, the app's status or 0 for none, what the visitor gets)
    for (cache_control, status, expected) in [
        ("max-age=10, stale-if-error=60", 503, "one"),
        ("max-age=10, stale-if-error=60", 0, "one"),
        ("max-age=10, stale-if-error=60", 404, "error"),
        ("max-age=10, stale-if-error=2", 503, "error"),
        ("max-age=10", 503, "error"),
        ("max-age=10", 0, "one"),
        ("s-maxage=10", 0, "none"),
        ("max-age=10, must-revalidate", 0, "none"),
    ] {
        let world = World::new();
        let error = reply("max-age=5", "error").status(status);
        world.replies([reply(cache_control, "one"), error]);
        world.get(&[]).await;
        world.pass(15);
        let text = match world.ask(Method::GET, "/", &[]).await {
            Ok(Outcome::Answer(answer)) => crate::testkit::Got::read(answer).await.text,
            Ok(other) => panic!("{other:?}"),
            Err(_) => "none".to_owned(),
        };
        assert_eq!(text, expected, "{cache_control} {status}");
    }
}

#[tokio::test]
async fn a_request_may_ask_for_more_or_less_than_fresh() {
    let world = World::new();
    world.replies(["one", "two", "three", "four"].map(|text| reply("max-age=60", text)));
    world.get(&[]).await;
    world.pass(50);
    for (directive, text) in [
        ("max-age=50", "one"),
        ("min-fresh=10", "one"),
        ("max-age=49", "two"),
        ("no-cache", "three"),
        ("min-fresh=61", "four"),
        ("only-if-cached", "four"),
    ] {
        assert_eq!(world.get(&[("cache-control", directive)]).await.text, text, "{directive}");
    }
    world.pass(70);
    assert_eq!(world.get(&[("cache-control", "max-stale=10")]).await.text, "four");
    let outcome = world.ask(Method::GET, "/", &[("cache-control", "only-if-cached")]).await.unwrap();
    assert!(matches!(outcome, Outcome::NotKept));
    let outcome = world.ask(Method::GET, "/", &[("cache-control", "no-store")]).await.unwrap();
    assert!(matches!(outcome, Outcome::Pass(Forward::Request)));
}

#[tokio::test]
async fn an_answer_that_broke_off_is_not_kept() {
    let world = World::new();
    let mut broken = reply("max-age=60", "half");
    broken.breaks = true;
    let short = reply("max-age=60", "half").with("content-length", "8");
    world.replies([broken, short, reply("max-age=60", "whole")]);
    assert!(!world.get(&[]).await.whole);
    assert!(!world.get(&[]).await.whole);
    assert_eq!(world.get_text().await, "whole");
}

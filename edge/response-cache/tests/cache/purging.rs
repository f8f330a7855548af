//! What is purged is not used any more, from the next request on.

use common::route::{Purge, Purged};
use http::{HeaderMap, Method, StatusCode, header};

use crate::testkit::{World, ask, reply};

fn purge(what: Purged) -> Purge {
    Purge { project: "shop".into(), what }
}

fn all_that_name_it() -> Vec<Purged> {
    vec![
        Purged::Everything,
        Purged::Host("shop.example".into()),
        Purged::Url("shop.example/".into()),
        Purged::Tag("b".into()),
    ]
}

#[tokio::test]
async fn what_a_purge_names_is_gone_at_once() {
    for what in all_that_name_it() {
        let world = World::new();
        world.replies([reply("max-age=60", "old").with("cache-tag", "a, b"), reply("max-age=60", "new")]);
        world.get(&[]).await;
        world.cache.purge(&purge(what.clone()));
        assert_eq!(world.get_text().await, "new", "{what:?}");
    }
}

#[tokio::test]
async fn what_a_purge_does_not_name_stays() {
    let world = World::new();
    world.replies([reply("max-age=60", "kept").with("cache-tag", "a")]);
    world.get(&[]).await;
    for what in [
        Purged::Host("other.example".into()),
        Purged::Host("shop".into()),
        Purged::Url("shop.example/b".into()),
        Purged::Url("shop.example".into()),
        Purged::Tag("b".into()),
    ] {
        world.cache.purge(&purge(what));
    }
    for what in all_that_name_it() {
        world.cache.purge(&Purge { project: "another".into(), what });
    }
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=60");
}

#[tokio::test]
async fn what_is_on_its_way_when_it_is_purged_is_not_kept() {
    for what in all_that_name_it() {
        for head_is_here in [false, true] {
            let world = World::new();
            let old = reply("max-age=60", "old").with("cache-tag", "b").gated();
            world.replies([old, reply("max-age=60", "new"), reply("max-age=60", "newest")]);
            let early = tokio::spawn({
                let world = world.clone();
                async move { world.get_text().await }
            });
            world.reached(1).await;
            world.gate.add_permits(usize::from(head_is_here));
            world.settle().await;
            world.cache.purge(&purge(what.clone()));
            if head_is_here || !matches!(what, Purged::Tag(_)) {
                assert_eq!(world.get_text().await, "new", "{what:?}: nobody joins it");
            }
            world.gate.add_permits(2);
            assert_eq!(early.await.unwrap(), "old");
            world.settle().await;
            assert_eq!(world.get_text().await, "new", "{what:?}, head {head_is_here}");
        }
    }
}

#[tokio::test]
async fn a_validation_does_not_bring_back_what_was_purged_meanwhile() {
    for what in all_that_name_it() {
        let world = World::new();
        let first = reply("max-age=10", "old").with("etag", "\"1\"").with("cache-tag", "b");
        let not_modified = reply("max-age=60", "").status(304).gated();
        world.replies([first, not_modified, reply("max-age=60", "new")]);
        world.get(&[]).await;
        world.pass(10);
        let early = tokio::spawn({
            let world = world.clone();
            async move { world.get_text().await }
        });
        world.reached(2).await;
        world.cache.purge(&purge(what.clone()));
        world.gate.add_permits(1);
        assert_eq!(early.await.unwrap(), "old");
        assert_eq!(world.get_text().await, "new", "{what:?}");
    }
}

#[tokio::test]
async fn a_successful_change_ends_what_is_kept_for_its_address_and_those_it_names() {
    for (method, status, location, target, gone) in [
        (Method::POST, 200, "", "/", true),
        (Method::PUT, 204, "", "/", true),
        (Method::DELETE, 303, "", "/", true),
        (Method::from_bytes(b"M-SEARCH").unwrap(), 200, "", "/", true),
        (Method::POST, 500, "", "/", false),
        (Method::POST, 404, "", "/", false),
        (Method::OPTIONS, 200, "", "/", false),
        (Method::POST, 200, "", "/other", false),
        (Method::POST, 201, "/", "/other", true),
        (Method::POST, 201, "https://shop.example/", "/other", true),
        (Method::POST, 201, "https://evil.example/", "/other", false),
    ] {
        let world = World::new();
        world.replies([reply("max-age=60", "old"), reply("max-age=60", "new")]);
        world.get(&[]).await;
        let headers = HeaderMap::new();
        let answer = HeaderMap::from_iter([(header::LOCATION, location.parse().unwrap())]);
        let answer = if location.is_empty() { HeaderMap::new() } else { answer };
        let ask = ask(&method, target, &headers, world.policy);
        world.cache.invalidate(&ask, StatusCode::from_u16(status).unwrap(), &answer);
        let expected = if gone { "new" } else { "old" };
        assert_eq!(world.get_text().await, expected, "{method} {target} {status} {location}");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_freshens_or_ends_what_is_kept() {
    for (tag, expected) in [("\"1\"", "old"), ("\"2\"", "new")] {
        let world = World::new();
        world.replies([reply("max-age=10", "old").with("etag", "\"1\""), reply("max-age=60", "new")]);
        world.get(&[]).await;
        world.pass(20);
        let headers = HeaderMap::new();
        let answer = HeaderMap::from_iter([
            (header::ETAG, tag.parse().unwrap()),
            (header::CACHE_CONTROL, "max-age=60".parse().unwrap()),
        ]);
        let ask = ask(&Method::HEAD, "/", &headers, world.policy);
        world.cache.observe_head(&ask, StatusCode::OK, &answer);
        assert_eq!(world.get_text().await, expected, "{tag}");
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let mut world = World::new();
    world.cache = response_cache::Cache::with_system_clock(1 << 20);
    for i in 0..500 {
        world.replies([reply("max-age=60", include_str!("purging.rs"))]);
        let _ = world.ask(Method::GET, &format!("/{i}"), &[]).await.unwrap();
        world.settle().await;
    }
    assert!(world.cache.bytes() <= 1 << 20 && world.cache.bytes() > 1 << 18, "{}", world.cache.bytes());
}

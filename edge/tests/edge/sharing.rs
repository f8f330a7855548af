//! Hosts that show the same deployment share what is ready, and nothing that differs between them.

use common::policy::{Policy, TrailingSlash};
use common::route::{Earlier, Route, Target};
use common::site_rules::{Redirect, Source, Visitors};
use common::time::Timestamp;

use crate::testkit::{World, field, file, route};

const FILES: Target = Target::Static { earlier: Vec::new() };

/// What a host answers, twice the same: the second time it is ready.
async fn twice(world: &World, host: &str, path: &str) -> reqwest::Response {
    let first = world.get(host, path).send().await.unwrap();
    let second = world.get(host, path).send().await.unwrap();
    assert_eq!(first.status(), second.status());
    for name in ["location", "x-robots-tag", "x-astrocloud-deployment", "etag"] {
        assert_eq!(field(&first, name), field(&second, name), "{name}");
    }
    second
}

#[tokio::test]
async fn a_ready_answer_of_one_host_keeps_its_differences_from_another() {
    let world = World::start().await;
    let site = world.publish(vec![file("/index.html", "page"), file("/about.html", "about")], false).await;
    let slashes = Policy { trailing_slash: TrailingSlash::Always, ..Policy::default() };
    world
        .tell(vec![
            route("shop", &site, FILES),
            Route { production: false, ..route("preview", &site, FILES) },
            Route { policy: slashes.into(), ..route("slashes", &site, FILES) },
        ])
        .await;
    for _ in 0..2 {
        assert_eq!(field(&twice(&world, "shop", "/").await, "x-robots-tag"), "");
        assert_eq!(field(&twice(&world, "preview", "/").await, "x-robots-tag"), "noindex");
        assert_eq!(twice(&world, "shop", "/about").await.text().await.unwrap(), "about");
        assert_eq!(field(&twice(&world, "slashes", "/about").await, "location"), "/about/");
    }
}

#[tokio::test]
async fn a_rule_that_leads_to_one_host_leads_there_from_all_others() {
    let world = World::start().await;
    let rule = Redirect {
        from: Source { path: "/*".into(), ..Source::default() },
        query: Vec::new(),
        to: Some("http://shop.localhost/:splat".into()),
        status: 301,
        force: true,
        visitors: Visitors::default(),
    };
    let site = world.publish_with(vec![file("/a.txt", "text")], |manifest| manifest.redirects = vec![rule]).await;
    world.tell(vec![route("shop", &site, FILES), route("other", &site, FILES)]).await;
    for _ in 0..2 {
        assert_eq!(twice(&world, "shop", "/a.txt").await.text().await.unwrap(), "text");
        assert_eq!(field(&twice(&world, "other", "/a.txt").await, "location"), "http://shop.localhost/a.txt");
    }
}

#[tokio::test]
async fn an_earlier_deployments_file_is_found_though_the_app_was_shown_in_its_place() {
    let world = World::start().await;
    let old = world.publish(vec![file("/assets/app-5d41402a.js", "old")], true).await;
    let rule = Redirect {
        from: Source { path: "/*".into(), ..Source::default() },
        query: Vec::new(),
        to: Some("/index.html".into()),
        status: 200,
        force: false,
        visitors: Visitors::default(),
    };
    let site = world.publish_with(vec![file("/index.html", "page")], |manifest| manifest.redirects = vec![rule]).await;
    world.tell(vec![route("shop", &site, FILES)]).await;
    assert_eq!(twice(&world, "shop", "/assets/app-5d41402a.js").await.text().await.unwrap(), "page");
    let earlier = vec![Earlier { deployment: old, until: Timestamp::now().after(std::time::Duration::from_secs(60)) }];
    world.tell(vec![route("shop", &site, Target::Static { earlier })]).await;
    assert_eq!(twice(&world, "shop", "/assets/app-5d41402a.js").await.text().await.unwrap(), "old");
}

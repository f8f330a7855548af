use reqwest::StatusCode;
use serde_json::json;

use crate::support::{FEED, FEED_TOKEN, Platform};

#[tokio::test]
async fn a_purge_is_answered_when_every_edge_has_forgotten() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    edge.apply().await;
    for (request, what) in [
        (json!({ "everything": true }), json!("everything")),
        (json!({ "host": "Shop.sites.localhost" }), json!({ "host": "shop.sites.localhost" })),
        (json!({ "url": "http://shop.sites.localhost:8080/a?b=c" }), json!({ "url": "shop.sites.localhost/a?b=c" })),
        (json!({ "tag": "products" }), json!({ "tag": "products" })),
    ] {
        let (answer, delta) = tokio::join!(platform.post("/projects/shop/purge", request), edge.apply());
        assert_eq!(answer.body, json!({ "edges": 1, "late": 0 }));
        assert_eq!(delta["purges"], json!([{ "project": "shop", "what": what }]));
    }
}

#[tokio::test]
async fn a_purge_says_one_thing_of_the_projects_own() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.project("blog").await;
    platform.deploy("blog").await;
    for (request, hint) in [
        (json!({}), "everything"),
        (json!({ "everything": true, "tag": "a" }), "one thing"),
        (json!({ "host": "blog.sites.localhost" }), "`shop`"),
        (json!({ "url": "https://blog.sites.localhost/" }), "`shop`"),
        (json!({ "tag": "a,b" }), "commas"),
        (json!({ "url": "/a" }), "URL"),
    ] {
        let refused = platform.post("/projects/shop/purge", request).await;
        assert!(refused.status.is_client_error() && refused.status != StatusCode::NOT_FOUND, "{}", refused.body);
        assert!(refused.body["detail"].as_str().unwrap().contains(hint), "{}", refused.body);
    }
}

use common::usage::Usage;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{FEED, FEED_TOKEN, Platform, until};

#[tokio::test]
async fn what_edges_count_adds_up_by_project_and_hour() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.project("blog").await;
    let mut edges = [platform.socket(FEED, FEED_TOKEN).await, platform.socket(FEED, FEED_TOKEN).await];
    let counted = |project: &str, requests: u64| Usage {
        project: project.to_owned(),
        requests,
        bytes_out: 1 << 40,
        statuses: [0, requests, 0, 0, 1],
        latencies: [requests, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        cache_hits: 3,
        ..Usage::default()
    };
    for edge in &mut edges {
        let projects = json!([counted("shop", 5), counted("blog", 1), counted("gone", 1)]);
        edge.send(json!({ "type": "usage", "projects": projects })).await;
        edge.send(json!({ "type": "usage", "projects": [counted("shop", 1)] })).await;
    }
    let report = until(|| async {
        let report = platform.get("/projects/shop/usage").await.body;
        let requests: u64 = report["hours"].as_array().unwrap().iter().map(|h| h["requests"].as_u64().unwrap()).sum();
        (requests == 12).then_some(report)
    })
    .await;
    let hours = report["hours"].as_array().unwrap();
    let sum = |of: &dyn Fn(&Value) -> u64| hours.iter().map(of).sum::<u64>();
    assert_eq!(sum(&|hour| hour["bytes_out"].as_u64().unwrap()), 4 << 40);
    assert_eq!(sum(&|hour| hour["statuses"][1].as_u64().unwrap()), 12);
    assert_eq!(sum(&|hour| hour["latencies"][11].as_u64().unwrap()), 8);
    assert_eq!(sum(&|hour| hour["cache_hits"].as_u64().unwrap()), 12);
    assert_eq!(report["latency_bounds_ms"].as_array().unwrap().len(), 11);
    assert_eq!(hours[0]["project"], "shop");

    let before = platform.get("/projects/shop/usage?to=2026-01-01T00:00:00Z").await;
    assert_eq!(before.body["hours"], json!([]));
    let wrong = platform.get("/projects/shop/usage?from=yesterday").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

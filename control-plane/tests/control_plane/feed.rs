use std::net::SocketAddr;
use std::time::Duration;

use common::revision::RevisionStatus;
use serde_json::{Value, json};

use crate::support::{FEED, FEED_TOKEN, Platform, within};

fn hosts(routes: &Value) -> Vec<String> {
    let mut hosts: Vec<_> = routes.as_array().unwrap().iter().map(|r| r["host"].as_str().unwrap().to_owned()).collect();
    hosts.sort();
    hosts
}

#[tokio::test]
async fn an_edge_gets_every_route_then_each_change_in_order() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let first = platform.deploy("shop").await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    let snapshot = edge.apply().await;
    let own = first.deployment_url.host_str().unwrap().to_owned();
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(hosts(&snapshot["routes"]), [own.clone(), "shop.sites.localhost".to_owned()]);

    let (second, delta) = tokio::join!(platform.deploy("shop"), edge.apply());
    assert_eq!(delta["version"].as_u64(), snapshot["version"].as_u64().map(|v| v + 1));
    let new = second.deployment_url.host_str().unwrap().to_owned();
    assert_eq!(hosts(&delta["upsert"]), [new.clone(), "shop.sites.localhost".to_owned()]);
    let live = delta["upsert"].as_array().unwrap().iter().find(|r| r["production"] == true).unwrap();
    assert_eq!(live["deployment"], json!(second.id));
    assert_eq!(live["target"]["earlier"][0]["deployment"], json!(first.id));

    let (_, gone) = tokio::join!(platform.call(reqwest::Method::DELETE, "/projects/shop", None), edge.apply());
    assert!(gone["upsert"].is_null(), "what does not change is left out");
    assert_eq!(gone["remove"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_flip_is_answered_only_once_the_edge_has_it() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    platform.deploy("shop").await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    edge.apply().await;
    let rollback = platform.post("/projects/shop/rollback", json!({}));
    tokio::pin!(rollback);
    let delta = tokio::select! {
        _ = &mut rollback => panic!("answered before the edge had it"),
        delta = edge.next() => delta.unwrap(),
    };
    let early = tokio::time::timeout(Duration::from_millis(100), &mut rollback).await;
    assert!(early.is_err(), "answered before the edge had applied it");
    edge.send(json!({ "type": "applied", "version": delta["version"] })).await;
    assert_eq!(within(rollback).await.body["status"], "live");
}

#[tokio::test]
async fn the_feed_is_for_edges_only() {
    let platform = Platform::start().await;
    let mut url = platform.api.join(FEED).unwrap();
    url.set_scheme("ws").unwrap();
    assert!(tokio_tungstenite::connect_async(url.as_str()).await.is_err());
}

#[tokio::test]
async fn versions_grow_across_restarts() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    let before = platform.socket(FEED, FEED_TOKEN).await.next().await.unwrap();
    let platform = platform.restart().await;
    let after = platform.socket(FEED, FEED_TOKEN).await.next().await.unwrap();
    assert!(after["version"].as_u64() > before["version"].as_u64());
    assert_eq!(hosts(&after["routes"]), hosts(&before["routes"]));
}

#[tokio::test]
async fn an_app_that_is_not_live_runs_while_visitors_ask_for_its_own_address() {
    let platform = Platform::start().await;
    let ledger = platform.ledger();
    let endpoint: SocketAddr = "127.0.0.1:4001".parse().unwrap();
    let apps = platform.two_apps("api", endpoint).await;
    ledger.revision(&apps[0], RevisionStatus::Stopped).await.unwrap();
    assert!(ledger.wanted_app(&apps[0]).await.unwrap().is_none());
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    let snapshot = edge.apply().await;
    let route = |routes: &Value| {
        let own = |r: &&Value| r["deployment"] == json!(apps[0]) && r["production"] == false;
        routes.as_array().unwrap().iter().find(own).unwrap()["target"].clone()
    };
    assert_eq!(route(&snapshot["routes"])["wakes"], true);
    edge.send(json!({ "type": "wanted", "deployment": apps[0] })).await;
    let wanted = async {
        loop {
            within(ledger.apps_changed()).await;
            if let Some(wanted) = ledger.wanted_app(&apps[0]).await.unwrap() {
                return wanted;
            }
        }
    };
    assert!(!wanted.await.once);
    let running = RevisionStatus::Running { endpoints: endpoint.into(), restarts: 0 };
    let (reported, delta) = tokio::join!(ledger.revision(&apps[0], running), edge.apply());
    reported.unwrap();
    assert_eq!(route(&delta["upsert"])["upstreams"], json!([endpoint]));
    assert_eq!(platform.read(&apps[0]).await.status, common::api::DeploymentStatus::Ready);
}

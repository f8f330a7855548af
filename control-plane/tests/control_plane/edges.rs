//! Edges that come and go: `live` is said when visitors get it.

use common::api::DeploymentStatus;
use common::id::EdgeId;
use serde_json::json;

use crate::support::{FEED, FEED_TOKEN, Platform, Socket, until};

/// A project with two deployments, of which the second is live and at the edge.
async fn two_at(platform: &Platform, edge: &mut Socket) {
    edge.apply().await;
    platform.project("shop").await;
    for _ in 0..2 {
        tokio::join!(platform.deploy("shop"), edge.apply());
    }
}

#[tokio::test]
async fn a_deployment_becomes_live_once_an_edge_that_lost_its_connection_is_back_and_has_it() {
    let platform = Platform::start().await;
    let id = EdgeId::new();
    let mut edge = platform.edge_of(&id).await;
    two_at(&platform, &mut edge).await;
    drop(edge);
    let flip = platform.post("/projects/shop/rollback", json!({}));
    let back = async {
        let deployment = until(|| async {
            let page = platform.get("/projects/shop/deployments").await.body;
            let first = page["items"][1].clone();
            let reason = first["reason"]["message"].as_str().unwrap_or_default().to_owned();
            (first["status"] == "activating" && reason.contains("is away since")).then_some(first)
        })
        .await;
        let reason = deployment["reason"]["message"].as_str().unwrap();
        assert!(reason.contains(id.as_str()) && reason.contains("waited for until"), "{reason}");
        let mut edge = platform.edge_of(&id).await;
        let snapshot = edge.next().await.unwrap();
        let now = platform.read(&serde_json::from_value(deployment["id"].clone()).unwrap()).await;
        assert_eq!(now.status, DeploymentStatus::Activating, "it was told, but has not applied it");
        edge.send(json!({ "type": "applied", "version": snapshot["version"] })).await;
        edge
    };
    let (rolled_back, _edge) = tokio::join!(flip, back);
    assert_eq!(rolled_back.body["status"], "live", "{}", rolled_back.body);
    assert!(rolled_back.body["reason"].is_null(), "{}", rolled_back.body);
}

#[tokio::test]
async fn after_a_restart_of_the_control_plane_the_edges_of_before_are_waited_for() {
    let platform = Platform::start().await;
    let id = EdgeId::new();
    let mut edge = platform.edge_of(&id).await;
    two_at(&platform, &mut edge).await;
    let platform = platform.restart().await;
    let flip = platform.post("/projects/shop/rollback", json!({}));
    tokio::pin!(flip);
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), &mut flip).await;
    assert!(early.is_err(), "it was said before the edge was back");
    let mut edge = platform.edge_of(&id).await;
    edge.apply().await;
    assert_eq!(flip.await.body["status"], "live");
}

#[tokio::test]
async fn what_a_kill_kept_from_the_edges_is_live_once_they_have_it() {
    let platform = Platform::start().await;
    let id = EdgeId::new();
    let mut edge = platform.edge_of(&id).await;
    two_at(&platform, &mut edge).await;
    let flip = platform.post("/projects/shop/rollback", json!({}));
    // The edge is told, and the control plane ends before it hears that it has it.
    tokio::select! {
        _ = flip => panic!("nobody applied it"),
        _ = edge.next() => {}
    }
    let platform = platform.restart().await;
    let status = async || platform.get("/projects/shop/deployments").await.body["items"][1]["status"].clone();
    assert_eq!(status().await, "activating");
    let mut edge = platform.edge_of(&id).await;
    edge.apply().await;
    until(|| async { (status().await == "live").then_some(()) }).await;
}

#[tokio::test]
async fn an_edge_that_stays_away_is_named_beside_live_until_it_is_back() {
    let platform = Platform::start().await;
    let id = EdgeId::new();
    let mut edge = platform.edge_of(&id).await;
    two_at(&platform, &mut edge).await;
    drop(edge);
    let late = platform.post("/projects/shop/rollback", json!({})).await.body;
    assert_eq!(late["status"], "live");
    assert_eq!(late["reason"]["code"], "late_edges", "{late}");
    assert!(late["reason"]["message"].as_str().unwrap().contains(id.as_str()), "{late}");
    platform.edge_of(&id).await.apply().await;
    let read = || async { platform.read(&serde_json::from_value(late["id"].clone()).unwrap()).await };
    until(|| async { read().await.reason.is_none().then_some(()) }).await;
}

#[tokio::test]
async fn an_edge_that_said_goodbye_is_not_waited_for() {
    let platform = Platform::start().await;
    let mut edge = platform.edge_of(&EdgeId::new()).await;
    two_at(&platform, &mut edge).await;
    edge.goodbye().await;
    let flipped = platform.post("/projects/shop/rollback", json!({})).await.body;
    assert_eq!((&flipped["status"], &flipped["reason"]), (&json!("live"), &json!(null)));
}

#[tokio::test]
async fn an_edge_says_who_it_is_in_a_form_that_is_known() {
    let platform = Platform::start().await;
    let request = platform
        .request(reqwest::Method::GET, FEED)
        .bearer_auth(FEED_TOKEN)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header(common::route::EDGE_ID_HEADER, "dpl_no-edge");
    let answer = Platform::send(request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body["detail"].as_str().unwrap().contains("edg_"), "{}", answer.body);
}

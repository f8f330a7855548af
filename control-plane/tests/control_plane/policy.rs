use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{FEED, FEED_TOKEN, Platform, within};

async fn set(platform: &Platform, method: Method, body: Value) -> crate::support::Answer {
    platform.call(method, "/projects/shop/edge", Some(body)).await
}

#[tokio::test]
async fn a_policy_reaches_the_edges_before_it_is_answered_and_every_route_has_it() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    let snapshot = edge.apply().await;
    assert!(snapshot["routes"].as_array().unwrap().iter().all(|route| route.get("policy").is_none()));
    let set = set(&platform, Method::PUT, json!({ "https": { "redirect": true } }));
    tokio::pin!(set);
    let delta = tokio::select! {
        _ = &mut set => panic!("answered before the edge had it"),
        delta = edge.next() => delta.unwrap(),
    };
    let routes = delta["upsert"].as_array().unwrap();
    assert_eq!(routes.len(), 2);
    assert!(routes.iter().all(|route| route["policy"]["https"]["redirect"] == true), "{delta}");
    edge.send(json!({ "type": "applied", "version": delta["version"] })).await;
    let told = within(set).await;
    assert_eq!(told.status, StatusCode::OK);
    assert_eq!(told.body["https"]["redirect"], true);
    assert_eq!(platform.get("/projects/shop/edge").await.body, told.body);
}

#[tokio::test]
async fn a_policy_is_changed_in_parts_and_survives_a_restart() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let login = json!({ "protection": [{ "path": "/", "users": [{ "user": "ada", "password": "lovelace" }] }] });
    assert_eq!(set(&platform, Method::PUT, login).await.status, StatusCode::OK);
    let merged = set(&platform, Method::PATCH, json!({ "limits": { "client": { "requests_per_s": 5 } } })).await;
    assert_eq!(merged.body["limits"]["client"]["requests_per_s"], 5);
    assert_eq!(merged.body["protection"][0]["users"], json!([{ "user": "ada", "password_set": true }]));
    let platform = platform.restart().await;
    assert_eq!(platform.get("/projects/shop/edge").await.body, merged.body);
    let replaced = set(&platform, Method::PUT, json!({ "compression": "off" })).await;
    assert_eq!(replaced.body["protection"], json!([]));
    assert_eq!(replaced.body["limits"]["client"], json!({}));
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused_with_every_problem_and_the_old_one_stays() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let before = set(&platform, Method::PUT, json!({ "compression": "off" })).await.body;
    let wrong = set(&platform, Method::PATCH, json!({ "https": { "redirct": true } })).await;
    assert_eq!((wrong.status, wrong.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid_policy"));
    assert!(wrong.body["detail"].as_str().unwrap().contains("`redirect`"), "{}", wrong.body);
    let several = json!({
        "limits": { "client": { "requests_per_s": 0 } },
        "rules": [{ "name": "a", "then": { "deny": { "status": 500 } } }],
    });
    let wrong = set(&platform, Method::PUT, several).await.body;
    let detail = wrong["detail"].as_str().unwrap();
    assert!(
        detail.contains("`limits.client.requests_per_s`") && detail.contains("`rules[0].then.deny.status`"),
        "{detail}"
    );
    assert_eq!(platform.get("/projects/shop/edge").await.body, before);
    assert_eq!(platform.get("/projects/nothing/edge").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let parts = [
        json!({ "compression": "off" }),
        json!({ "cache": { "enabled": true } }),
        json!({ "trailing_slash": "never" }),
    ];
    let all = futures::future::join_all(parts.clone().map(|part| set(&platform, Method::PATCH, part))).await;
    assert!(all.iter().all(|answer| answer.status == StatusCode::OK));
    let now = platform.get("/projects/shop/edge").await.body;
    assert_eq!((&now["compression"], &now["trailing_slash"]), (&json!("off"), &json!("never")));
    assert_eq!(now["cache"]["enabled"], true);
}

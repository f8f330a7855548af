use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::Platform;

#[tokio::test]
async fn a_name_is_taken_once_and_a_wrong_one_is_refused_with_a_right_one() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let taken = platform.post("/projects", json!({ "name": "shop" })).await;
    assert_eq!((taken.status, taken.problem()), (StatusCode::CONFLICT, "name_taken"));
    let wrong = platform.post("/projects", json!({ "name": "My Shop" })).await;
    assert_eq!(wrong.problem(), "invalid_request");
    assert!(wrong.body["detail"].as_str().unwrap().contains("`my-shop`"), "{}", wrong.body);
    let unknown = platform.post("/projects", json!({ "name": "b", "settings": { "rootdir": "x" } })).await;
    assert!(unknown.body["detail"].as_str().unwrap().contains("root_dir"), "{}", unknown.body);
}

#[tokio::test]
async fn a_deployments_host_can_not_be_taken_by_a_project() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    let host = live.deployment_url.host_str().unwrap().to_owned();
    let label = host.split('.').next().unwrap();
    let taken = platform.post("/projects", json!({ "name": label })).await;
    assert_eq!(taken.problem(), "name_taken");
}

#[tokio::test]
async fn every_project_is_on_exactly_one_page() {
    let platform = Platform::start().await;
    let names: Vec<String> = (0..7).map(|n| format!("p{n}")).collect();
    for name in &names {
        platform.project(name).await;
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = platform.get(&format!("/projects?limit=3&cursor={cursor}")).await.body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!(seen, names);
    assert_eq!(platform.get("/projects?limit=0").await.problem(), "invalid_request");
    assert_eq!(platform.get("/projects?limit=x").await.problem(), "invalid_request");
}

#[tokio::test]
async fn settings_change_field_by_field() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let patch = |body| platform.call(Method::PATCH, "/projects/shop", Some(body));
    patch(json!({ "root_dir": "apps/web" })).await;
    let project = patch(json!({ "output_dir": "out" })).await.body;
    assert_eq!(project["settings"], json!({ "root_dir": "apps/web", "output_dir": "out" }));
}

#[tokio::test]
async fn a_deleted_project_is_gone_with_its_deployments_and_logs() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    let waiting = platform.ask("shop").await;
    let gone = platform.call(Method::DELETE, "/projects/shop", None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for path in
        ["/projects/shop".to_owned(), format!("/deployments/{}", live.id), format!("/deployments/{}", waiting.id)]
    {
        assert_eq!(platform.get(&path).await.problem(), "not_found");
    }
    platform.project("shop").await;
    assert!(platform.get("/projects/shop/deployments").await.body["items"].as_array().unwrap().is_empty());
}

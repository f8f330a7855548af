use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::Platform;

#[tokio::test]
async fn the_document_is_served_and_describes_every_operation() {
    let platform = Platform::start().await;
    let answer = Platform::send(platform.request(Method::GET, "/api/v1/openapi.json")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations: Vec<(String, Value)> = answer.body["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (format!("{method} {path}"), operation.clone()))
        })
        .collect();
    assert!(operations.len() >= 15, "{}", operations.len());
    for (name, operation) in &operations {
        assert!(operation["summary"].is_string(), "{name} says nothing of itself");
        assert!(operation["responses"].as_object().is_some_and(|r| !r.is_empty()), "{name}");
    }
    // Every reference leads somewhere.
    let text = answer.body.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(answer.body["components"]["schemas"][name].is_object(), "{name}");
    }
}

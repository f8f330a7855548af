use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Platform, TOKEN};

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

#[tokio::test]
async fn the_document_says_how_every_operation_can_fail() {
    let platform = Platform::start().await;
    let answer = Platform::send(platform.request(Method::GET, "/api/v1/openapi.json")).await;
    let items = answer.body["paths"].as_object().unwrap().values();
    let operations: Vec<&Value> = items.flat_map(|item| item.as_object().unwrap().values()).collect();
    let ids: BTreeSet<_> = operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len(), "{ids:?}");
    for operation in operations {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("401"), "{operation}");
        assert_eq!(responses.contains_key("422"), operation["requestBody"].is_object(), "{operation}");
        for (status, response) in responses {
            assert_ne!(response["description"].as_str().unwrap(), "", "{status} of {operation}");
            let failure = status.starts_with(['4', '5']);
            assert_eq!(failure, response["content"]["application/problem+json"].is_object(), "{status} of {operation}");
        }
    }
}

#[tokio::test]
async fn requests_that_reach_no_handler_are_answered_with_problems_too() {
    let platform = Platform::start().await;
    for (method, path, status, word) in [
        (Method::GET, "/api/v1/projects/%ff", 400, "invalid_request"),
        (Method::PUT, "/api/v1/projects", 405, "method_not_allowed"),
        (Method::GET, "/api/v1/nothing", 404, "not_found"),
    ] {
        let answer = Platform::send(platform.request(method, path).bearer_auth(TOKEN)).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.body["type"].as_str().unwrap().ends_with(word), "{}", answer.body);
    }
}

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::Platform;

#[tokio::test]
async fn values_reach_the_deployer_and_are_told_to_nobody() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let set = json!({ "variables": { "API_KEY": "hunter22", "MODE": "fast" } });
    let answer = platform.call(Method::PUT, "/projects/shop/env", Some(set)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let listed = platform.get("/projects/shop/env").await.body;
    assert!(!listed.to_string().contains("hunter22"));
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["API_KEY", "MODE"]);
    assert_eq!(platform.call(Method::DELETE, "/projects/shop/env/MODE", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(platform.call(Method::DELETE, "/projects/shop/env/MODE", None).await.problem(), "not_found");
    platform.ask("shop").await;
    let (_, work) = platform.claim().await;
    let env: Vec<_> = work.env.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
    assert_eq!(env, [("API_KEY", "hunter22")]);

    let platform = platform.restart().await;
    for file in std::fs::read_dir(platform.folder()).unwrap().flatten().filter(|f| f.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!bytes.windows(8).any(|w| w == b"hunter22"), "{}", file.path().display());
    }
}

#[tokio::test]
async fn names_that_cannot_be_set_are_refused_and_nothing_is_set() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    for name in ["1A", "A-B", "", "PATH", "PORT", "A=B"] {
        let set = json!({ "variables": { "GOOD": "x", name: "y" } });
        let answer = platform.call(Method::PUT, "/projects/shop/env", Some(set)).await;
        assert_eq!(answer.problem(), "invalid_request", "{name}");
    }
    assert!(platform.get("/projects/shop/env").await.body["items"].as_array().unwrap().is_empty());
}

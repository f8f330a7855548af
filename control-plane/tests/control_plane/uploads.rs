use reqwest::StatusCode;
use serde_json::json;

use crate::support::{MAX_UPLOAD, Platform};

#[tokio::test]
async fn an_upload_url_takes_one_archive_up_to_its_limit() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let upload = platform.post("/uploads", json!({})).await;
    assert_eq!(upload.status, StatusCode::CREATED);
    assert_eq!(upload.body["max_bytes"], MAX_UPLOAD);
    let url = upload.body["url"].as_str().unwrap().to_owned();
    let source = json!({ "source": { "type": "upload", "upload": upload.body["id"] } });
    let early = platform.post("/projects/shop/deployments", source.clone()).await;
    assert_eq!(early.problem(), "upload_missing");

    let client = reqwest::Client::new();
    let too_large = vec![0_u8; usize::try_from(MAX_UPLOAD).unwrap() + 1];
    let refused = Platform::send(client.put(&url).body(too_large)).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"));
    assert_eq!(platform.post("/projects/shop/deployments", source.clone()).await.problem(), "upload_missing");

    let forged = Platform::send(client.put(url.replace("signature=", "signature=0")).body("x")).await;
    assert_eq!(forged.problem(), "upload_url_invalid");
    assert_eq!(client.put(&url).body("PK").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(platform.post("/projects/shop/deployments", source).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_repository_is_fetched_over_http_only() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    for url in ["file:///etc", "ssh://git@host/repo", "ext::sh", "git://host/repo"] {
        let source = json!({ "source": { "type": "git", "url": url } });
        let answer = platform.post("/projects/shop/deployments", source).await;
        assert_eq!(answer.problem(), "invalid_request", "{url}");
    }
}

#[tokio::test]
async fn a_repositorys_login_reaches_the_deployer_and_nobody_else() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let url = "https://bot:hunter22@host.example/repo.git";
    let asked = platform.post("/projects/shop/deployments", json!({ "source": { "type": "git", "url": url } })).await;
    assert_eq!(asked.body["source"]["url"], "https://host.example/repo.git");
    let (lease, work) = platform.claim().await;
    assert!(format!("{:?}", work.source).contains("hunter22"));
    platform.queue.complete(&lease).await.unwrap();
    let id = asked.body["id"].as_str().unwrap();
    let again = platform.post(&format!("/deployments/{id}/redeploy"), json!({})).await;
    assert!(!again.body.to_string().contains("hunter22"));
    let (_, work) = platform.claim().await;
    assert!(format!("{:?}", work.source).contains("hunter22"));
}

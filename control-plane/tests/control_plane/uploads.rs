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
async fn an_upload_that_was_deployed_can_be_changed_by_nobody() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let upload = platform.post("/uploads", json!({})).await.body;
    let (id, url) = (upload["id"].as_str().unwrap(), upload["url"].as_str().unwrap());
    let client = reqwest::Client::new();
    let source = json!({ "source": { "type": "upload", "upload": id } });
    for archive in ["PK one", "PK two"] {
        assert_eq!(client.put(url).body(archive).send().await.unwrap().status(), StatusCode::OK);
        let asked = platform.post("/projects/shop/deployments", source.clone()).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED);
        assert_eq!(platform.object(&format!("sources/{id}.zip")).unwrap(), b"PK one");
        assert_eq!(platform.object(&format!("uploads/{id}.zip")), None);
    }
}

#[tokio::test]
async fn uploads_that_nobody_deploys_are_few_and_the_next_one_is_told_when() {
    let platform = Platform::try_start(|config| config.max_pending_uploads = 2).await.unwrap();
    platform.project("shop").await;
    let first = platform.upload().await;
    platform.upload().await;
    let refused = platform.post("/uploads", json!({})).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::TOO_MANY_REQUESTS, "too_many_uploads"));
    assert!(refused.body["detail"].as_str().unwrap().contains("try again after 20"), "{}", refused.body);
    let source = json!({ "source": { "type": "upload", "upload": first } });
    assert_eq!(platform.post("/projects/shop/deployments", source).await.status, StatusCode::ACCEPTED);
    platform.upload().await;
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

use common::certificate::Certificate;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::{Answer, FEED, FEED_TOKEN, Platform, TOKEN};

fn names(certificates: &Value) -> Vec<String> {
    let named = |certificate: &Value| certificate["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = certificates.as_array().unwrap().iter().map(named).collect();
    names.sort();
    names
}

async fn fetch(platform: &Platform, id: &str, token: &str) -> Answer {
    let path = format!("/internal/v1/certificates/{id}");
    Platform::send(platform.request(Method::GET, &path).bearer_auth(token)).await
}

#[tokio::test]
async fn every_host_has_a_certificate_whose_contents_stay_the_same() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    assert!(edge.apply().await["certificates"].as_array().unwrap().is_empty());
    let (live, delta) = tokio::join!(platform.deploy("shop"), edge.apply());
    let own = live.deployment_url.host_str().unwrap().to_owned();
    assert_eq!(names(&delta["certificates"]), [own, "shop.sites.localhost".to_owned()]);
    let id = delta["certificates"].as_array().unwrap().iter().find(|c| c["name"] == "shop.sites.localhost").unwrap();
    let id = id["id"].as_str().unwrap().to_owned();

    let first = fetch(&platform, &id, FEED_TOKEN).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.body);
    let certificate: Certificate = serde_json::from_value(first.body.clone()).unwrap();
    assert_eq!(certificate.id, id);
    assert!(certificate.chain_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(certificate.key_pem.reveal().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(fetch(&platform, &id, FEED_TOKEN).await.body, first.body);
    assert_eq!(fetch(&platform, &id, TOKEN).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(fetch(&platform, "unknown", FEED_TOKEN).await.status, StatusCode::NOT_FOUND);

    let platform = platform.restart().await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    let snapshot = edge.apply().await;
    assert_eq!(names(&snapshot["certificates"]), names(&delta["certificates"]));
    assert!(snapshot["certificates"].to_string().contains(&id), "the same certificate after a restart");
    assert_eq!(fetch(&platform, &id, FEED_TOKEN).await.body, first.body);

    let (_, gone) = tokio::join!(platform.call(Method::DELETE, "/projects/shop", None), edge.apply());
    assert_eq!(gone["certificates_removed"].as_array().unwrap().len(), 2);
    assert_eq!(fetch(&platform, &id, FEED_TOKEN).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_authoritys_certificate_is_there_for_whoever_wants_to_trust_it() {
    let platform = Platform::start().await;
    let pem = Platform::send(platform.request(Method::GET, "/ca.pem")).await;
    assert_eq!(pem.media_type, "application/x-pem-file");
    assert_eq!(pem.body.as_str().unwrap(), std::fs::read_to_string(platform.folder().join("ca.pem")).unwrap());
}

#[tokio::test]
async fn all_edges_get_the_same_ticket_keys_also_after_a_restart() {
    let platform = Platform::start().await;
    let first = platform.socket(FEED, FEED_TOKEN).await.next().await.unwrap();
    let second = platform.socket(FEED, FEED_TOKEN).await.next().await.unwrap();
    assert_eq!(first["ticket_keys"].as_array().unwrap().len(), 2);
    assert_eq!(first["ticket_keys"], second["ticket_keys"]);
    let platform = platform.restart().await;
    let later = platform.socket(FEED, FEED_TOKEN).await.next().await.unwrap();
    assert_eq!(later["ticket_keys"], first["ticket_keys"]);
}

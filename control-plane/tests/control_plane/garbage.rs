use std::time::Duration;

use common::manifest::{File, Manifest, blob_key, manifest_key};
use control_plane::GarbageConfig;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::Platform;

const EVERY: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn what_a_deployment_names_stays_until_its_project_is_deleted() {
    let change = |config: &mut control_plane::Config| {
        config.garbage = GarbageConfig { grace: Duration::ZERO, every: EVERY };
    };
    let platform = Platform::try_start(change).await.unwrap();
    platform.project("shop").await;
    let deployment = platform.ask("shop").await;
    let (named, loose) = ("a".repeat(64), "b".repeat(64));
    platform.put_object(&blob_key(&named, None), b"named");
    platform.put_object(&blob_key(&loose, None), b"loose");
    let file = File {
        hash: named.clone(),
        size: 5,
        content_type: "text/plain".to_owned(),
        variants: Vec::new(),
        fingerprinted: false,
    };
    let manifest = Manifest::of([("/a.txt".to_owned(), file)].into());
    platform.put_object(&manifest_key(&deployment.id), &serde_json::to_vec(&manifest).unwrap());

    let look = platform.post("/garbage", json!({ "dry_run": true })).await;
    assert_eq!((look.status, &look.body["deleted"]), (StatusCode::OK, &json!(1)), "{}", look.body);
    assert_eq!(look.body["examples"], json!([loose]));
    assert!(platform.object(&blob_key(&loose, None)).is_some());
    let pass = platform.post("/garbage", json!({})).await;
    assert_eq!((&pass.body["deleted"], &pass.body["manifests"]), (&json!(1), &json!(1)), "{}", pass.body);
    assert!(platform.object(&blob_key(&loose, None)).is_none());
    assert!(platform.object(&blob_key(&named, None)).is_some());

    let gone = platform.call(Method::DELETE, "/projects/shop", None).await;
    assert!(gone.status.is_success(), "{}", gone.body);
    platform.post("/garbage", json!({})).await;
    assert!(platform.object(&blob_key(&named, None)).is_none());
}

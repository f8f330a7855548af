//! URLs that are signed for one upload each.

use std::time::Duration;

use common::blob::{self, SignedPut};
use testkit::azurite::Azurite;

use crate::kit;

async fn put(signed: &SignedPut, bytes: &'static str) -> u16 {
    let mut request = reqwest::Client::new().put(signed.url.clone()).body(bytes);
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_signed_url_takes_one_object_and_gives_none() {
    let azurite = Azurite::start();
    let blob = kit::with_key(&azurite);
    blob.make_container().await.unwrap();
    let store = blob.port();
    let signed = blob.uploads().unwrap().sign_put("uploads/a.zip", Duration::from_secs(60)).await.unwrap();
    assert_eq!(put(&signed, "zip").await, 201);
    assert_eq!(blob::get(&store, "uploads/a.zip").await.unwrap(), "zip");
    let client = reqwest::Client::new();
    assert_eq!(client.get(signed.url.clone()).send().await.unwrap().status(), 403, "it does not read");
    assert_eq!(client.delete(signed.url.clone()).send().await.unwrap().status(), 403, "it does not delete");
    let mut other = signed.clone();
    other.url.set_path(&signed.url.path().replace("a.zip", "b.zip"));
    assert_eq!(put(&other, "zip").await, 403, "it is for one name");
}

#[tokio::test]
async fn a_signed_url_ends() {
    let azurite = Azurite::start();
    let blob = kit::with_key(&azurite);
    blob.make_container().await.unwrap();
    let signed = blob.uploads().unwrap().sign_put("uploads/a.zip", Duration::ZERO).await.unwrap();
    assert_eq!(put(&signed, "zip").await, 403);
}

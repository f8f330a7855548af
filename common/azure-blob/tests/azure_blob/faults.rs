//! A store that is away, hangs, or asks to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use azure_blob::{Address, AzureBlob, Config, Credential};
use bytes::Bytes;
use common::blob;
use common::secret::Secret;
use testkit::azurite::{Azurite, KEY};

use crate::kit;

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_store_that_is_restarted() {
    let azurite = Azurite::start();
    let client = kit::with_key(&azurite);
    client.make_container().await.unwrap();
    let store = client.port();
    blob::put(&store, "kept", Bytes::from_static(b"before")).await.unwrap();
    azurite.stop();
    let writing = tokio::spawn({
        let store = store.clone();
        async move { blob::put(&store, "new", Bytes::from_static(b"after")).await }
    });
    azurite.begin();
    writing.await.unwrap().unwrap();
    assert_eq!(blob::get(&store, "new").await.unwrap(), "after");
    assert_eq!(blob::get(&store, "kept").await.unwrap(), "before");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_store_that_is_paused() {
    let azurite = Azurite::start();
    let client = kit::with_key(&azurite);
    client.make_container().await.unwrap();
    let store = client.port();
    azurite.pause();
    let writing = tokio::spawn({
        let store = store.clone();
        async move { blob::put(&store, "new", Bytes::from_static(b"after")).await }
    });
    tokio::task::yield_now().await;
    assert!(!writing.is_finished());
    azurite.resume();
    writing.await.unwrap().unwrap();
    assert_eq!(blob::get(&store, "new").await.unwrap(), "after");
}

#[tokio::test]
async fn a_store_that_asks_to_wait_is_asked_again_no_sooner() {
    const ASKED: Duration = Duration::from_secs(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback({
        let asked = Arc::clone(&asked);
        async move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", ASKED.as_secs().to_string())]),
            _ => (StatusCode::CREATED, [("etag", "\"1\"".to_owned())]),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/acme1", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let address = "azure://acme1/sites".parse::<Address>().unwrap().at(&endpoint).unwrap();
    let credential = Credential::SharedKey(Secret::new(KEY));
    let store = AzureBlob::open(Config { address, credential, ca_file: None }).unwrap().port();
    let began = Instant::now();
    blob::put(&store, "a", Bytes::from_static(b"x")).await.unwrap();
    assert!(began.elapsed() >= ASKED);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_error_shows_a_signature() {
    let azurite = Azurite::start_https();
    let store = kit::with_sas(&azurite);
    let missing = blob::get(&store.port(), "a").await.unwrap_err();
    azurite.stop();
    let away = store.make_container().await.unwrap_err();
    for error in [format!("{missing} {missing:?}"), format!("{away} {away:?}"), format!("{store:?}")] {
        assert!(!error.contains("sig=") || error.contains("sig=…"), "{error}");
    }
}

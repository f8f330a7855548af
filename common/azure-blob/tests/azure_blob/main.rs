//! The store on a real Azurite: with a key, a SAS and an identity.

#![allow(clippy::unwrap_used, clippy::panic)]

mod faults;
mod identity;
mod kit;
mod setup;
mod uploads;

use azure_blob::Made;
use common::blob::conformance;
use testkit::azurite::Azurite;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_the_store_conforms() {
    let azurite = Azurite::start();
    let blob = kit::with_key(&azurite);
    assert_eq!(blob.make_container().await.unwrap(), Made::Now);
    conformance(&blob.port()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_identity_and_with_a_sas_the_store_conforms() {
    let azurite = Azurite::start_https();
    let authority = identity::Authority::start().await;
    let blob = kit::with_identity(&azurite, &authority);
    assert_eq!(blob.make_container().await.unwrap(), Made::Now);
    conformance(&blob.port()).await.unwrap();
    assert_eq!(authority.asked(), 1, "a token is used until it ends");
    let blob = kit::with_sas(&azurite);
    conformance(&blob.port()).await.unwrap();
}

//! What is done once.

use azure_blob::{AzureBlob, AzureBlobError, Config, Credential, Made};
use common::secret::Secret;
use testkit::azurite::Azurite;

use crate::identity::Authority;
use crate::kit;

#[tokio::test]
async fn setting_up_twice_changes_nothing_the_second_time() {
    let azurite = Azurite::start();
    let blob = kit::with_key(&azurite);
    let missing = blob.check().await.unwrap_err();
    assert!(matches!(missing, AzureBlobError::NoContainer(_)), "{missing}");
    let origins = ["https://cloud.example".to_owned(), "https://admin.example".to_owned()];
    for made in [Made::Now, Made::Already] {
        assert_eq!(blob.make_container().await.unwrap(), made);
        assert_eq!(blob.allow_origins(&origins).await.unwrap(), made);
        blob.check().await.unwrap();
        blob.check_upload().await.unwrap();
    }
    assert_eq!(blob.allow_origins(&["https://third.example".to_owned()]).await.unwrap(), Made::Now);
    assert_eq!(blob.allow_origins(&origins).await.unwrap(), Made::Already);
}

#[tokio::test]
async fn an_identity_signs_uploads_and_a_sas_does_not() {
    let azurite = Azurite::start_https();
    let authority = Authority::start().await;
    let blob = kit::with_identity(&azurite, &authority);
    blob.make_container().await.unwrap();
    blob.check().await.unwrap();
    blob.check_upload().await.unwrap();
    let blob = kit::with_sas(&azurite);
    blob.check().await.unwrap();
    assert!(blob.uploads().is_none());
}

#[tokio::test]
async fn a_wrong_key_is_told_with_what_to_do() {
    let azurite = Azurite::start();
    let credential = Credential::SharedKey(Secret::new("d3Jvbmc="));
    let blob = AzureBlob::open(Config { address: kit::address(&azurite), credential, ca_file: None }).unwrap();
    let error = blob.make_container().await.unwrap_err().to_string();
    assert!(error.contains("check the key") && !error.contains("d3Jvbmc"), "{error}");
    let credential = Credential::SharedKey(Secret::new("not base64!"));
    let error = AzureBlob::open(Config { address: kit::address(&azurite), credential, ca_file: None }).unwrap_err();
    assert!(matches!(error, AzureBlobError::Config(_)), "{error}");
}

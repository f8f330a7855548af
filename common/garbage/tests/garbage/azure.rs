//! The adapters: a folder, and Azure Blob Storage.

use std::time::Duration;

use azure_blob::{Address, AzureBlob, Config, Credential};
use common::blob::ObjectStore;
use common::secret::Secret;
use testkit::azurite::{ACCOUNT, Azurite, KEY};
use url::Url;

use crate::world::World;

async fn garbage_goes(store: ObjectStore) {
    let world = World::in_real_time(store);
    let kept = world.deploy(&["both", "kept"]).await;
    let gone = world.deploy(&["both", "gone"]).await;
    world.database.forget(&gone);
    // The manifest, then what it named.
    for _ in 0..3 {
        world.collect(Duration::ZERO).await;
    }
    assert!(!world.has("gone").await && !world.has_variant("gone").await);
    assert!(world.lost(&[kept]).await.is_empty());
    world.deploy(&["gone"]).await;
    assert!(world.has("gone").await);
}

#[tokio::test]
async fn garbage_goes_from_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    garbage_goes(common::blob::open(&Url::from_directory_path(folder.path()).unwrap()).unwrap()).await;
}

#[tokio::test]
async fn garbage_goes_from_azure() {
    let azurite = Azurite::start();
    let address: Address = format!("azure://{ACCOUNT}/sites").parse().unwrap();
    let address = address.at(&azurite.endpoint().parse().unwrap()).unwrap();
    let credential = Credential::SharedKey(Secret::new(KEY));
    let blob = AzureBlob::open(Config { address, credential, ca_file: None }).unwrap();
    blob.make_container().await.unwrap();
    garbage_goes(blob.port()).await;
}

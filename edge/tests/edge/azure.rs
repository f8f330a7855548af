//! Sites in Azure Blob Storage.

use std::time::Duration;

use ::testkit::azurite::{ACCOUNT, Azurite, KEY};
use azure_blob::{Address, AzureBlob, Config, Credential};
use common::secret::Secret;

use crate::testkit::{World, field, file, noise};

/// Larger than what is kept whole.
const LARGE: usize = 3 << 20;

async fn world(azurite: &Azurite) -> World {
    let address: Address = format!("azure://{ACCOUNT}/sites").parse().unwrap();
    let address = address.at(&azurite.endpoint().parse().unwrap()).unwrap();
    let credential = Credential::SharedKey(Secret::new(KEY));
    let blob = AzureBlob::open(Config { address, credential, ca_file: None }).unwrap();
    blob.make_container().await.unwrap();
    World::start_before(|config| config.timeouts.store = Duration::from_secs(2), |_| blob.port()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_ranges_come_from_azure_and_what_is_not_there_is_told() {
    let azurite = Azurite::start();
    let world = world(&azurite).await;
    let large = noise(LARGE);
    world.site("blog", vec![file("/small.txt", "small"), file("/large.bin", large.clone())], false).await;
    for _ in 0..2 {
        assert_eq!(world.get("blog", "/small.txt").send().await.unwrap().text().await.unwrap(), "small");
        assert_eq!(world.get("blog", "/large.bin").send().await.unwrap().bytes().await.unwrap(), large);
    }
    for (path, range, wanted) in [
        ("/small.txt", "bytes=1-3", &b"mal"[..]),
        ("/large.bin", "bytes=2000000-2000099", &large[2_000_000..2_000_100]),
    ] {
        let part = world.get("blog", path).header("range", range).send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), wanted);
    }
    assert_eq!(world.get("blog", "/none.txt").send().await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_azure_is_away_warm_files_are_served_and_cold_ones_are_asked_for_later() {
    let azurite = Azurite::start();
    let world = world(&azurite).await;
    world
        .site("blog", vec![file("/hot.txt", "hot"), file("/cold.txt", "cold"), file("/other.txt", "other")], false)
        .await;
    assert_eq!(world.get("blog", "/hot.txt").send().await.unwrap().text().await.unwrap(), "hot");
    azurite.pause();
    let hung = world.get("blog", "/cold.txt").send().await.unwrap();
    assert_eq!((hung.status().as_u16(), field(&hung, "retry-after")), (503, "2"));
    assert_eq!(world.get("blog", "/hot.txt").send().await.unwrap().text().await.unwrap(), "hot");
    azurite.resume();
    assert_eq!(world.get("blog", "/cold.txt").send().await.unwrap().text().await.unwrap(), "cold");
    azurite.stop();
    let away = world.get("blog", "/other.txt").send().await.unwrap();
    assert_eq!((away.status().as_u16(), field(&away, "retry-after")), (503, "2"));
    assert_eq!(world.get("blog", "/hot.txt").send().await.unwrap().text().await.unwrap(), "hot");
    azurite.begin();
    assert_eq!(world.get("blog", "/other.txt").send().await.unwrap().text().await.unwrap(), "other");
}

//! Publishing again, publishing interrupted.

use common::id::DeploymentId;
use common::manifest::manifest_key;
use publish::{Limits, Site, publish};

use crate::world::World;

fn site() -> World {
    let script = "console.log('hello, hello, hello');\n".repeat(100);
    World::with([("index.html", "<script src=app.js></script>"), ("app.js", script.as_str()), ("copy.js", &script)])
}

#[tokio::test]
async fn an_unchanged_site_stores_nothing_again() {
    let world = site();
    let (first, manifest, _) = world.publish_after(None).await;
    let blobs = world.blobs();
    // With the manifest before, and without one: by looking into the store.
    for previous in [Some(&first), None] {
        let (_, again, published) = world.publish_after(previous).await;
        assert_eq!((published.files, published.new_files, published.new_bytes), (3, 0, 0));
        assert_eq!(again, manifest);
    }
    assert_eq!(world.blobs(), blobs);
}

#[tokio::test]
async fn only_what_changed_is_stored() {
    let world = site();
    let (first, ..) = world.publish_after(None).await;
    world.write("index.html", "<script src=app.js></script>!");
    let before = world.blobs();
    let (_, manifest, published) = world.publish_after(Some(&first)).await;
    assert_eq!((published.new_files, published.new_bytes), (1, 29));
    assert_eq!(manifest.files["/app.js"].variants.len(), 3);
    let after = world.blobs();
    assert!(before.iter().all(|(path, written)| after[path] == *written));
    assert_eq!(after.len(), before.len() + 1);
}

#[tokio::test]
async fn what_the_manifest_before_lists_is_not_looked_for() {
    let world = site();
    let (first, manifest, _) = world.publish_after(None).await;
    std::fs::remove_dir_all(world.stored("blobs")).unwrap();
    let (_, again, published) = world.publish_after(Some(&first)).await;
    assert_eq!((again, published.new_files), (manifest, 0));
}

#[tokio::test]
async fn a_manifest_before_that_is_lost_or_broken_is_no_obstacle() {
    let world = site();
    let broken = DeploymentId::new();
    std::fs::create_dir_all(world.stored("manifests")).unwrap();
    std::fs::write(world.stored(&manifest_key(&broken)), "{\"version\":").unwrap();
    for previous in [&DeploymentId::new(), &broken] {
        world.publish_after(Some(previous)).await;
    }
}

#[tokio::test]
async fn variants_without_their_blob_are_written_again() {
    let world = site();
    let (manifest, _) = world.publish().await;
    let hash = &manifest.files["/app.js"].hash;
    std::fs::remove_file(world.stored(&common::manifest::blob_key(hash, None))).unwrap();
    let (again, published) = world.publish().await;
    assert_eq!(published.new_files, 1);
    assert_eq!(again, manifest);
    assert_eq!(world.blob(hash, None).await, std::fs::read(world.site("app.js")).unwrap());
}

#[tokio::test]
async fn a_manifest_is_written_once() {
    let world = site();
    let (deployment, manifest, _) = world.publish_after(None).await;
    world.write("late.html", "a second worker's build");
    let folder = world.site("");
    let again = Site { folder: &folder, single_page: true, deployment: &deployment, previous: None };
    publish(&world.store, again, &Limits::default()).await.unwrap();
    assert_eq!(world.manifest(&deployment).await, Some(manifest));
}

#[tokio::test]
async fn a_publish_that_is_dropped_leaves_no_manifest() {
    let (world, deployment) = (site(), DeploymentId::new());
    let folder = world.site("");
    let site = Site { folder: &folder, single_page: true, deployment: &deployment, previous: None };
    let limits = Limits::default();
    tokio::select! {
        biased;
        _ = publish(&world.store, site, &limits) => unreachable!("it reads files first"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(world.manifest(&deployment).await, None);
}

#[tokio::test]
async fn a_store_that_fails_is_told_as_passing_and_leaves_no_manifest() {
    let world = site();
    std::fs::write(world.stored("blobs"), "no folder").unwrap();
    let error = world.refused(&Limits::default()).await;
    assert_eq!(error.code(), "store_failed");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_publish_can_run_on_any_thread() {
    let world = site();
    let published = tokio::spawn(async move {
        let (deployment, folder) = (DeploymentId::new(), world.site(""));
        let site = Site { folder: &folder, single_page: true, deployment: &deployment, previous: None };
        publish(&world.store, site, &Limits::default()).await.map(|p| p.files)
    });
    assert_eq!(published.await.unwrap().unwrap(), 3);
}

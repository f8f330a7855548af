//! What a pass finds and does.

use std::time::Duration;

use common::blob;
use common::id::UploadId;
use common::manifest::manifest_key;
use garbage::GarbageError;

use crate::world::{GRACE, World, settings};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(start_paused = true)]
async fn what_nothing_names_is_marked_waits_and_goes_and_what_is_named_stays() {
    let world = World::in_memory();
    let kept = world.deploy(&["both", "kept"]).await;
    let gone = world.deploy(&["both", "gone"]).await;
    let report = world.collect(GRACE).await;
    assert_eq!((report.manifests, report.named, report.waiting, report.deleted), (2, 3, 0, 0));

    world.database.forget(&gone);
    assert_eq!(world.collect(GRACE).await.waiting, 1, "its manifest waits");
    tokio::time::advance(GRACE).await;
    let report = world.collect(GRACE).await;
    assert_eq!((report.deleted, report.waiting), (1, 0));
    assert!(world.has("gone").await, "what it named waits in its turn");
    let report = world.collect(GRACE).await;
    assert_eq!((report.deleted, report.waiting), (0, 1));
    assert!(report.next_due.is_some());
    tokio::time::advance(GRACE - DAY).await;
    assert_eq!(world.collect(GRACE).await.deleted, 0);
    tokio::time::advance(DAY).await;
    let report = world.collect(GRACE).await;
    assert_eq!((report.deleted, report.deleted_bytes, report.manifests), (1, 8, 1));
    assert!(!world.has("gone").await && !world.has_variant("gone").await);
    assert!(world.has("both").await && world.has_variant("both").await && world.has("kept").await);
    assert!(world.lost(&[kept]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_named_again_is_marked_no_longer() {
    let world = World::in_memory();
    world.put("page").await;
    assert_eq!(world.collect(GRACE).await.waiting, 1);
    tokio::time::advance(GRACE * 2).await;
    let id = world.deploy(&["page"]).await;
    assert_eq!(world.collect(GRACE).await.deleted, 0);
    world.database.forget(&id);
    blob::delete(&world.store, &manifest_key(&id)).await.unwrap();
    assert_eq!(world.collect(GRACE).await.waiting, 1, "it waits from the beginning");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let world = World::in_memory();
    world.put("page").await;
    world.collect(GRACE).await;
    tokio::time::advance(GRACE).await;
    for _ in 0..2 {
        let report = garbage::collect(&world.store, &world.database, &settings(GRACE), true).await.unwrap();
        assert_eq!((report.deleted, report.dry_run), (1, true));
        assert!(world.has("page").await);
    }
    assert_eq!(world.collect(GRACE).await.deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn archives_that_are_no_source_go_after_a_day_at_least() {
    let world = World::in_memory();
    let (named, gone, pending) = (UploadId::new(), UploadId::new(), UploadId::new());
    let keys = [format!("sources/{named}.zip"), format!("sources/{gone}.zip"), format!("uploads/{pending}.zip")];
    for key in &keys {
        blob::put(&world.store, key, "zip".into()).await.unwrap();
    }
    world.database.name_source(&named);
    let report = world.collect(Duration::ZERO).await;
    assert_eq!((report.waiting, report.deleted), (2, 0));
    // The times of objects are the system's.
    tokio::time::advance(DAY * 2).await;
    assert_eq!(world.collect(Duration::ZERO).await.deleted, 2);
    assert!(blob::size(&world.store, &keys[0]).await.unwrap().is_some());
    assert!(blob::size(&world.store, &keys[1]).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_in_a_store_of_another_installation() {
    let world = World::in_memory();
    world.database.is_called("one");
    world.put("page").await;
    world.collect(Duration::ZERO).await;
    world.put("page").await;
    world.database.is_called("two");
    let refused = garbage::collect(&world.store, &world.database, &settings(Duration::ZERO), false).await.unwrap_err();
    assert!(matches!(refused, GarbageError::Foreign { .. }), "{refused}");
    assert!(world.has("page").await);
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_can_not_be_read_keeps_everything() {
    let world = World::in_memory();
    let id = world.deploy(&["page"]).await;
    blob::put(&world.store, &manifest_key(&id), "{".into()).await.unwrap();
    let error = garbage::collect(&world.store, &world.database, &settings(Duration::ZERO), false).await.unwrap_err();
    assert!(error.to_string().contains(&manifest_key(&id)), "{error}");
    assert!(world.has("page").await);
}

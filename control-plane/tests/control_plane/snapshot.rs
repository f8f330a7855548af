//! A database as a file, taken while it is used.

use common::api::DeploymentStatus;
use control_plane::snapshot::snapshot;
use reqwest::Method;
use serde_json::json;
use testkit::postgres::Postgres;

use crate::support::{Platform, database};

#[tokio::test]
async fn a_snapshot_of_sqlite_has_what_was_there_at_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let url = database::sqlite(folder.path());
    of(Platform::start_in(folder, url).await).await;
}

#[tokio::test]
async fn a_snapshot_of_postgres_is_the_same_file() {
    of(Platform::start_on(Postgres::shared().create_database()).await).await;
}

async fn of(platform: Platform) {
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    platform.call(Method::PUT, "/projects/shop/env", Some(json!({ "variables": { "SECRET": "geheim" } }))).await;
    let env = platform.get("/projects/shop/env").await.body;
    let building = platform.ask("shop").await;
    platform.claim().await;

    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("a copy.sqlite");
    let copied = snapshot(platform.database_url(), &file).await.unwrap();
    let rows = |table: &str| copied.iter().find(|c| c.table == table).unwrap().rows;
    assert_eq!((rows("projects"), rows("deployments"), rows("env_variables")), (1, 2, 1));
    let again = snapshot(platform.database_url(), &file).await.unwrap_err().to_string();
    assert!(again.contains("is there already"), "{again}");

    // What came later is not in it.
    platform.project("later").await;
    let folder = platform.stop().await;
    std::fs::rename(&file, folder.path().join("db")).unwrap();
    let url = database::sqlite(folder.path());
    let restored = Platform::start_in(folder, url).await;
    assert_eq!(restored.get("/projects/later").await.status, 404);
    assert_eq!(restored.read(&live.id).await.status, DeploymentStatus::Live);
    assert_eq!(restored.get("/projects/shop/env").await.body, env);
    // What was being built begins anew.
    let (_, work) = restored.claim().await;
    assert_eq!(work.claim.deployment, building.id);
    assert_eq!(work.env["SECRET"].reveal(), "geheim");
}

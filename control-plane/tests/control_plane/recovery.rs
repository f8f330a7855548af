use common::api::DeploymentStatus;
use common::bus::Topic;
use common::ledger::Claim;
use common::revision::RevisionStatus;
use reqwest::Method;
use serde_json::json;

use crate::support::Platform;

#[tokio::test]
async fn what_waited_and_what_was_built_when_the_platform_died_is_built_after_it_is_back() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    let building = platform.ask("shop").await;
    let (_lease, _) = platform.claim().await;
    let waiting = platform.ask("shop").await;
    // The queue is in memory: it is gone with the process.
    let platform = platform.restart().await;
    assert_eq!(platform.read(&live.id).await.status, DeploymentStatus::Live);
    let (lease, work) = platform.claim().await;
    assert_eq!(work.claim.deployment, building.id);
    platform.queue.complete(&lease).await.unwrap();
    let (_, work) = platform.claim().await;
    assert_eq!(work.claim.deployment, waiting.id);
}

#[tokio::test]
async fn a_deployment_that_takes_its_deployer_down_again_and_again_is_given_up() {
    let mut platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    for _ in 0..3 {
        platform.claim().await;
        platform = platform.restart().await;
    }
    let given_up = platform.read(&asked.id).await;
    assert_eq!(given_up.status, DeploymentStatus::Failed);
    assert_eq!(given_up.reason.unwrap().code, "worker_lost");
}

#[tokio::test]
async fn a_log_that_a_crash_left_open_behind_an_ended_deployment_is_ended() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    // As when the process dies after it stored the end, and before it ended the log.
    platform.bus.reopen(&Topic::build(live.id.clone())).await.unwrap();
    let platform = platform.restart().await;
    for _ in 0..2 {
        let page = platform.get(&format!("/deployments/{}/logs", live.id)).await.body;
        assert_eq!(page["finished"], true);
        assert_eq!(page["records"].as_array().unwrap().len(), 2, "the last line is said once: {page}");
    }
}

#[tokio::test]
async fn a_foreign_master_key_fails_what_needs_its_secrets_and_nothing_else() {
    let platform = Platform::start().await;
    platform.project("api").await;
    platform.project("blog").await;
    platform.call(Method::PUT, "/projects/api/env", Some(json!({ "variables": { "KEY": "hunter22" } }))).await;
    let app = platform.deploy_app("api", "api@sha256:1", "127.0.0.1:4001".parse().unwrap()).await;
    let other = platform.deploy_app("blog", "blog@sha256:1", "127.0.0.1:4002".parse().unwrap()).await;
    std::fs::remove_file(platform.folder().join("master.key")).unwrap();
    let platform = platform.restart().await;
    let ledger = platform.ledger();

    let asked = platform.ask("api").await;
    assert!(ledger.claim(&Claim::new(asked.id.clone()), "none").await.unwrap().is_none());
    let failed = platform.read(&asked.id).await;
    assert_eq!(failed.status, DeploymentStatus::Failed);
    assert!(failed.reason.unwrap().message.contains("restore the key file"));
    assert!(platform.bus.read(&Topic::build(asked.id), 1).await.unwrap().finished);

    let mut wanted = ledger.wanted_apps().await.unwrap();
    wanted.sort();
    assert_eq!(wanted, [app.id.clone(), other.id.clone()]);
    assert!(ledger.wanted_app(&other.id).await.unwrap().is_some());
    ledger.wanted_app(&app.id).await.unwrap_err();
    let revision = platform.read(&app.id).await.revision;
    assert!(
        matches!(&revision, Some(RevisionStatus::Restarting { reason, .. }) if reason.contains("restore the key file")),
        "{revision:?}"
    );
}

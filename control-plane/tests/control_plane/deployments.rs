use std::net::SocketAddr;

use common::api::DeploymentStatus;
use common::deployment::{Failure, Kind};
use common::ledger::{Facts, LedgerError, Output};
use common::revision::RevisionStatus;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Platform, until, within};

#[tokio::test]
async fn a_deployment_goes_from_queued_to_live_and_each_state_is_told_as_it_is() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    assert_eq!(asked.status, DeploymentStatus::Queued);
    assert!(asked.reason.unwrap().message.contains("it is the next"));
    let second = platform.ask("shop").await;
    assert!(second.reason.unwrap().message.contains("the deployment of this project that is ahead"));
    let third = platform.ask("shop").await;
    assert!(third.reason.unwrap().message.contains("2 deployments of this project"));
    platform.project("blog").await;
    let other = platform.ask("blog").await;
    assert!(other.reason.unwrap().message.contains("free deployer; 3 deployments are ahead"));

    let ledger = platform.ledger();
    let (_, work) = platform.claim().await;
    assert_eq!(work.claim.deployment, asked.id);
    assert_eq!(platform.read(&asked.id).await.status, DeploymentStatus::Building);
    let facts = Facts { kind: Some(Kind::Static), framework: Some("Vite (React)".to_owned()), commit: None };
    ledger.facts(&work.claim, facts).await.unwrap();
    ledger.built(&work.claim).await.unwrap();
    assert_eq!(platform.read(&asked.id).await.status, DeploymentStatus::Publishing);
    assert!(ledger.succeeded(&work.claim, Output::Static).await.unwrap());
    let live = platform.read(&asked.id).await;
    assert_eq!(live.status, DeploymentStatus::Live);
    assert_eq!(live.framework.as_deref(), Some("Vite (React)"));
    assert_eq!(live.isolation.as_deref(), Some("bubblewrap"));
    assert_eq!(live.url.as_str(), "http://shop.sites.localhost:8080/");
    assert!(live.deployment_url.host_str().unwrap().starts_with("shop-"));
    assert!(live.finished_at >= live.started_at && live.started_at >= Some(live.created_at));
}

#[tokio::test]
async fn a_failed_build_leaves_the_previous_deployment_live() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let good = platform.deploy("shop").await;
    let bad = platform.ask("shop").await;
    let (lease, work) = platform.claim().await;
    platform.ledger().failed(&work.claim, Failure::new("build_failed", "`npm run build` failed.")).await.unwrap();
    platform.queue.complete(&lease).await.unwrap();
    let bad = platform.read(&bad.id).await;
    assert_eq!(bad.status, DeploymentStatus::Failed);
    assert_eq!(bad.reason.unwrap().code, "build_failed");
    assert_eq!(platform.read(&good.id).await.status, DeploymentStatus::Live);
}

#[tokio::test]
async fn an_older_build_that_ends_late_does_not_replace_a_newer_one() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let older = platform.ask("shop").await;
    let ledger = platform.ledger();
    let early = platform.claim_of(&older.id).await.claim;
    ledger.built(&early).await.unwrap();
    let newer = platform.ask("shop").await;
    let late = platform.claim_of(&newer.id).await.claim;
    ledger.built(&late).await.unwrap();
    assert!(ledger.succeeded(&late, Output::Static).await.unwrap());
    assert!(!ledger.succeeded(&early, Output::Static).await.unwrap());
    assert_eq!(platform.read(&newer.id).await.status, DeploymentStatus::Live);
    let older = platform.read(&older.id).await;
    assert_eq!(older.status, DeploymentStatus::Ready);
    assert_eq!(older.reason.unwrap().code, "not_live");
}

#[tokio::test]
async fn a_rollback_goes_to_the_one_before_or_to_the_one_named() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let nothing = platform.post("/projects/shop/rollback", json!({})).await;
    assert_eq!(nothing.problem(), "nothing_to_roll_back_to");
    let (one, two, three) =
        (platform.deploy("shop").await, platform.deploy("shop").await, platform.deploy("shop").await);
    let back = platform.post("/projects/shop/rollback", json!({})).await;
    assert_eq!((back.status, &back.body["id"]), (StatusCode::OK, &json!(two.id)));
    let further = platform.post("/projects/shop/rollback", json!({})).await;
    assert_eq!(further.body["id"], json!(one.id));
    let forth = platform.post("/projects/shop/rollback", json!({ "deployment": three.id })).await;
    assert_eq!(forth.body["status"], "live");
    assert_eq!(platform.read(&one.id).await.status, DeploymentStatus::Ready);

    platform.project("other").await;
    let foreign = platform.post("/projects/other/rollback", json!({ "deployment": one.id })).await;
    assert_eq!(foreign.problem(), "not_found");
    let waiting = platform.ask("shop").await;
    let early = platform.post("/projects/shop/rollback", json!({ "deployment": waiting.id })).await;
    assert_eq!(early.problem(), "not_ready");
}

#[tokio::test]
async fn a_canceled_deployment_stops_its_deployer_and_takes_no_more_reports() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    let (lease, work) = platform.claim().await;
    let canceled = platform.post(&format!("/deployments/{}/cancel", asked.id), json!({})).await;
    assert_eq!(canceled.body["status"], "canceled");
    within(lease.canceled.cancelled()).await;
    let report = platform.ledger().built(&work.claim).await;
    assert!(matches!(report, Err(LedgerError::NotYours(_))));
    let again = platform.post(&format!("/deployments/{}/cancel", asked.id), json!({})).await;
    assert_eq!(again.body["status"], "canceled");
}

#[tokio::test]
async fn a_redeploy_builds_the_same_source_with_the_present_settings() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let first = platform.deploy("shop").await;
    platform.call(reqwest::Method::PATCH, "/projects/shop", Some(json!({ "output_dir": "public" }))).await;
    let again = platform.post(&format!("/deployments/{}/redeploy", first.id), json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let (_, work) = platform.claim().await;
    assert_eq!(work.source, first.source);
    assert_eq!(work.settings.output_dir.as_deref(), Some("public"));
    assert_eq!(work.previous, Some(first.id));
}

#[tokio::test]
async fn a_rollback_to_an_app_waits_until_it_runs_and_says_when_it_does_not() {
    let platform = Platform::start().await;
    let ledger = platform.ledger();
    let endpoint: SocketAddr = "127.0.0.1:4001".parse().unwrap();
    let apps = platform.two_apps("api", endpoint).await;
    let wanted = ledger.wanted_apps().await.unwrap();
    assert_eq!(wanted, [apps[1].clone()]);
    within(ledger.apps_changed()).await;
    ledger.revision(&apps[0], RevisionStatus::Stopped).await.unwrap();

    for works in [false, true] {
        let deployer = async {
            let wanted = until(|| async { ledger.wanted_app(&apps[0]).await.unwrap() }).await;
            assert!(wanted.once);
            if works {
                let running = RevisionStatus::Running { endpoints: endpoint.into(), restarts: 0 };
                ledger.revision(&apps[0], running).await.unwrap();
            } else {
                ledger.start_failed(&apps[0], Failure::new("app_exited", "It ended.")).await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(platform.post("/projects/api/rollback", json!({})), deployer);
        if works {
            assert_eq!(answer.body["status"], "live", "{}", answer.body);
        } else {
            assert_eq!(answer.problem(), "did_not_start");
            assert!(answer.body["detail"].as_str().unwrap().contains("It ended."), "{}", answer.body);
            assert_eq!(platform.read(&apps[1]).await.status, DeploymentStatus::Live);
        }
    }
}

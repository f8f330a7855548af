use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::api::DeploymentStatus;
use common::id::{DeployerId, DeploymentId};
use common::ledger::{Claim, DynLedger, LedgerError, Output, World, conformance};
use common::secret::Secret;
use http_ledger::HttpLedger;
use reqwest::Method;
use serde_json::json;
use url::Url;

use crate::support::{DEPLOYER_TOKEN, Platform, until};

/// How long a deployer of these tests may be silent.
const HOLD: Duration = Duration::from_millis(300);

fn over_http(platforms: &[&Platform]) -> DynLedger {
    let addresses: Vec<Url> = platforms.iter().map(|platform| platform.api.clone()).collect();
    Arc::new(HttpLedger::new(&addresses, &Secret::new(DEPLOYER_TOKEN), None, &DeployerId::new()).unwrap())
}

/// A control plane, to the suite.
struct Here {
    platform: Platform,
    is_remote: bool,
    projects: AtomicU32,
}

#[async_trait]
impl World for Here {
    fn ledger(&self, deployer: DeployerId) -> DynLedger {
        if self.is_remote { over_http(&[&self.platform]) } else { self.platform.plane.ledger(deployer) }
    }

    async fn queued(&self) -> DeploymentId {
        let name = format!("shop-{}", self.projects.fetch_add(1, Ordering::Relaxed));
        self.platform.project(&name).await;
        let variables = json!({ "variables": { "KEY": "hunter22" } });
        self.platform.call(Method::PUT, &format!("/projects/{name}/env"), Some(variables)).await;
        self.platform.ask(&name).await.id
    }

    async fn cancel(&self, deployment: &DeploymentId) {
        self.platform.post(&format!("/deployments/{deployment}/cancel"), json!({})).await;
    }
}

#[tokio::test]
async fn the_ledger_of_a_deployer_within_does_what_every_ledger_must() {
    let world = Here { platform: Platform::start().await, is_remote: false, projects: AtomicU32::new(0) };
    conformance(&world).await.unwrap();
}

#[tokio::test]
async fn the_ledger_of_a_deployer_elsewhere_does_what_every_ledger_must() {
    let platform = Platform::start_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await;
    conformance(&Here { platform, is_remote: true, projects: AtomicU32::new(0) }).await.unwrap();
}

#[tokio::test]
async fn a_deployer_that_falls_silent_loses_what_it_held_and_is_heard_no_more() {
    let platform = Platform::start_with(|config| config.deployer_hold = HOLD).await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    let silent = platform.claim_of(&asked.id).await.claim;
    let ledger = platform.ledger();
    let theirs = until(|| async {
        let claim = Claim::new(asked.id.clone());
        ledger.claim(&claim, "none").await.unwrap().map(|work| work.claim)
    })
    .await;
    let late = ledger.built(&silent).await;
    assert!(matches!(late, Err(LedgerError::NotYours(_))), "{late:?}");
    assert_eq!(ledger.keep(&[silent.clone(), theirs.clone()]).await.unwrap(), [silent]);
    ledger.built(&theirs).await.unwrap();
    assert!(ledger.succeeded(&theirs, Output::Static).await.unwrap());
    assert_eq!(platform.read(&asked.id).await.status, DeploymentStatus::Live);
}

#[tokio::test]
async fn what_a_silent_deployer_held_is_queued_again_by_itself() {
    let platform = Platform::start_with(|config| config.deployer_hold = HOLD).await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    let (lease, _) = platform.claim().await;
    // The deployer is gone, and the queue lost its job.
    platform.queue.complete(&lease).await.unwrap();
    let (_, work) = platform.claim().await;
    assert_eq!(work.claim.deployment, asked.id);
}

#[tokio::test]
async fn a_report_whose_control_plane_died_is_taken_by_another() {
    let first = Platform::start_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await;
    let second = first.second_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await;
    first.project("shop").await;
    let asked = first.ask("shop").await;
    let ledger = over_http(&[&first, &second]);
    let claim = Claim::new(asked.id.clone());
    ledger.claim(&claim, "none").await.unwrap().unwrap();
    first.end().await;
    ledger.built(&claim).await.unwrap();
    assert!(ledger.succeeded(&claim, Output::Static).await.unwrap());
    assert_eq!(second.read(&asked.id).await.status, DeploymentStatus::Live);
}

#[tokio::test]
async fn the_ledger_is_for_deployers_alone() {
    let closed = Platform::start().await;
    let open = Platform::start_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await;
    for (platform, token, problem) in [
        (&closed, DEPLOYER_TOKEN, "not_found"),
        (&open, "wrong", "unauthorized"),
        (&open, DEPLOYER_TOKEN, "invalid_request"),
    ] {
        let request = platform.request(Method::POST, "/internal/v1/ledger").bearer_auth(token);
        let answer = Platform::send(request.json(&json!({ "call": "wanted_apps" }))).await;
        assert_eq!(answer.problem(), problem);
    }
}

//! What every adapter of the ledger port must do.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::{Claim, DynLedger, Facts, LedgerError, Output, Work};
use crate::deployment::{Failure, Kind};
use crate::id::{DeployerId, DeploymentId};
use crate::revision::RevisionStatus;

/// How long an adapter may take for what it must tell: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the suite needs of a control plane.
#[async_trait]
pub trait World: Send + Sync {
    /// The ledger of a deployer.
    fn ledger(&self, deployer: DeployerId) -> DynLedger;
    /// A queued deployment, of a project that has a variable and no other deployment.
    async fn queued(&self) -> DeploymentId;
    /// Cancels a deployment.
    async fn cancel(&self, deployment: &DeploymentId);
}

/// What every adapter must do; called by each adapter's tests.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(world: &dyn World) -> Result<(), String> {
    claims(world).await?;
    a_site(world).await?;
    an_app(world).await?;
    a_move(world).await?;
    ends(world).await
}

fn text(error: LedgerError) -> String {
    error.to_string()
}

fn ensure(held: bool, what: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(what.to_owned()) }
}

fn refused<T>(outcome: &Result<T, LedgerError>, what: &str) -> Result<(), String> {
    ensure(matches!(outcome, Err(LedgerError::NotYours(_))), what)
}

async fn taken(ledger: &DynLedger, deployment: DeploymentId) -> Result<(Claim, Work), String> {
    let claim = Claim::new(deployment);
    let work = ledger.claim(&claim, "none").await.map_err(text)?.ok_or("a queued deployment can be claimed")?;
    Ok((claim, work))
}

/// Nothing is placed on these any more.
async fn leave(ledgers: &[DynLedger]) -> Result<(), String> {
    for ledger in ledgers {
        ledger.leave().await.map_err(text)?;
    }
    Ok(())
}

async fn claims(world: &dyn World) -> Result<(), String> {
    let (one, other) = (world.ledger(DeployerId::new()), world.ledger(DeployerId::new()));
    let nothing = one.claim(&Claim::new(DeploymentId::new()), "none").await.map_err(text)?;
    ensure(nothing.is_none(), "there is nothing to do for a deployment that is not there")?;

    let deployment = world.queued().await;
    let (claim, work) = taken(&one, deployment.clone()).await?;
    ensure(work.claim == claim && !work.env.is_empty(), "a claim gives what is to be built, with its variables")?;
    let again = one.claim(&claim, "none").await.map_err(text)?;
    ensure(again.is_some_and(|work| work.claim == claim), "a claim whose answer was lost can be made again")?;
    for ledger in [&one, &other] {
        let second = ledger.claim(&Claim::new(deployment.clone()), "none").await.map_err(text)?;
        ensure(second.is_none(), "what is held is claimed by nobody else, nor by its deployer again")?;
    }
    ensure(one.keep(std::slice::from_ref(&claim)).await.map_err(text)?.is_empty(), "what is held can be kept")?;

    one.give_back(&claim).await.map_err(text)?;
    one.give_back(&claim).await.map_err(text)?;
    let lost = one.keep(std::slice::from_ref(&claim)).await.map_err(text)?;
    ensure(lost == [claim.clone()], "what was given back is not held any more")?;
    let (theirs, _) = taken(&other, deployment).await?;
    refused(&one.facts(&claim, Facts::default()).await, "the former deployer can't say what it found")?;
    refused(&one.built(&claim).await, "nor that it is built")?;
    refused(&one.succeeded(&claim, Output::Static).await, "nor that it succeeded")?;
    refused(&one.failed(&claim, Failure::new("build_failed", "It failed.")).await, "nor that it failed")?;
    one.give_back(&claim).await.map_err(text)?;
    let lost = other.keep(std::slice::from_ref(&theirs)).await.map_err(text)?;
    ensure(lost.is_empty(), "the present one holds it")?;
    leave(&[one, other]).await
}

async fn a_site(world: &dyn World) -> Result<(), String> {
    let ledger = world.ledger(DeployerId::new());
    let (claim, _) = taken(&ledger, world.queued().await).await?;
    let facts = Facts { kind: Some(Kind::Static), framework: Some("Vite".to_owned()), commit: None };
    ledger.facts(&claim, facts).await.map_err(text)?;
    for _ in 0..2 {
        ledger.built(&claim).await.map_err(text)?;
    }
    for _ in 0..2 {
        let live = ledger.succeeded(&claim, Output::Static).await.map_err(text)?;
        ensure(live, "the only deployment of a project is live once it succeeded")?;
    }
    refused(&ledger.failed(&claim, Failure::new("late", "It failed.")).await, "what succeeded can't fail")?;
    let lost = ledger.keep(std::slice::from_ref(&claim)).await.map_err(text)?;
    ensure(lost.is_empty(), "what succeeded is not taken from a deployer that may wait for the edges")?;
    ledger.give_back(&claim).await.map_err(text)?;
    let again = ledger.claim(&Claim::new(claim.deployment), "none").await.map_err(text)?;
    ensure(again.is_none(), "what is done is not claimed again")?;
    leave(&[ledger]).await
}

async fn an_app(world: &dyn World) -> Result<(), String> {
    let ledger = world.ledger(DeployerId::new());
    let (claim, _) = taken(&ledger, world.queued().await).await?;
    let deployment = claim.deployment.clone();
    let facts = Facts { kind: Some(Kind::Node), ..Facts::default() };
    ledger.facts(&claim, facts).await.map_err(text)?;
    ledger.built(&claim).await.map_err(text)?;
    for _ in 0..2 {
        ledger.started(&claim, "shop@sha256:1").await.map_err(text)?;
    }
    let endpoint = SocketAddr::from(([127, 0, 0, 1], 4001));
    let output = Output::App { image: "shop@sha256:1".to_owned(), endpoints: endpoint.into() };
    for _ in 0..2 {
        ensure(ledger.succeeded(&claim, output.clone()).await.map_err(text)?, "an app that is healthy is live")?;
    }
    let changed = tokio::time::timeout(PATIENCE, ledger.apps_changed()).await;
    ensure(changed.is_ok(), "that an app is wanted is told")?;
    ensure(ledger.wanted_apps().await.map_err(text)?.contains(&deployment), "a live app is wanted where it runs")?;
    let wanted = ledger.wanted_app(&deployment).await.map_err(text)?.ok_or("a wanted app can be had")?;
    ensure(wanted.app.image == "shop@sha256:1" && !wanted.app.env.is_empty(), "with its image and variables")?;
    ensure(!wanted.once, "a live app is started until it runs")?;
    ledger.revision(&deployment, RevisionStatus::Stopped).await.map_err(text)?;
    ledger
        .revision(&deployment, RevisionStatus::Running { endpoints: endpoint.into(), restarts: 1 })
        .await
        .map_err(text)?;
    let foreign = DeploymentId::new();
    refused(&ledger.revision(&foreign, RevisionStatus::Stopped).await, "an app that is not there is nobody's")?;
    ensure(ledger.wanted_app(&foreign).await.map_err(text)?.is_none(), "nor is it wanted")?;
    leave(&[ledger]).await
}

/// An app whose deployer leaves.
async fn a_move(world: &dyn World) -> Result<(), String> {
    let (from, to) = (world.ledger(DeployerId::new()), world.ledger(DeployerId::new()));
    let (claim, _) = taken(&from, world.queued().await).await?;
    let deployment = claim.deployment.clone();
    let facts = Facts { kind: Some(Kind::Node), ..Facts::default() };
    from.facts(&claim, facts).await.map_err(text)?;
    from.built(&claim).await.map_err(text)?;
    let endpoint = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let output = Output::App { image: "shop@sha256:2".to_owned(), endpoints: endpoint(4001).into() };
    from.succeeded(&claim, output).await.map_err(text)?;
    for ledger in [&from, &to] {
        ledger.keep(&[]).await.map_err(text)?;
    }
    let wants =
        async |ledger: &DynLedger| Ok::<_, String>(ledger.wanted_apps().await.map_err(text)?.contains(&deployment));
    let running = |port: u16| RevisionStatus::Running { endpoints: endpoint(port).into(), restarts: 0 };
    ensure(wants(&from).await? && !wants(&to).await?, "an app runs on one deployer")?;
    refused(&to.revision(&deployment, running(4002)).await, "which alone can say what it does")?;
    ensure(from.leave().await.map_err(text)?, "a deployer that leaves is told that there are others")?;
    ensure(wants(&to).await?, "an app whose deployer leaves is wanted elsewhere")?;
    ensure(wants(&from).await?, "and runs on until it runs there")?;
    to.revision(&deployment, running(4002)).await.map_err(text)?;
    ensure(!wants(&from).await?, "and no longer")?;
    refused(&from.revision(&deployment, RevisionStatus::Stopped).await, "that it ended here is not asked any more")
}

async fn ends(world: &dyn World) -> Result<(), String> {
    let ledger = world.ledger(DeployerId::new());
    let (failing, _) = taken(&ledger, world.queued().await).await?;
    for _ in 0..2 {
        ledger.failed(&failing, Failure::new("build_failed", "It failed.")).await.map_err(text)?;
    }
    refused(&ledger.built(&failing).await, "what failed is not built")?;

    let (canceled, _) = taken(&ledger, world.queued().await).await?;
    world.cancel(&canceled.deployment).await;
    refused(&ledger.built(&canceled).await, "what was canceled takes no reports")?;
    let lost = ledger.keep(std::slice::from_ref(&canceled)).await.map_err(text)?;
    ensure(lost == [canceled], "and is not held any more")
}

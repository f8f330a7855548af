//! Which deployer works on a deployment: one at a time, and another when it falls silent.

use common::deployment::{Event, Failure, State};
use common::id::DeployerId;
use common::ledger::{Claim, Work};
use common::time::Timestamp;
use tokio::time::Instant;

use super::{Lifecycle, LifecycleError};
use crate::store::StoreError;
use crate::store::claims::NewClaim;
use crate::store::deployments::DeploymentRow;

/// How often a deployer may take a deployment before it is given up: a build that takes its deployer
/// down with it must not do so for ever.
const MAX_ATTEMPTS: i64 = 3;

impl Lifecycle {
    /// Gives a deployment to a deployer; see [`common::ledger::Ledger::claim`].
    pub(super) async fn claim(
        &self,
        claim: &Claim,
        deployer: &DeployerId,
        isolation: &str,
    ) -> Result<Option<Work>, LifecycleError> {
        let Some(mut row) = self.0.store.deployment(&claim.deployment).await? else { return Ok(None) };
        if row.state.is_final() {
            return Ok(None);
        }
        if row.claim.as_ref() == Some(&claim.id) {
            // The answer to this very claim was lost on the way.
            return Ok(Some(self.work(&row, claim).await?));
        }
        if row.state != State::Queued {
            if !self.is_abandoned(&row) {
                return Ok(None);
            }
            self.requeue(&row).await?;
            row = match self.0.store.deployment(&claim.deployment).await? {
                Some(row) if row.state == State::Queued => row,
                _ => return Ok(None),
            };
        }
        // Before the claim: what is claimed and not worked on stands still until the claim has run out.
        let work = match self.work(&row, claim).await {
            Err(e @ StoreError::Unreadable { .. }) => {
                tracing::error!(deployment = %row.id, error = %e, "a deployment can't be built");
                let why = Failure::new("unreadable", format!("It can't be built: {e}."));
                if self.step(&row, Event::Failed(why.clone())).await?.is_some() {
                    self.end_log(&row.id, &format!("Failed: {}", why.message)).await;
                }
                return Ok(None);
            }
            other => other?,
        };
        let Ok(building) = row.state.on(Event::Claimed) else { return Ok(None) };
        let new = NewClaim { claim, deployer, until: Timestamp::now().after(self.0.hold), isolation };
        if !self.0.store.claim(&row, &building, new).await? {
            return Ok(None);
        }
        self.changed(&row.id);
        Ok(Some(work))
    }

    /// Extends the claims of a deployer; gives those that it has lost.
    pub(super) async fn keep(&self, claims: &[Claim]) -> Result<Vec<Claim>, StoreError> {
        let until = Timestamp::now().after(self.0.hold);
        let mut lost = Vec::new();
        for claim in claims {
            if !self.0.store.keep_claim(claim, until).await? {
                lost.push(claim.clone());
            }
        }
        Ok(lost)
    }

    /// Queues a deployment again that its deployer gives back. That it is not the deployer's any more is no error.
    pub(super) async fn give_back(&self, claim: &Claim) -> Result<(), LifecycleError> {
        let Some(row) = self.0.store.deployment(&claim.deployment).await? else { return Ok(()) };
        if row.claim.as_ref() != Some(&claim.id) {
            return Ok(());
        }
        let Ok(queued) = row.state.on(Event::WorkerLost) else { return Ok(()) };
        if self.0.store.unclaim(&row, &queued, false).await? {
            self.changed(&row.id);
        }
        Ok(())
    }

    /// Whether a deployment's deployer has been silent for too long. What nobody could hear does not count: for as long
    /// as a claim lasts after this process began, or the database was away, everybody is believed to work.
    pub(super) fn is_abandoned(&self, row: &DeploymentRow) -> bool {
        self.hears() && row.claimed_until.is_none_or(|until| until < Timestamp::now())
    }

    /// Whether deployers could be heard for as long as one may be silent.
    pub(super) fn hears(&self) -> bool {
        let heard_since = *self.0.heard_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard_since.elapsed() >= self.0.hold
    }

    /// The database was away: deployers could not be heard.
    pub(super) fn was_deaf(&self) {
        *self.0.heard_since.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    /// Takes deployments from deployers that fell silent.
    pub(super) async fn take_back(&self) -> Result<(), StoreError> {
        for row in self.0.store.unfinished_deployments().await? {
            if row.state != State::Queued && self.is_abandoned(&row) {
                tracing::warn!(deployment = %row.id, deployer = ?row.deployer, "a deployer fell silent at its work");
                self.requeue(&row).await?;
            }
        }
        Ok(())
    }

    /// A deployment whose deployer is gone is queued again, or given up after some attempts.
    pub(super) async fn requeue(&self, row: &DeploymentRow) -> Result<(), StoreError> {
        if row.attempts >= MAX_ATTEMPTS {
            let why =
                format!("The deployer was lost {MAX_ATTEMPTS} times while it worked on this deployment. Deploy again.");
            if self.step(row, Event::Failed(Failure::new("worker_lost", why))).await?.is_some() {
                self.end_log(&row.id, "The deployment failed: its deployer was lost again and again.").await;
            }
        } else if let Ok(queued) = row.state.on(Event::WorkerLost)
            && self.0.store.unclaim(row, &queued, true).await?
        {
            self.changed(&row.id);
        }
        Ok(())
    }
}

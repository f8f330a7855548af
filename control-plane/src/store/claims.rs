//! The holds of deployers on deployments.

use common::deployment::State;
use common::id::DeployerId;
use common::ledger::Claim;
use common::time::Timestamp;

use super::deployments::DeploymentRow;
use super::{Store, StoreError};

/// A claim that is to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewClaim<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// Whose it is.
    pub deployer: &'a DeployerId,
    /// Until when it counts when nothing more is heard.
    pub until: Timestamp,
    /// How the deployer isolates builds.
    pub isolation: &'a str,
}

impl Store {
    /// Gives a queued deployment to a deployer, which makes it `building`. `false` when somebody else was faster.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn claim(&self, row: &DeploymentRow, building: &State, new: NewClaim<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE deployments SET state = $3, claim = $4, deployer = $5, claimed_until = $6, isolation = $7, \
             started_at = $8, attempts = attempts + 1 WHERE id = $1 AND state = $2",
        )
        .bind(row.id.as_str())
        .bind(row.state.as_str())
        .bind(building.as_str())
        .bind(new.claim.id.as_str())
        .bind(new.deployer.as_str())
        .bind(new.until.as_millis())
        .bind(new.isolation)
        .bind(Timestamp::now().as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Extends a claim; `false` when it is not its deployer's any more, or the deployment failed or was canceled. One that
    /// is ready stays its deployer's, which may still wait for the edges.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn keep_claim(&self, claim: &Claim, until: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE deployments SET claimed_until = $3 \
             WHERE id = $1 AND claim = $2 AND state IN ('building', 'publishing', 'starting', 'ready')",
        )
        .bind(claim.deployment.as_str())
        .bind(claim.id.as_str())
        .bind(until.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes a deployment from its deployer, which makes it `queued` again; `is_counted` as one that its deployer did not
    /// survive. `false` when it is in its state, or that deployer's, no more.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn unclaim(&self, row: &DeploymentRow, queued: &State, is_counted: bool) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE deployments SET state = $3, claim = NULL, deployer = NULL, claimed_until = NULL, \
             attempts = attempts - $5 WHERE id = $1 AND state = $2 AND COALESCE(claim, '') = $4",
        )
        .bind(row.id.as_str())
        .bind(row.state.as_str())
        .bind(queued.as_str())
        .bind(row.held_by())
        .bind(i64::from(!is_counted))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

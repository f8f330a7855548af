//! What the apps of deployments do, and which of them should run.

use common::id::DeploymentId;
use common::revision::RevisionStatus;
use common::time::Timestamp;

use super::{Store, StoreError, to_json};

impl Store {
    /// Records what its app does.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_revision(&self, id: &DeploymentId, status: &RevisionStatus) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET revision = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(to_json("revision", status)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Every app is stopped: what a platform that was just started knows.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_revisions(&self) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE deployments SET revision = $1, placed_on = NULL, runs_on = NULL WHERE revision IS NOT NULL",
        )
        .bind(to_json("revision", &RevisionStatus::Stopped)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A rollback to it waits for its app.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn want_activation(&self, id: &DeploymentId) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET activation_wanted = 1, activation_failure = NULL WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// No rollback waits for its app any more, because it did not start.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn fail_activation(&self, id: &DeploymentId, why: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET activation_wanted = 0, activation_failure = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(why)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Visitors ask for the app of a ready deployment: it runs until then.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn want_until(&self, id: &DeploymentId, until: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET wanted_until = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(until.as_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets the wishes of visitors whose time is over; tells whether there were any.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_past_wishes(&self) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE deployments SET wanted_until = NULL WHERE wanted_until <= $1")
            .bind(Timestamp::now().as_millis())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

//! Deployments that wait, and those that waited in vain.

use common::api;
use common::id::{DeploymentId, ProjectId};
use common::time::Timestamp;
use sqlx::Row as _;

use super::deployments::{DeploymentRow, read_all, select};
use super::{Store, StoreError};

impl Store {
    /// A project's deployments that wait for a deployer and were asked for before this one, oldest first.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn queued_before(
        &self,
        project: &ProjectId,
        than: &DeploymentId,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        let rows = sqlx::query(select!("WHERE d.project = $1 AND d.id < $2 AND d.state = 'queued' ORDER BY d.id"))
            .bind(project.as_str())
            .bind(than.as_str())
            .fetch_all(&self.pool)
            .await?;
        read_all(&rows)
    }

    /// Records which deployment took a canceled one's place.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_superseded(&self, id: &DeploymentId, by: &DeploymentId) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET superseded_by = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(by.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Up to `limit` deployments that were given up because their deployer was lost, and were not asked for again since;
    /// newest first, older than `before`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn dead_deployments(
        &self,
        before: Option<&DeploymentId>,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        debug_assert!(limit <= api::MAX_PAGE + 1, "a page is bounded");
        let rows = sqlx::query(select!(
            "WHERE d.state = 'failed' AND d.failure_code = 'worker_lost' AND d.replayed_at IS NULL AND d.id < $1 \
             ORDER BY d.id DESC LIMIT $2"
        ))
        // Every id is smaller than a text that begins with `e`.
        .bind(before.map_or("e", DeploymentId::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        read_all(&rows)
    }

    /// How many of them there are.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn count_dead(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS dead FROM deployments \
             WHERE state = 'failed' AND failure_code = 'worker_lost' AND replayed_at IS NULL",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(u64::try_from(row.try_get::<i64, _>("dead")?).unwrap_or_default())
    }

    /// Takes a deployment out of the dead ones; `false` when it is none of them.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn take_dead(&self, id: &DeploymentId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE deployments SET replayed_at = $2 \
             WHERE id = $1 AND state = 'failed' AND failure_code = 'worker_lost' AND replayed_at IS NULL",
        )
        .bind(id.as_str())
        .bind(Timestamp::now().as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts it back.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn put_dead_back(&self, id: &DeploymentId) -> Result<(), StoreError> {
        sqlx::query("UPDATE deployments SET replayed_at = NULL WHERE id = $1")
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

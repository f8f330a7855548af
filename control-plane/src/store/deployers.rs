//! Deployers, and which of them runs which app.

use std::collections::BTreeMap;

use common::id::{DeployerId, DeploymentId, ProjectId};
use common::revision::RevisionStatus;
use common::time::Timestamp;
use sqlx::any::AnyRow;

use super::{Store, StoreError, optional, parsed, to_json};

/// The apps that should run; the placeholder is the time. See [`Store::wanted_apps`].
macro_rules! wanted {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM deployments d JOIN projects p ON p.id = d.project \
             WHERE d.state = 'ready' AND d.kind = 'node' AND d.image IS NOT NULL \
             AND (p.live_deployment = d.id OR d.activation_wanted = 1 OR d.wanted_until > $1) ",
            $rest
        )
    };
}

impl Store {
    /// A deployer is there.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn deployer_seen(&self, id: &DeployerId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO deployers (id, seen_at) VALUES ($1, $2) \
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(id.as_str())
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A deployer is about to end. Gives whether there are others since a time, which are not.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn deployer_leaves(&self, id: &DeployerId, since: Timestamp) -> Result<bool, StoreError> {
        sqlx::query("UPDATE deployers SET leaving = 1 WHERE id = $1").bind(id.as_str()).execute(&self.pool).await?;
        Ok(!self.runners(since).await?.is_empty())
    }

    /// Forgets deployers that were not there since a time; every one when there is none.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_deployers(&self, since: Option<Timestamp>) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM deployers WHERE seen_at < $1")
            .bind(since.map_or(i64::MAX, Timestamp::as_millis))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Deployers that were there since a time, and stay.
    async fn runners(&self, since: Timestamp) -> Result<Vec<DeployerId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM deployers WHERE seen_at >= $1 AND leaving = 0 ORDER BY id")
            .bind(since.as_millis())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Every app that a deployer should run: of those that are live, that a rollback waits for or that visitors asked for,
    /// the ones that are placed on it, and those that it runs until they run where they are placed.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn wanted_apps(&self, deployer: &DeployerId, now: Timestamp) -> Result<Vec<DeploymentId>, StoreError> {
        let rows = sqlx::query(wanted!("d.id", "AND (d.placed_on = $2 OR d.runs_on = $2)"))
            .bind(now.as_millis())
            .bind(deployer.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Places the apps that should run and are on no deployer that was there `since` a time and stays: on the one that
    /// runs it, or else the one with the fewest. Gives whether any was placed.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn place_apps(&self, since: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let runners = self.runners(since).await?;
        if runners.is_empty() {
            return Ok(false);
        }
        let rows = sqlx::query(wanted!("d.id, d.placed_on, d.runs_on", "ORDER BY d.id"))
            .bind(now.as_millis())
            .fetch_all(&self.pool)
            .await?;
        let mut apps: BTreeMap<&DeployerId, usize> = runners.iter().map(|id| (id, 0)).collect();
        let mut unplaced = Vec::new();
        for row in &rows {
            let placed: Option<DeployerId> = optional(row, "placed_on")?;
            match placed.as_ref().and_then(|on| apps.get_mut(on)) {
                Some(count) => *count += 1,
                None => {
                    unplaced.push((parsed::<DeploymentId>(row, "id")?, placed, optional::<DeployerId>(row, "runs_on")?))
                }
            }
        }
        let mut is_placed = false;
        for (id, before, runs_on) in unplaced {
            let fewest = apps.iter().min_by_key(|(_, count)| **count).map(|(on, _)| *on);
            let Some(on) = runners.iter().find(|on| Some(*on) == runs_on.as_ref()).or(fewest) else { break };
            let done =
                sqlx::query("UPDATE deployments SET placed_on = $2 WHERE id = $1 AND COALESCE(placed_on, '') = $3")
                    .bind(id.as_str())
                    .bind(on.as_str())
                    .bind(before.as_ref().map_or("", DeployerId::as_str))
                    .execute(&self.pool)
                    .await?;
            if done.rows_affected() == 1 {
                is_placed = true;
                apps.entry(on).and_modify(|count| *count += 1);
            }
        }
        Ok(is_placed)
    }

    /// The apps of deployers that were not there since a time run no more. Gives which, and their projects.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn orphan_apps(&self, since: Timestamp) -> Result<Vec<(DeploymentId, ProjectId)>, StoreError> {
        let rows = sqlx::query(
            "UPDATE deployments SET revision = $2, runs_on = NULL \
             WHERE runs_on IS NOT NULL AND runs_on NOT IN (SELECT id FROM deployers WHERE seen_at >= $1) \
             RETURNING id, project",
        )
        .bind(since.as_millis())
        .bind(to_json("revision", &RevisionStatus::Starting)?)
        .fetch_all(&self.pool)
        .await?;
        let app = |row: &AnyRow| Ok((parsed(row, "id")?, parsed(row, "project")?));
        rows.iter().map(app).collect()
    }

    /// Records what an app does, as a deployer says: the one that it is placed on, when it runs there, and the one that it
    /// runs on. `false` when it is another's.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_revision_of(
        &self,
        id: &DeploymentId,
        status: &RevisionStatus,
        deployer: &DeployerId,
    ) -> Result<bool, StoreError> {
        let runs = status.endpoints().is_some();
        let done = sqlx::query(
            "UPDATE deployments SET revision = $2, runs_on = CASE WHEN $5 = 1 THEN NULL ELSE $3 END \
             WHERE id = $1 AND (runs_on = $3 OR (COALESCE(placed_on, $3) = $3 AND (runs_on IS NULL OR $4 = 1)))",
        )
        .bind(id.as_str())
        .bind(to_json("revision", status)?)
        .bind(deployer.as_str())
        .bind(i64::from(runs))
        .bind(i64::from(matches!(status, RevisionStatus::Stopped)))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

//! Numbers of changes, by which control planes hear of one another's.
//!
//! A number is drawn in the transaction that notes what changed: until that has ended, nobody draws the next. So who has
//! seen a number sees everything that has a smaller one.

use common::id::{DeploymentId, ProjectId};
use common::route::Purge;
use common::time::Timestamp;
use sqlx::{AnyConnection, Row as _};

use super::{Store, StoreError, json, parsed, to_json};

/// Numbers of the last changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Of routes, and of purges.
    pub routes: i64,
    /// Of deployments, as people see them.
    pub deployments: i64,
    /// Of which apps are wanted.
    pub apps: i64,
}

/// Draws the next number of a counter.
async fn next(connection: &mut AnyConnection, counter: &str) -> Result<i64, StoreError> {
    let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value")
        .bind(counter)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("value")?)
}

impl Store {
    /// Numbers of the last changes.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn numbers(&self) -> Result<Numbers, StoreError> {
        let rows = sqlx::query(
            "SELECT name, value FROM counters WHERE name = 'routes' OR name = 'deployments' OR name = 'apps'",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut numbers = Numbers::default();
        for row in rows {
            let value = row.try_get("value")?;
            match row.try_get::<String, _>("name")?.as_str() {
                "routes" => numbers.routes = value,
                "deployments" => numbers.deployments = value,
                _ => numbers.apps = value,
            }
        }
        Ok(numbers)
    }

    /// Notes that routes of projects have changed; gives the change's number.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn note_routes(&self, projects: &[&ProjectId]) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let change = next(&mut tx, "routes").await?;
        for project in projects {
            sqlx::query(
                "INSERT INTO route_changes (project, change) VALUES ($1, $2) \
                 ON CONFLICT (project) DO UPDATE SET change = excluded.change",
            )
            .bind(project.as_str())
            .bind(change)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(change)
    }

    /// Projects whose routes changed after a change, with their last one.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn changed_routes(&self, after: i64) -> Result<Vec<(ProjectId, i64)>, StoreError> {
        let rows = sqlx::query("SELECT project, change FROM route_changes WHERE change > $1 ORDER BY change")
            .bind(after)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((parsed(row, "project")?, row.try_get("change")?))).collect()
    }

    /// Notes what edges are to forget; gives the change's number.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn note_purge(&self, purge: &Purge, now: Timestamp) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let change = next(&mut tx, "routes").await?;
        sqlx::query("INSERT INTO purges (change, purge, made_at) VALUES ($1, $2, $3)")
            .bind(change)
            .bind(to_json("purge", purge)?)
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(change)
    }

    /// What edges are to forget since a change.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn purges(&self, after: i64) -> Result<Vec<(Purge, i64)>, StoreError> {
        let rows = sqlx::query("SELECT change, purge FROM purges WHERE change > $1 ORDER BY change")
            .bind(after)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((json(row, "purge")?, row.try_get("change")?))).collect()
    }

    /// Forgets purges that every control plane has told long ago.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_purges(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM purges WHERE made_at < $1").bind(before.as_millis()).execute(&self.pool).await?;
        Ok(())
    }

    /// Notes that a deployment has changed, as people see it.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn note_deployment(&self, id: &DeploymentId) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let change = next(&mut tx, "deployments").await?;
        sqlx::query("UPDATE deployments SET change = $2 WHERE id = $1")
            .bind(id.as_str())
            .bind(change)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deployments that changed after a change.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn changed_deployments(&self, after: i64) -> Result<Vec<DeploymentId>, StoreError> {
        let rows =
            sqlx::query("SELECT id FROM deployments WHERE change > $1").bind(after).fetch_all(&self.pool).await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Notes that other apps may be wanted; gives the change's number.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn note_apps(&self) -> Result<i64, StoreError> {
        next(&mut *self.pool.acquire().await?, "apps").await
    }
}

//! Edges that follow the route feed, and what of a project they still have to be told.

use common::id::{DeploymentId, EdgeId, ProjectId};
use common::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, parsed, to_json};

/// Edges that had not applied a version of the routes when they were waited for no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateEdges {
    /// The version, of the control plane that waited.
    pub version: u64,
    /// Number of the change of routes that it has.
    #[serde(default)]
    pub change: i64,
    /// Which.
    pub edges: Vec<EdgeId>,
}

/// A project whose edges are being told what is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activating {
    /// The project.
    pub project: ProjectId,
    /// What is live.
    pub deployment: DeploymentId,
    /// Since when they are told.
    pub since: Timestamp,
}

/// Everything that an [`Activating`] needs; conditions follow.
macro_rules! activating {
    ($rest:literal) => {
        concat!(
            "SELECT id, live_deployment, activating_since FROM projects \
             WHERE activating_since IS NOT NULL AND live_deployment IS NOT NULL ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<Activating, StoreError> {
    Ok(Activating {
        project: parsed(row, "id")?,
        deployment: parsed(row, "live_deployment")?,
        since: Timestamp::from_millis(row.try_get("activating_since")?),
    })
}

impl Store {
    /// The edges that hung on a control plane last, and when each left; nothing for one that was connected when it was
    /// written last.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn known_edges(&self, control_plane: &str) -> Result<Vec<(EdgeId, Option<Timestamp>)>, StoreError> {
        let rows = sqlx::query("SELECT id, left_at FROM known_edges WHERE control_plane = $1")
            .bind(control_plane)
            .fetch_all(&self.pool)
            .await?;
        let edge = |row: &AnyRow| -> Result<_, StoreError> {
            let left: Option<i64> = row.try_get("left_at")?;
            Ok((parsed(row, "id")?, left.map(Timestamp::from_millis)))
        };
        rows.iter().map(edge).collect()
    }

    /// The edges that hang on other control planes.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn edges_of_others(&self, control_plane: &str) -> Result<Vec<EdgeId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM known_edges WHERE control_plane <> $1 AND left_at IS NULL")
            .bind(control_plane)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Records that an edge hangs on a control plane.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn put_known_edge(&self, id: &EdgeId, control_plane: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO known_edges (id, left_at, control_plane) VALUES ($1, NULL, $2) \
             ON CONFLICT (id) DO UPDATE SET left_at = NULL, control_plane = excluded.control_plane",
        )
        .bind(id.as_str())
        .bind(control_plane)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records when an edge left a control plane, unless it hangs on another one by now.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn known_edge_left(&self, id: &EdgeId, control_plane: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE known_edges SET left_at = $3 WHERE id = $1 AND control_plane = $2")
            .bind(id.as_str())
            .bind(control_plane)
            .bind(at.as_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets an edge that is gone for good, unless it hangs on another control plane.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_known_edge(&self, id: &EdgeId, control_plane: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM known_edges WHERE id = $1 AND control_plane = $2")
            .bind(id.as_str())
            .bind(control_plane)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What edges are being told to be live in a project; nothing when they have it.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn activating(&self, project: &ProjectId) -> Result<Option<Activating>, StoreError> {
        let row = sqlx::query(activating!("AND id = $1")).bind(project.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// What edges are being told to be live in any project since a time, or longer.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn all_activating(&self, since: Timestamp) -> Result<Vec<Activating>, StoreError> {
        let rows = sqlx::query(activating!("AND activating_since <= $1")).bind(since.as_millis());
        rows.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    /// Edges have what is live, but for the late ones. Nothing changes when something else is live by now, or the same
    /// once more.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn settle(&self, told: &Activating, late: Option<&LateEdges>) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE projects SET activating_since = NULL, late_edges = $4 \
             WHERE id = $1 AND live_deployment = $2 AND activating_since = $3",
        )
        .bind(told.project.as_str())
        .bind(told.deployment.as_str())
        .bind(told.since.as_millis())
        .bind(late.map(|late| to_json("late edges", late)).transpose()?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

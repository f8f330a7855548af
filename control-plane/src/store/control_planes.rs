//! The control planes that work on this database, and what each says of its edges.

use common::id::EdgeId;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, json, parsed, to_json};

/// An edge that has not applied every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// Which.
    pub edge: EdgeId,
    /// Number of the change of routes up to which it has applied everything.
    pub applied: i64,
    /// When it left; nothing while it is connected.
    pub left: Option<Timestamp>,
}

/// A control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneRow {
    /// Its id.
    pub id: String,
    /// When it was there last.
    pub seen_at: Timestamp,
    /// How many edges hang on it.
    pub edges: usize,
    /// Number of the change of routes up to which its edges have applied everything, or are behind.
    pub told: i64,
    /// Those that are behind.
    pub behind: Vec<Behind>,
}

fn read(row: &AnyRow) -> Result<ControlPlaneRow, StoreError> {
    Ok(ControlPlaneRow {
        id: row.try_get("id")?,
        seen_at: Timestamp::from_millis(row.try_get("seen_at")?),
        edges: usize::try_from(row.try_get::<i64, _>("edges")?).unwrap_or_default(),
        told: row.try_get("told")?,
        behind: json(row, "behind")?,
    })
}

impl Store {
    /// Says that a control plane is there, and how its edges are.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn put_control_plane(&self, row: &ControlPlaneRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO control_planes (id, seen_at, edges, told, behind) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, edges = excluded.edges, told = excluded.told, \
             behind = excluded.behind",
        )
        .bind(row.id.as_str())
        .bind(row.seen_at.as_millis())
        .bind(i64::try_from(row.edges).unwrap_or(i64::MAX))
        .bind(row.told)
        .bind(to_json("edges that are behind", &row.behind)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The control planes, those among them that died and whose edges nobody has inherited yet.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn control_planes(&self) -> Result<Vec<ControlPlaneRow>, StoreError> {
        let rows = sqlx::query("SELECT id, seen_at, edges, told, behind FROM control_planes ORDER BY id")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read).collect()
    }

    /// A control plane ends: another one inherits its edges.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn control_plane_leaves(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE control_planes SET seen_at = 0 WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Removes control planes that were not there since a time, and makes `heir` the one of edges whose control plane is
    /// not there. Gives these edges, and when each left.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn inherit_edges(
        &self,
        heir: &str,
        since: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<(EdgeId, Timestamp)>, StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM control_planes WHERE seen_at < $1").bind(since.as_millis()).execute(&mut *tx).await?;
        let rows = sqlx::query(
            "UPDATE known_edges SET control_plane = $1, left_at = COALESCE(left_at, $2) \
             WHERE control_plane IS NULL OR control_plane NOT IN (SELECT id FROM control_planes) \
             RETURNING id, left_at",
        )
        .bind(heir)
        .bind(now.as_millis())
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let edge = |row: &AnyRow| Ok((parsed(row, "id")?, Timestamp::from_millis(row.try_get("left_at")?)));
        rows.iter().map(edge).collect()
    }
}

//! Which images are needed, and which are to be deleted.
//!
//! A deployment that comes to need an image takes back its removal; one that is being deleted just now can't be taken
//! back. Both change the removal's row, so one comes after the other, with either engine.

use common::id::ProjectId;
use common::time::Timestamp;
use sqlx::Row as _;

use super::deployments::DeploymentRow;
use super::{Store, StoreError};

/// An image that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its reference.
    pub reference: String,
    /// How often that was tried.
    pub attempts: i64,
}

/// Images that are needed: `$1` newest ready deployments of each project, the live one, those that somebody waits for
/// at `$2`, and those that are being made.
macro_rules! needed {
    () => {
        "SELECT r.image FROM (SELECT d.id, d.image, d.project, d.state, d.activation_wanted, d.wanted_until, \
         ROW_NUMBER() OVER (PARTITION BY d.project, d.state ORDER BY d.created_at DESC, d.id DESC) AS place \
         FROM deployments d WHERE d.image IS NOT NULL) r JOIN projects p ON p.id = r.project \
         WHERE (r.state = 'ready' AND (r.place <= $1 OR p.live_deployment = r.id OR r.activation_wanted = 1 \
         OR r.wanted_until > $2)) OR r.state NOT IN ('ready', 'failed', 'canceled')"
    };
}

impl Store {
    /// Records the image of a deployment that a deployer works on, and takes its removal back. Tells whether that was possible: not while it is being
    /// deleted.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_image(&self, row: &DeploymentRow, image: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM image_removals WHERE reference = $1 AND (deleting = 0 OR due_at <= $2)")
            .bind(image)
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await?;
        let done = sqlx::query(
            "UPDATE deployments SET image = $2 WHERE id = $1 AND COALESCE(claim, '') = $3 \
             AND NOT EXISTS (SELECT 1 FROM image_removals WHERE reference = $2)",
        )
        .bind(row.id.as_str())
        .bind(image)
        .bind(row.held_by())
        .execute(&mut *tx)
        .await?;
        let going = done.rows_affected() == 0
            && sqlx::query("SELECT 1 FROM image_removals WHERE reference = $1")
                .bind(image)
                .fetch_optional(&mut *tx)
                .await?
                .is_some();
        tx.commit().await?;
        Ok(!going)
    }

    /// Notes the images that no deployment needs, to be deleted at `due`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn note_unneeded_images(&self, keep: u32, now: Timestamp, due: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query(concat!(
            "INSERT INTO image_removals (reference, since, due_at, deleting, attempts) \
             SELECT DISTINCT d.image, $2, $3, 0, 0 FROM deployments d \
             WHERE d.image IS NOT NULL AND d.image NOT IN (",
            needed!(),
            ") ON CONFLICT (reference) DO NOTHING"
        ))
        .bind(i64::from(keep))
        .bind(now.as_millis())
        .bind(due.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Notes the images of a project that is about to be deleted.
    pub(super) async fn note_images_of(
        tx: &mut sqlx::AnyConnection,
        project: &ProjectId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO image_removals (reference, since, due_at, deleting, attempts) \
             SELECT DISTINCT image, $2, $2, 0, 0 FROM deployments WHERE project = $1 AND image IS NOT NULL \
             ON CONFLICT (reference) DO NOTHING",
        )
        .bind(project.as_str())
        .bind(now.as_millis())
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Some images whose time has come, the longest due first.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn due_images(&self, now: Timestamp, most: i64) -> Result<Vec<Removal>, StoreError> {
        let rows = sqlx::query(
            "SELECT reference, attempts FROM image_removals WHERE due_at <= $1 ORDER BY due_at, reference LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok(Removal { reference: row.try_get("reference")?, attempts: row.try_get("attempts")? }))
            .collect()
    }

    /// Takes an image for deletion until `until`, unless somebody needs it or another control plane took it. From then
    /// on no deployment names it.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn take_image(
        &self,
        reference: &str,
        keep: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let taken = sqlx::query(concat!(
            "UPDATE image_removals SET deleting = 1, due_at = $3 WHERE reference = $4 AND due_at <= $2 \
             AND reference NOT IN (",
            needed!(),
            ")"
        ))
        .bind(i64::from(keep))
        .bind(now.as_millis())
        .bind(until.as_millis())
        .bind(reference)
        .execute(&mut *tx)
        .await?
        .rows_affected()
            > 0;
        if taken {
            sqlx::query("UPDATE deployments SET image = NULL WHERE image = $1")
                .bind(reference)
                .execute(&mut *tx)
                .await?;
        } else {
            // It is needed again, unless it is another's by now.
            sqlx::query("DELETE FROM image_removals WHERE reference = $1 AND due_at <= $2")
                .bind(reference)
                .bind(now.as_millis())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// An image is deleted.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn image_removed(&self, reference: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM image_removals WHERE reference = $1 AND deleting = 1")
            .bind(reference)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// An image could not be deleted; it is tried again at `due`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn image_not_removed(&self, reference: &str, why: &str, due: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE image_removals SET deleting = 0, due_at = $2, attempts = attempts + 1, failure = $3 \
             WHERE reference = $1",
        )
        .bind(reference)
        .bind(due.as_millis())
        .bind(why)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

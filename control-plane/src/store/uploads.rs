//! Uploads that were asked for and not deployed yet, and what of the object store deployments need.

use std::collections::HashSet;

use common::id::{DeploymentId, UploadId};
use common::source::Source;
use common::time::Timestamp;
use futures::TryStreamExt as _;
use sqlx::Row as _;

use super::{Store, StoreError, json, parsed};

impl Store {
    /// Records an upload, unless `most` are pending.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_pending_upload(
        &self,
        id: &UploadId,
        expires_at: Timestamp,
        most: u32,
    ) -> Result<bool, StoreError> {
        let added = sqlx::query(
            "INSERT INTO pending_uploads (id, expires_at) \
             SELECT $1, $2 WHERE (SELECT COUNT(*) FROM pending_uploads) < $3",
        )
        .bind(id.as_str())
        .bind(expires_at.as_millis())
        .bind(i64::from(most))
        .execute(&self.pool)
        .await?;
        Ok(added.rows_affected() > 0)
    }

    /// When the first of the pending uploads' URLs ends.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn first_pending_upload(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT MIN(expires_at) AS first FROM pending_uploads").fetch_one(&self.pool).await?;
        Ok(row.try_get::<Option<i64>, _>("first")?.map(Timestamp::from_millis))
    }

    /// Uploads whose URL ended before `time`, at most `most`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn pending_uploads_before(&self, time: Timestamp, most: u32) -> Result<Vec<UploadId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM pending_uploads WHERE expires_at < $1 ORDER BY expires_at LIMIT $2")
            .bind(time.as_millis())
            .bind(i64::from(most))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }

    /// Forgets an upload that is deployed or gone.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_pending_upload(&self, id: &UploadId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM pending_uploads WHERE id = $1").bind(id.as_str()).execute(&self.pool).await?;
        Ok(())
    }

    /// Uploads that are the source of a deployment.
    ///
    /// # Errors
    /// When the database failed or a row can't be read.
    pub async fn source_uploads(&self) -> Result<HashSet<UploadId>, StoreError> {
        let mut uploads = HashSet::new();
        let mut rows = sqlx::query("SELECT DISTINCT source FROM deployments").fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            if let Source::Upload { upload, .. } = json(&row, "source")? {
                uploads.insert(upload);
            }
        }
        Ok(uploads)
    }

    /// Ids of all deployments.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn deployment_ids(&self) -> Result<HashSet<DeploymentId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM deployments").fetch_all(&self.pool).await?;
        rows.iter().map(|row| parsed(row, "id")).collect()
    }
}

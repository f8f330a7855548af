//! What was said of each project's policy: JSON texts.

use std::collections::HashMap;

use common::id::ProjectId;
use sqlx::Row as _;

use super::{Store, StoreError, parsed};

impl Store {
    /// What was said of a project's policy; nothing when there is no such project.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn policy(&self, project: &ProjectId) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT policy FROM projects WHERE id = $1")
            .bind(project.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("policy")).transpose()?)
    }

    /// Every policy of which something was said.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn policies(&self) -> Result<HashMap<ProjectId, String>, StoreError> {
        let rows = sqlx::query("SELECT id, policy FROM projects WHERE policy <> '{}'").fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((parsed(row, "id")?, row.try_get("policy")?))).collect()
    }

    /// Replaces what was said of a project's policy; `false` when it is no longer `before`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_policy(&self, project: &ProjectId, before: &str, policy: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE projects SET policy = $3 WHERE id = $1 AND policy = $2")
            .bind(project.as_str())
            .bind(before)
            .bind(policy)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

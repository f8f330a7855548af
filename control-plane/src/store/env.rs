//! Rows of environment variables.

use std::collections::BTreeMap;

use common::api::EnvVariable;
use common::id::ProjectId;
use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError};

impl Store {
    /// Sets variables of a project, all or none.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_env(
        &self,
        keys: &KeyRing,
        project: &ProjectId,
        variables: &BTreeMap<String, Secret>,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for (name, value) in variables {
            sqlx::query(
                "INSERT INTO env_variables (project, name, sealed, updated_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (project, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at",
            )
            .bind(project.as_str())
            .bind(name.as_str())
            .bind(keys.seal(value))
            .bind(Timestamp::now().as_millis())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Removes a variable; tells whether there was one.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn unset_env(&self, project: &ProjectId, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM env_variables WHERE project = $1 AND name = $2")
            .bind(project.as_str())
            .bind(name)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Names of a project's variables, in order.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn env_names(&self, project: &ProjectId) -> Result<Vec<EnvVariable>, StoreError> {
        let rows = sqlx::query("SELECT name, updated_at FROM env_variables WHERE project = $1 ORDER BY name")
            .bind(project.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(EnvVariable {
                    name: row.try_get("name")?,
                    updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
                })
            })
            .collect()
    }

    /// A project's variables with their values.
    ///
    /// # Errors
    /// When the database failed or a value was sealed with another key.
    pub async fn env(&self, keys: &KeyRing, project: &ProjectId) -> Result<BTreeMap<String, Secret>, StoreError> {
        let rows = sqlx::query("SELECT name, sealed FROM env_variables WHERE project = $1")
            .bind(project.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let sealed: String = row.try_get("sealed")?;
                let value = keys
                    .open(&sealed)
                    .map_err(|e| StoreError::Unreadable { what: "environment variable", detail: e.to_string() })?;
                Ok((row.try_get("name")?, value))
            })
            .collect()
    }
}

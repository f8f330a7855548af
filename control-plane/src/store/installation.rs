//! What all control planes of the installation have in common.

use sqlx::Row as _;

use super::{Store, StoreError};

impl Store {
    /// A sealed text.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn common(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT sealed FROM installation WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("sealed")).transpose()?)
    }

    /// Keeps a sealed text in place of `before`, unless another control plane was faster.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_common(&self, name: &str, before: Option<&str>, sealed: &str) -> Result<(), StoreError> {
        match before {
            None => {
                sqlx::query("INSERT INTO installation (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                    .bind(name)
                    .bind(sealed)
                    .execute(&self.pool)
                    .await?
            }
            Some(before) => {
                sqlx::query("UPDATE installation SET sealed = $3 WHERE name = $1 AND sealed = $2")
                    .bind(name)
                    .bind(before)
                    .bind(sealed)
                    .execute(&self.pool)
                    .await?
            }
        };
        Ok(())
    }
}

//! What only one control plane does at a time.

use common::time::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError};

impl Store {
    /// Takes a duty, or keeps it, until `until`; not when somebody else has it.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn take_duty(&self, name: &str, holder: &str, until: Timestamp) -> Result<bool, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO duties (name, holder, held_until) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until \
             WHERE duties.holder = excluded.holder OR duties.held_until < $4",
        )
        .bind(name)
        .bind(holder)
        .bind(until.as_millis())
        .bind(Timestamp::now().as_millis())
        .execute(&self.pool)
        .await?;
        Ok(taken.rows_affected() > 0)
    }

    /// Gives a duty back, and says when it was done, if it was.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn end_duty(&self, name: &str, holder: &str, done: Option<Timestamp>) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE duties SET held_until = 0, done_at = COALESCE($1, done_at) WHERE name = $2 AND holder = $3",
        )
        .bind(done.map(Timestamp::as_millis))
        .bind(name)
        .bind(holder)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// When a duty was done last.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn duty_done_at(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT done_at FROM duties WHERE name = $1").bind(name).fetch_optional(&self.pool).await?;
        let done: Option<i64> = row.map(|row| row.try_get("done_at")).transpose()?.flatten();
        Ok(done.map(Timestamp::from_millis))
    }

    /// The name by which this installation knows its object store; `new` if it had none.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn object_store_owner(&self, new: &str) -> Result<String, StoreError> {
        sqlx::query("INSERT INTO object_store_owner (one, name) VALUES (1, $1) ON CONFLICT (one) DO NOTHING")
            .bind(new)
            .execute(&self.pool)
            .await?;
        let row = sqlx::query("SELECT name FROM object_store_owner WHERE one = 1").fetch_one(&self.pool).await?;
        Ok(row.try_get("name")?)
    }
}

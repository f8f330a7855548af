//! Rows of running name servers, and of the proofs that they serve for a while.

use std::time::Duration;

use common::time::Timestamp;
use sqlx::Row as _;

use super::{Store, StoreError};

/// A server that was not seen for so long has ended: three times its beat.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// A process that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServerRow {
    /// Where it listens.
    pub addresses: Vec<String>,
    /// The version of the zones that it has.
    pub version: i64,
}

impl Store {
    /// Says which version a server has; also that it is there.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_name_server(&self, id: &str, addresses: &str, version: i64) -> Result<(), StoreError> {
        let now = Timestamp::now();
        sqlx::query("DELETE FROM name_servers WHERE seen_at < $1")
            .bind(now.before(GONE_AFTER).as_millis())
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "INSERT INTO name_servers (id, addresses, version, seen_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at",
        )
        .bind(id)
        .bind(addresses)
        .bind(version)
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a server that ended.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_name_server(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM name_servers WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// The servers that are there.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn name_servers(&self) -> Result<Vec<NameServerRow>, StoreError> {
        let rows = sqlx::query("SELECT addresses, version FROM name_servers WHERE seen_at >= $1 ORDER BY addresses")
            .bind(Timestamp::now().before(GONE_AFTER).as_millis())
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let addresses: String = row.try_get("addresses")?;
                Ok(NameServerRow {
                    addresses: addresses.split_whitespace().map(str::to_owned).collect(),
                    version: row.try_get("version")?,
                })
            })
            .collect()
    }

    /// The proofs that stand in a zone: owner without a final dot, and value.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zone_texts(&self, zone: &str) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query("SELECT owner, value FROM zone_texts WHERE zone = $1 ORDER BY owner, value")
            .bind(zone)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("owner")?, row.try_get("value")?))).collect()
    }

    /// Adds a proof; one that stands there already stays as it is, `false` then.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_zone_text(&self, zone: &str, owner: &str, value: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO zone_texts (zone, owner, value, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (zone, owner, value) DO NOTHING",
        )
        .bind(zone)
        .bind(owner)
        .bind(value)
        .bind(Timestamp::now().as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes a proof away; `false` when it was not there.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_zone_text(&self, zone: &str, owner: &str, value: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM zone_texts WHERE zone = $1 AND owner = $2 AND value = $3")
            .bind(zone)
            .bind(owner)
            .bind(value)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Zones with proofs that were set before a time and never taken away, which this does.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_zone_texts(&self, before: Timestamp) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM zone_texts WHERE created_at < $1")
            .bind(before.as_millis())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

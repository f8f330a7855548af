//! Who looks at which domain, and when.

use std::time::Duration;

use common::time::Timestamp;
use sqlx::Row as _;

use super::super::{Store, StoreError};
use super::{DomainRow, read};

/// How long one look at a domain's DNS may take: longer than any question, so that a lease that ran out is that of a
/// process that died.
pub const LEASE: Duration = Duration::from_secs(90);

impl Store {
    /// Domains whose time has come and that nobody looks at, the longest due first, at most `limit`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn due_domains(&self, now: Timestamp, limit: u32) -> Result<Vec<DomainRow>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE domains.next_check <= $1 AND (domains.lease_until IS NULL OR domains.lease_until <= $1) \
             ORDER BY domains.next_check LIMIT $2"
        ))
        .bind(now.as_millis())
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// When the next domain's time comes, of those that nobody looks at.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn next_domain_check(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT MIN(next_check) AS next FROM domains WHERE lease_until IS NULL OR lease_until <= $1")
                .bind(now.as_millis())
                .fetch_one(&self.pool)
                .await?;
        Ok(row.try_get::<Option<i64>, _>("next")?.map(Timestamp::from_millis))
    }

    /// Domains that are served and for whose certificate nobody asks, and the reverse: at most `limit`. A process that died
    /// between the two leaves them so. Names below `localhost` have no certificate of an authority.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn uncertified_domains(&self, limit: u32) -> Result<Vec<DomainRow>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE domains.name NOT LIKE '%.localhost' AND \
             ((domains.served = 1 AND NOT EXISTS (SELECT 1 FROM acme_entries WHERE acme_entries.name = domains.name)) OR \
             (domains.served = 0 AND EXISTS (SELECT 1 FROM acme_entries WHERE acme_entries.name = domains.name) AND \
             NOT EXISTS (SELECT 1 FROM domains other WHERE other.name = domains.name AND other.served = 1))) \
             ORDER BY domains.name LIMIT $1"
        ))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Takes a domain for a look at its DNS; false when another has it, or it is gone.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn lease_domain(&self, row: &DomainRow, holder: &str, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE domains SET lease_holder = $3, lease_until = $4 WHERE name = $1 AND account = $2 \
             AND (lease_until IS NULL OR lease_until <= $5)",
        )
        .bind(row.name.as_str())
        .bind(row.account.as_str())
        .bind(holder)
        .bind(now.after(LEASE).as_millis())
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives all domains back that a holder leased.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn release_domains(&self, holder: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE domains SET lease_holder = NULL, lease_until = NULL WHERE lease_holder = $1")
            .bind(holder)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Gives a domain back that was taken. One that was lost is no error.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn release_domain(&self, row: &DomainRow, holder: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE domains SET lease_holder = NULL, lease_until = NULL \
             WHERE name = $1 AND account = $2 AND lease_holder = $3",
        )
        .bind(row.name.as_str())
        .bind(row.account.as_str())
        .bind(holder)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

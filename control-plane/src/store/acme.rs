//! Rows of wanted certificates: the adapter of the port [`acme::store::Store`]. Whatever may change at the same time
//! elsewhere changes by compare-and-set, told by the number of rows.

use std::sync::Arc;

use acme::entry::Entry;
use acme::store::{BucketChange, Lease, SealedCertificate, StoreError as PortError};
use async_trait::async_trait;
use common::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::sync::Notify;

use super::{Store, StoreError, json, to_json};

mod names;

use names::{forget_names, note_names};

/// The adapter.
#[derive(Clone)]
pub struct Entries {
    store: Store,
    /// Told of each change of what edges are to be told.
    changed: Arc<Notify>,
}

impl Entries {
    /// The rows of a database; `changed` hears when a name's certificate changed.
    pub fn new(store: Store, changed: Arc<Notify>) -> Self {
        Self { store, changed }
    }

    /// Entries by name, after the name `after`, at most `limit`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query("SELECT entry, next_at FROM acme_entries WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.store.pool)
            .await?;
        rows.iter().map(read).collect()
    }
}

impl From<StoreError> for PortError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreadable { what, detail } => Self::Unreadable { what: what.to_owned(), detail },
            StoreError::Database(_) | StoreError::Migration(_) => Self::Away(error.to_string()),
        }
    }
}

fn away(error: sqlx::Error) -> PortError {
    StoreError::from(error).into()
}

/// The entry of a row.
fn read(row: &AnyRow) -> Result<Entry, StoreError> {
    let next = Timestamp::from_millis(row.try_get("next_at")?);
    Ok(Entry { next, ..json(row, "entry")? })
}

fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl acme::store::Store for Entries {
    async fn add(&self, entry: &Entry) -> Result<bool, PortError> {
        let added = sqlx::query(
            "INSERT INTO acme_entries (name, entry, next_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(entry.name())
        .bind(to_json("wanted certificate", entry)?)
        .bind(entry.next.as_millis())
        .execute(&self.store.pool)
        .await
        .map_err(away)?;
        Ok(added.rows_affected() == 1)
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, PortError> {
        let row = sqlx::query("SELECT entry, next_at FROM acme_entries WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.store.pool)
            .await
            .map_err(away)?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    async fn remove(&self, name: &str) -> Result<(), PortError> {
        let mut tx = self.store.pool.begin().await.map_err(away)?;
        sqlx::query("DELETE FROM acme_entries WHERE name = $1").bind(name).execute(&mut *tx).await.map_err(away)?;
        let is_news = forget_names(&mut tx, name, None, Timestamp::now()).await.map_err(away)?;
        tx.commit().await.map_err(away)?;
        if is_news {
            self.changed.notify_one();
        }
        Ok(())
    }

    async fn look_at(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), PortError> {
        sqlx::query("UPDATE acme_entries SET next_at = $1 WHERE name = $2 AND lease_until <= $3")
            .bind(at.as_millis())
            .bind(name)
            .bind(now.as_millis())
            .execute(&self.store.pool)
            .await
            .map_err(away)?;
        Ok(())
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<String>, PortError> {
        let rows = sqlx::query(
            "SELECT name FROM acme_entries WHERE next_at <= $1 AND lease_until <= $1 ORDER BY next_at, name LIMIT $2",
        )
        .bind(now.as_millis())
        .bind(count(limit))
        .fetch_all(&self.store.pool)
        .await
        .map_err(away)?;
        rows.iter().map(|row| row.try_get("name").map_err(away)).collect()
    }

    async fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, PortError> {
        let mut times = Vec::new();
        for query in [
            "SELECT next_at AS at FROM acme_entries WHERE lease_until <= $1 ORDER BY next_at LIMIT 1",
            "SELECT lease_until AS at FROM acme_entries WHERE lease_until > $1 ORDER BY lease_until LIMIT 1",
        ] {
            let row = sqlx::query(query).bind(now.as_millis()).fetch_optional(&self.store.pool).await.map_err(away)?;
            if let Some(row) = row {
                times.push(Timestamp::from_millis(row.try_get("at").map_err(away)?));
            }
        }
        Ok(times.into_iter().min())
    }

    async fn lease(&self, lease: &Lease<'_>) -> Result<bool, PortError> {
        let leased = sqlx::query(
            "UPDATE acme_entries SET lease_holder = $1, lease_until = $2 \
             WHERE name = $3 AND (lease_holder = $1 OR lease_until <= $4)",
        )
        .bind(lease.holder)
        .bind(lease.until.as_millis())
        .bind(lease.name)
        .bind(lease.now.as_millis())
        .execute(&self.store.pool)
        .await
        .map_err(away)?;
        Ok(leased.rows_affected() == 1)
    }

    async fn seize(&self, lease: &Lease<'_>) -> Result<bool, PortError> {
        let seized = sqlx::query("UPDATE acme_entries SET lease_holder = $1, lease_until = $2 WHERE name = $3")
            .bind(lease.holder)
            .bind(lease.until.as_millis())
            .bind(lease.name)
            .execute(&self.store.pool)
            .await
            .map_err(away)?;
        Ok(seized.rows_affected() == 1)
    }

    async fn release_all(&self, holder: &str) -> Result<(), PortError> {
        sqlx::query("UPDATE acme_entries SET lease_holder = NULL, lease_until = 0 WHERE lease_holder = $1")
            .bind(holder)
            .execute(&self.store.pool)
            .await
            .map_err(away)?;
        Ok(())
    }

    async fn finish(&self, lease: &Lease<'_>) -> Result<(), PortError> {
        let mut tx = self.store.pool.begin().await.map_err(away)?;
        let removed =
            sqlx::query("DELETE FROM acme_entries WHERE name = $1 AND lease_holder = $2 AND lease_until > $3")
                .bind(lease.name)
                .bind(lease.holder)
                .bind(lease.now.as_millis())
                .execute(&mut *tx)
                .await
                .map_err(away)?;
        if removed.rows_affected() == 0 {
            return Err(PortError::LeaseLost(lease.name.to_owned()));
        }
        let is_news = forget_names(&mut tx, lease.name, None, lease.now).await.map_err(away)?;
        tx.commit().await.map_err(away)?;
        if is_news {
            self.changed.notify_one();
        }
        Ok(())
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), PortError> {
        sqlx::query(
            "UPDATE acme_entries SET lease_holder = NULL, lease_until = 0 WHERE name = $1 AND lease_holder = $2",
        )
        .bind(name)
        .bind(holder)
        .execute(&self.store.pool)
        .await
        .map_err(away)?;
        Ok(())
    }

    async fn save(&self, entry: &Entry, lease: &Lease<'_>) -> Result<(), PortError> {
        let mut tx = self.store.pool.begin().await.map_err(away)?;
        let saved = sqlx::query(
            "UPDATE acme_entries SET entry = $1, next_at = $2, lease_until = $3 \
             WHERE name = $4 AND lease_holder = $5 AND lease_until > $6",
        )
        .bind(to_json("wanted certificate", entry)?)
        .bind(entry.next.as_millis())
        .bind(lease.until.as_millis())
        .bind(lease.name)
        .bind(lease.holder)
        .bind(lease.now.as_millis())
        .execute(&mut *tx)
        .await
        .map_err(away)?;
        if saved.rows_affected() == 0 {
            return Err(PortError::LeaseLost(lease.name.to_owned()));
        }
        let is_news = note_names(&mut tx, entry, lease.now).await.map_err(away)?;
        tx.commit().await.map_err(away)?;
        if is_news {
            self.changed.notify_one();
        }
        Ok(())
    }

    async fn certificate(&self, id: &str) -> Result<Option<SealedCertificate>, PortError> {
        let row = sqlx::query("SELECT name, chain, sealed_key, not_after FROM certificates WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.store.pool)
            .await
            .map_err(away)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(SealedCertificate {
            id: id.to_owned(),
            name: row.try_get("name").map_err(away)?,
            chain_pem: row.try_get("chain").map_err(away)?,
            sealed_key: row.try_get("sealed_key").map_err(away)?,
            not_after: Timestamp::from_millis(row.try_get("not_after").map_err(away)?),
        }))
    }

    async fn add_certificate(&self, certificate: &SealedCertificate) -> Result<(), PortError> {
        sqlx::query(
            "INSERT INTO certificates (id, name, chain, sealed_key, not_after, origin) \
             VALUES ($1, $2, $3, $4, $5, 'acme') ON CONFLICT (id) DO NOTHING",
        )
        .bind(certificate.id.as_str())
        .bind(certificate.name.as_str())
        .bind(certificate.chain_pem.as_str())
        .bind(certificate.sealed_key.as_str())
        .bind(certificate.not_after.as_millis())
        .execute(&self.store.pool)
        .await
        .map_err(away)?;
        Ok(())
    }

    async fn reseal(&self, id: &str, old: &str, new: &str) -> Result<(), PortError> {
        sqlx::query("UPDATE certificates SET sealed_key = $1 WHERE id = $2 AND sealed_key = $3")
            .bind(new)
            .bind(id)
            .bind(old)
            .execute(&self.store.pool)
            .await
            .map_err(away)?;
        Ok(())
    }

    async fn certificate_ids(&self, after: &str, limit: usize) -> Result<Vec<String>, PortError> {
        let rows = sqlx::query("SELECT id FROM certificates WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after)
            .bind(count(limit))
            .fetch_all(&self.store.pool)
            .await
            .map_err(away)?;
        rows.iter().map(|row| row.try_get("id").map_err(away)).collect()
    }

    async fn account(&self, authority: &str) -> Result<Option<String>, PortError> {
        let row = sqlx::query("SELECT sealed FROM acme_accounts WHERE authority = $1")
            .bind(authority)
            .fetch_optional(&self.store.pool)
            .await
            .map_err(away)?;
        row.map(|row| row.try_get("sealed").map_err(away)).transpose()
    }

    async fn set_account(&self, authority: &str, old: Option<&str>, new: Option<&str>) -> Result<bool, PortError> {
        let query = match (old, new) {
            (None, None) => return Ok(self.account(authority).await?.is_none()),
            (None, Some(new)) => sqlx::query(
                "INSERT INTO acme_accounts (authority, sealed) VALUES ($1, $2) ON CONFLICT (authority) DO NOTHING",
            )
            .bind(authority)
            .bind(new),
            (Some(old), None) => {
                sqlx::query("DELETE FROM acme_accounts WHERE authority = $1 AND sealed = $2").bind(authority).bind(old)
            }
            (Some(old), Some(new)) => {
                sqlx::query("UPDATE acme_accounts SET sealed = $1 WHERE authority = $2 AND sealed = $3")
                    .bind(new)
                    .bind(authority)
                    .bind(old)
            }
        };
        Ok(query.execute(&self.store.pool).await.map_err(away)?.rows_affected() == 1)
    }

    async fn buckets(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, PortError> {
        let mut full = Vec::with_capacity(keys.len());
        for key in keys {
            let row = sqlx::query("SELECT full_at FROM acme_buckets WHERE bucket = $1")
                .bind(key.as_str())
                .fetch_optional(&self.store.pool)
                .await
                .map_err(away)?;
            full.push(row.map(|row| row.try_get("full_at").map(Timestamp::from_millis)).transpose().map_err(away)?);
        }
        Ok(full)
    }

    async fn set_buckets(&self, changes: &[BucketChange]) -> Result<bool, PortError> {
        let mut tx = self.store.pool.begin().await.map_err(away)?;
        // Everybody in the same order, so that no two wait for each other.
        let mut changes: Vec<&BucketChange> = changes.iter().filter(|c| c.old.is_some() || c.new.is_some()).collect();
        changes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        for BucketChange { key, old, new } in changes {
            let query = match (old, new) {
                (Some(old), Some(new)) => {
                    sqlx::query("UPDATE acme_buckets SET full_at = $1 WHERE bucket = $2 AND full_at = $3")
                        .bind(new.as_millis())
                        .bind(key.as_str())
                        .bind(old.as_millis())
                }
                (Some(old), None) => sqlx::query("DELETE FROM acme_buckets WHERE bucket = $1 AND full_at = $2")
                    .bind(key.as_str())
                    .bind(old.as_millis()),
                (None, new) => sqlx::query(
                    "INSERT INTO acme_buckets (bucket, full_at) VALUES ($1, $2) ON CONFLICT (bucket) DO NOTHING",
                )
                .bind(key.as_str())
                .bind(new.unwrap_or(Timestamp::from_millis(0)).as_millis()),
            };
            if query.execute(&mut *tx).await.map_err(away)?.rows_affected() == 0 {
                return Ok(false);
            }
        }
        tx.commit().await.map_err(away)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn the_database_keeps_the_ports_promises() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        let entries = Entries::new(store, Arc::default());
        assert_eq!(acme::store::conformance(&entries).await, Ok(()));
    }
}

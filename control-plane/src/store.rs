//! The database port: every SQL statement of the control plane, one module a subject. Each statement is
//! written once, for SQLite and Postgres.

use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, Row as _};

pub mod apps;
pub mod certificates;
pub mod deployments;
pub mod env;
pub mod policies;
pub mod projects;
pub mod tokens;
pub mod usage;

/// Connections at most; SQLite has one writer at a time anyway.
const MAX_CONNECTIONS: u32 = 8;
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// What every SQLite connection begins with. WAL lets readers go on while one writes; `NORMAL` survives
/// a killed process, and a power cut loses at most the last moments, never consistency.
const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000; \
     PRAGMA foreign_keys = ON;";

/// How engines say that the disk is full: SQLite (`SQLITE_FULL`) and Postgres (`disk_full`).
const FULL: [&str; 2] = ["13", "53100"];

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed or can't be reached.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema can't be brought up to date.
    #[error("the database's schema can't be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this version can't read.
    #[error("a stored {what} can't be read: {detail}")]
    Unreadable {
        /// What kind of row or column.
        what: &'static str,
        /// Why.
        detail: String,
    },
}

impl StoreError {
    /// Whether the statement broke a uniqueness rule.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }

    /// Whether there is no room to store anything.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.code().is_some_and(|code| FULL.contains(&&*code)))
    }
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
}

impl Store {
    /// Connects to `url` (`sqlite:///path/file.db`) and brings the schema up to date.
    ///
    /// # Errors
    /// When the database can't be reached or its schema is newer than this version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if sqlite {
                        sqlx::raw_sql(SQLITE_SETUP).execute(connection).await?;
                    }
                    Ok(())
                })
            })
            .connect(url)
            .await?;
        sqlx::migrate!("../migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    /// The next version of the route feed, greater than every one before.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn next_route_version(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'route_version' RETURNING value")
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(row.try_get::<i64, _>("value")?).unwrap_or_default())
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A column whose text is parsed by `T`.
fn parsed<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| StoreError::Unreadable { what: column, detail: e.to_string() })
}

/// A column that holds JSON.
fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|e| StoreError::Unreadable { what: column, detail: e.to_string() })
}

/// A value as JSON text for a column.
fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Unreadable { what, detail: e.to_string() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_told_apart_from_other_failures() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        let mut connection = store.pool.acquire().await.unwrap();
        // As many pages as there are: none can be added.
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *connection).await.unwrap();
        let full = sqlx::raw_sql("CREATE TABLE more (x); INSERT INTO more VALUES (randomblob(1000000))")
            .execute(&mut *connection)
            .await;
        assert!(StoreError::from(full.unwrap_err()).is_disk_full());
        let wrong = sqlx::raw_sql("SELECT nothing").execute(&mut *connection).await;
        assert!(!StoreError::from(wrong.unwrap_err()).is_disk_full());
    }
}

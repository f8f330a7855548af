//! The database port: every SQL statement of the control plane, one module a subject. Each statement is
//! written once, for SQLite and Postgres.

use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyConnection, AnyPool, Connection as _, Row as _};

pub mod acme;
pub mod apps;
pub mod certificates;
pub mod challenges;
pub mod changes;
pub mod claims;
pub mod control_planes;
pub mod copy;
pub mod deployers;
pub mod deployments;
pub mod domains;
pub mod duties;
pub mod edges;
pub mod env;
pub mod images;
pub mod installation;
pub mod name_servers;
pub mod policies;
pub mod projects;
mod queued;
pub mod reseal;
pub mod schema;
pub mod snapshot;
pub mod tokens;
pub mod uploads;
pub mod usage;
pub mod zones;

/// Connections at most; SQLite has one writer at a time anyway.
const SQLITE_CONNECTIONS: u32 = 8;
/// Connections at most to Postgres, for each control plane: three of them stay well below its default of 100.
const POSTGRES_CONNECTIONS: u32 = 24;
/// How long a request waits for a connection; so long a server may restart without any request failing.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(15);
/// What every SQLite connection begins with. WAL lets readers go on while one writes; `NORMAL` survives
/// a killed process, and a power cut loses at most the last moments, never consistency.
const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000; \
     PRAGMA foreign_keys = ON;";

/// What every Postgres connection begins with: no statement, no wait for a lock and no forgotten transaction may hold
/// up others for long.
const POSTGRES_SETUP: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET application_name = 'astrocloud';";

/// How engines say that the disk is full: SQLite (`SQLITE_FULL`) and Postgres (`disk_full`).
const FULL: [&str; 2] = ["13", "53100"];

/// How Postgres says that it can't serve now (its manual, appendix A): it stops, stopped by a crash, starts, has no
/// connection to spare, or became a standby.
const AWAY: [&str; 5] = ["57P01", "57P02", "57P03", "53300", "25006"];

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

    /// Whether the database can't be reached now, or stops or starts: later the same may work.
    #[must_use]
    pub fn is_away(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(e)) => {
                e.code().is_some_and(|code| AWAY.contains(&&*code) || code.starts_with("08"))
            }
            Self::Database(e) => {
                matches!(e, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed)
            }
            Self::Migration(_) | Self::Unreadable { .. } => false,
        }
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
    /// Connects to `url` (`sqlite:///path/file.db`, or `postgres://user:password@host/database` with `sslmode` and the
    /// other parameters of libpq) and brings the schema up to date. Several control planes may do so at once.
    ///
    /// # Errors
    /// When the database can't be reached or its schema is newer than this version.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        schema::migrate(url).await?;
        let (setup, connections) = setup(url);
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(setup).execute(connection).await?;
                    Ok(())
                })
            })
            .connect(url)
            .await?;
        Ok(Self { pool })
    }

    /// Counts this start of a control plane: a number greater than every one before.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn next_start(&self) -> Result<u64, StoreError> {
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

/// What a connection to this database begins with, and how many there may be.
fn setup(url: &str) -> (&'static str, u32) {
    sqlx::any::install_default_drivers();
    match url.starts_with("sqlite:") {
        true => (SQLITE_SETUP, SQLITE_CONNECTIONS),
        false => (POSTGRES_SETUP, POSTGRES_CONNECTIONS),
    }
}

/// One connection, outside any pool.
async fn connect(url: &str) -> Result<AnyConnection, StoreError> {
    let (setup, _) = setup(url);
    let mut connection = AnyConnection::connect(url).await?;
    sqlx::raw_sql(setup).execute(&mut connection).await?;
    Ok(connection)
}

/// A column whose text is parsed by `T`.
fn parsed<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|e: T::Err| StoreError::Unreadable { what: column, detail: e.to_string() })
}

/// A column whose text, if there is one, is parsed by `T`.
fn optional<T: std::str::FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError>
where
    T::Err: std::fmt::Display,
{
    let text: Option<String> = row.try_get(column)?;
    let read =
        |text: String| text.parse().map_err(|e: T::Err| StoreError::Unreadable { what: column, detail: e.to_string() });
    text.map(read).transpose()
}

/// A column that holds JSON.
fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, StoreError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|e| StoreError::Unreadable { what: column, detail: e.to_string() })
}

/// A column that holds JSON, or nothing.
fn optional_json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    let read = |text: String| {
        serde_json::from_str(&text).map_err(|e| StoreError::Unreadable { what: column, detail: e.to_string() })
    };
    text.map(read).transpose()
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

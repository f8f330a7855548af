//! Which migrations a database has.

use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Connection as _, Row as _};

use super::{StoreError, connect};

/// Every migration of this version.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");
/// How engines say that there is no such table: Postgres (`undefined_table`), and SQLite's general code.
const NO_TABLE: [&str; 2] = ["42P01", "1"];

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it brings, in the words of its file's name.
    pub description: String,
    /// Whether the database has it.
    pub applied: bool,
    /// Whether this version knows it; one that it does not is of a newer version.
    pub known: bool,
}

/// The migrations that this version or the database knows, in order.
///
/// # Errors
/// When the database can't be reached.
pub async fn status(url: &str) -> Result<Vec<Migration>, StoreError> {
    let mut connection = connect(url).await?;
    let applied = applied(&mut connection).await?;
    connection.close().await?;
    let known = MIGRATIONS.iter().map(|migration| Migration {
        version: migration.version,
        description: migration.description.to_string(),
        applied: applied.contains(&migration.version),
        known: true,
    });
    let mut all: Vec<Migration> = known.collect();
    let foreign = applied.iter().filter(|version| !MIGRATIONS.version_exists(**version));
    all.extend(foreign.map(|version| Migration {
        version: *version,
        description: "of a newer version".to_owned(),
        applied: true,
        known: false,
    }));
    Ok(all)
}

async fn applied(connection: &mut AnyConnection) -> Result<Vec<i64>, StoreError> {
    let found =
        sqlx::query("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version").fetch_all(connection).await;
    match found {
        Ok(rows) => Ok(rows.iter().map(|row| row.try_get("version")).collect::<Result<_, _>>()?),
        Err(sqlx::Error::Database(e)) if e.code().is_some_and(|code| NO_TABLE.contains(&&*code)) => Ok(Vec::new()),
        Err(e) => Err(e.into()),
    }
}

/// Brings a database's schema up to date. On Postgres one process does so and the others wait (an advisory lock of
/// sqlx's), as long as it takes.
///
/// # Errors
/// When the database can't be reached or its schema is newer than this version.
pub async fn migrate(url: &str) -> Result<(), StoreError> {
    let mut connection = connect(url).await?;
    if connection.backend_name() == "PostgreSQL" {
        sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 0;").execute(&mut connection).await?;
    }
    let done = MIGRATIONS.run(&mut connection).await;
    connection.close().await?;
    Ok(done?)
}

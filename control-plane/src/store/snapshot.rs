//! A database as a file, as it was at one moment, while it is used.

use std::path::Path;

use futures::TryStreamExt as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _};

use super::copy::{Copied, CopyError, Sum, Table, bind, sum, tables, values};
use super::{connect, schema};

/// Writes every row of a database to a new SQLite file, as of one moment. Others go on reading and writing.
///
/// # Errors
/// When a database fails, its schema is not this version's, something is at `to`, or what is read back differs.
pub async fn snapshot(from: &str, to: &Path) -> Result<Vec<Copied>, CopyError> {
    if to.symlink_metadata().is_ok() {
        return Err(CopyError::Exists(to.to_owned()));
    }
    if schema::status(from).await?.iter().any(|migration| !migration.applied || !migration.known) {
        return Err(CopyError::Schema);
    }
    let place = url::Url::from_file_path(to).map_err(|()| CopyError::Relative(to.to_owned()))?;
    let url = format!("sqlite://{}?mode=rwc", place.path());
    let mut source = connect(from).await?;
    let copied = if source.backend_name() == "SQLite" {
        // A statement of its own: it reads as of one moment, and holds nobody up.
        sqlx::query("VACUUM INTO $1").bind(to.display().to_string()).execute(&mut source).await?;
        count(&url).await?
    } else {
        rows(&mut source, &url).await?
    };
    source.close().await?;
    Ok(copied)
}

/// How many rows each table of a snapshot has.
async fn count(url: &str) -> Result<Vec<Copied>, CopyError> {
    let mut target = connect(url).await?;
    let mut counted = Vec::new();
    for table in tables(&mut target).await? {
        let rows = sum(&mut target, &table).await?.rows;
        counted.push(Copied { table: table.name, rows });
    }
    settle(target).await?;
    Ok(counted)
}

/// Copies the rows of a Postgres into a new SQLite.
async fn rows(source: &mut AnyConnection, url: &str) -> Result<Vec<Copied>, CopyError> {
    schema::migrate(url).await?;
    let mut target = connect(url).await?;
    let tables = tables(&mut target).await?;
    // Reading all may take longer than any statement of a request.
    sqlx::raw_sql("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;")
        .execute(&mut *source)
        .await?;
    let mut from = source.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *from).await?;
    let mut to = target.begin().await?;
    for table in tables.iter().rev() {
        // What the migrations put there.
        sqlx::raw_sql(AssertSqlSafe(format!("DELETE FROM {}", table.name))).execute(&mut *to).await?;
    }
    let mut copied = Vec::new();
    for table in &tables {
        let sent = send(&mut from, &mut to, table).await?;
        if sent != sum(&mut to, table).await? {
            return Err(CopyError::Differs(table.name.clone()));
        }
        copied.push(Copied { table: table.name.clone(), rows: sent.rows });
    }
    to.commit().await?;
    from.rollback().await?;
    settle(target).await?;
    Ok(copied)
}

async fn send(from: &mut AnyConnection, to: &mut AnyConnection, table: &Table) -> Result<Sum, CopyError> {
    let insert = table.insert();
    let mut sent = Sum::default();
    let select = format!("SELECT {} FROM {}", table.names(), table.name);
    let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(from);
    while let Some(row) = rows.try_next().await? {
        let values = values(&row, table)?;
        sent.add(&values);
        let query = sqlx::query(AssertSqlSafe(insert.clone()));
        values.into_iter().fold(query, bind).execute(&mut *to).await?;
    }
    Ok(sent)
}

/// Makes one file of the database: none beside it holds a part.
async fn settle(mut target: AnyConnection) -> Result<(), CopyError> {
    sqlx::raw_sql("PRAGMA journal_mode = DELETE").execute(&mut target).await?;
    target.close().await?;
    Ok(())
}

//! Moves an installation from one database to another: every row, checked after it was written.

use std::path::PathBuf;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Connection as _, Row as _};

use super::{StoreError, connect, schema};

/// Rows that are read at once.
const BATCH: i64 = 500;

/// Why nothing was copied. The target stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target is in use.
    #[error("the target has {rows} rows in its table {table}: a copy needs a database that holds nothing yet")]
    NotEmpty {
        /// Which table.
        table: String,
        /// How many.
        rows: i64,
    },
    /// The schema of what is copied is not this version's.
    #[error("the database's schema is not the one of this version: `astrocloud db status` tells which it has")]
    Schema,
    /// Something is where a snapshot is to be.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// A snapshot's place says nothing by itself.
    #[error("{0} is no absolute path")]
    Relative(PathBuf),
    /// What was read back is not what was written.
    #[error("the table {0} is not the same in the target; nothing was kept there")]
    Differs(String),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A table that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
}

pub(super) struct Table {
    pub name: String,
    columns: Vec<Column>,
}

impl Table {
    /// Its columns, as SQL lists them.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// Puts one row into it.
    pub fn insert(&self) -> String {
        let places: Vec<String> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", self.name, self.names(), places.join(", "))
    }
}

struct Column {
    name: String,
    is_number: bool,
}

#[derive(PartialEq, Eq)]
pub(super) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

/// Copies every row of `from`, a SQLite database that nothing writes meanwhile, to `to`, whose schema is brought up to
/// date and which must hold nothing yet. All or nothing.
///
/// # Errors
/// When a database fails, the target is in use, or what is read back differs.
pub async fn copy(from: &str, to: &str) -> Result<Vec<Copied>, CopyError> {
    schema::migrate(from).await?;
    schema::migrate(to).await?;
    let (mut source, mut target) = (connect(from).await?, connect(to).await?);
    let tables = tables(&mut source).await?;
    let mut tx = target.begin().await?;
    empty(&mut tx, &tables).await?;
    let mut copied = Vec::new();
    for table in &tables {
        let sent = send(&mut source, &mut tx, table).await?;
        let arrived = sum(&mut tx, table).await?;
        if sent != arrived {
            return Err(CopyError::Differs(table.name.clone()));
        }
        copied.push(Copied { table: table.name.clone(), rows: sent.rows });
    }
    tx.commit().await?;
    source.close().await?;
    target.close().await?;
    Ok(copied)
}

/// The tables, each after those that its rows name: so they were made.
pub(super) async fn tables(source: &mut AnyConnection) -> Result<Vec<Table>, CopyError> {
    let names = sqlx::query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
         AND name <> '_sqlx_migrations' ORDER BY rowid",
    )
    .fetch_all(&mut *source)
    .await?;
    let mut tables = Vec::new();
    for row in names {
        let name: String = row.try_get("name")?;
        let columns = sqlx::query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
            .bind(name.as_str())
            .fetch_all(&mut *source)
            .await?;
        let read = |row: &AnyRow| -> Result<Column, sqlx::Error> {
            let kind: String = row.try_get("type")?;
            Ok(Column { name: row.try_get("name")?, is_number: kind == "BIGINT" })
        };
        let columns = columns.iter().map(read).collect::<Result<_, _>>()?;
        tables.push(Table { name, columns });
    }
    Ok(tables)
}

/// Makes sure that the target holds nothing but what its migrations put there, and removes that.
async fn empty(target: &mut AnyConnection, tables: &[Table]) -> Result<(), CopyError> {
    // The one table with rows from the beginning.
    const SEEDED: &str = "counters";
    for table in tables.iter().filter(|table| table.name != SEEDED) {
        let counted = format!("SELECT COUNT(*) AS rows FROM {}", table.name);
        let rows: i64 = sqlx::query(AssertSqlSafe(counted)).fetch_one(&mut *target).await?.try_get("rows")?;
        if rows > 0 {
            return Err(CopyError::NotEmpty { table: table.name.clone(), rows });
        }
    }
    sqlx::query("DELETE FROM counters").execute(target).await?;
    Ok(())
}

/// Rows of a table, whatever their order.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub rows: u64,
    hash: u128,
}

impl Sum {
    pub fn add(&mut self, row: &[Value]) {
        let mut hasher = blake3::Hasher::new();
        for value in row {
            // The kind, whether there is one, and its length keep neighbours apart.
            match value {
                Value::Number(Some(number)) => hasher.update(b"n").update(&number.to_le_bytes()),
                Value::Text(Some(text)) => {
                    hasher.update(b"t").update(&text.len().to_le_bytes()).update(text.as_bytes())
                }
                Value::Number(None) | Value::Text(None) => hasher.update(b"-"),
            };
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        self.hash = self.hash.wrapping_add(u128::from_le_bytes(half));
        self.rows += 1;
    }
}

async fn send(source: &mut AnyConnection, target: &mut AnyConnection, table: &Table) -> Result<Sum, CopyError> {
    let (names, insert) = (table.names(), table.insert());
    let mut sum = Sum::default();
    let mut after = i64::MIN;
    loop {
        let select = format!(
            "SELECT rowid AS copied_row, {names} FROM {} WHERE rowid > $1 ORDER BY rowid LIMIT {BATCH}",
            table.name
        );
        let rows = sqlx::query(AssertSqlSafe(select)).bind(after).fetch_all(&mut *source).await?;
        let Some(last) = rows.last() else { return Ok(sum) };
        after = last.try_get("copied_row")?;
        for row in &rows {
            let values = values(row, table)?;
            sum.add(&values);
            let query = sqlx::query(AssertSqlSafe(insert.clone()));
            values.into_iter().fold(query, bind).execute(&mut *target).await?;
        }
    }
}

/// What a table of the target holds, by reading all of it.
pub(super) async fn sum(target: &mut AnyConnection, table: &Table) -> Result<Sum, CopyError> {
    use futures::TryStreamExt as _;
    let mut sum = Sum::default();
    let select = format!("SELECT * FROM {}", table.name);
    let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(target);
    while let Some(row) = rows.try_next().await? {
        sum.add(&values(&row, table)?);
    }
    Ok(sum)
}

pub(super) fn values(row: &AnyRow, table: &Table) -> Result<Vec<Value>, sqlx::Error> {
    let value = |column: &Column| {
        let name = column.name.as_str();
        Ok(if column.is_number { Value::Number(row.try_get(name)?) } else { Value::Text(row.try_get(name)?) })
    };
    table.columns.iter().map(value).collect()
}

pub(super) fn bind(query: Query<'_, Any, AnyArguments>, value: Value) -> Query<'_, Any, AnyArguments> {
    match value {
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
    }
}

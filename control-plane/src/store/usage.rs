//! What projects were served, hour by hour.

use std::sync::{Arc, LazyLock};

use common::id::ProjectId;
use common::time::Timestamp;
use common::usage::Usage;
use sqlx::{AssertSqlSafe, Row as _};

use super::{Store, StoreError};

/// The columns of counts, in the order of [`counts`].
const COLUMNS: [&str; 22] = [
    "requests",
    "bytes_out",
    "bytes_in",
    "cache_hits",
    "cache_misses",
    "status_1",
    "status_2",
    "status_3",
    "status_4",
    "status_5",
    "latency_0",
    "latency_1",
    "latency_2",
    "latency_3",
    "latency_4",
    "latency_5",
    "latency_6",
    "latency_7",
    "latency_8",
    "latency_9",
    "latency_10",
    "latency_11",
];

/// Adds counts to a project's hour. Of a project that is gone nothing is kept.
static ADD: LazyLock<Arc<str>> = LazyLock::new(|| {
    let columns = COLUMNS.join(", ");
    let values: Vec<String> = (3..3 + COLUMNS.len()).map(|n| format!("${n}")).collect();
    let sums: Vec<String> =
        COLUMNS.iter().map(|column| format!("{column} = usage_hours.{column} + excluded.{column}")).collect();
    format!(
        "INSERT INTO usage_hours (project, hour, {columns}) SELECT id, $2, {} FROM projects WHERE name = $1 \
         ON CONFLICT (project, hour) DO UPDATE SET {}",
        values.join(", "),
        sums.join(", ")
    )
    .into()
});

/// Counts in the order of [`COLUMNS`].
fn counts(usage: &Usage) -> impl Iterator<Item = i64> {
    let own = [usage.requests, usage.bytes_out, usage.bytes_in, usage.cache_hits, usage.cache_misses];
    own.into_iter().chain(usage.statuses).chain(usage.latencies).map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

impl Store {
    /// Adds what projects were served to the hour that begins at `hour`, all or none.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_usage(&self, hour: Timestamp, projects: &[Usage]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for usage in projects {
            let query =
                sqlx::query(AssertSqlSafe(Arc::clone(&ADD))).bind(usage.project.as_str()).bind(hour.as_millis());
            counts(usage).fold(query, |query, count| query.bind(count)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What a project was served in the hours that begin from `from` on and before `to`, in order.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn usage(
        &self,
        project: &ProjectId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Usage)>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM usage_hours WHERE project = $1 AND hour >= $2 AND hour < $3 ORDER BY hour")
                .bind(project.as_str())
                .bind(from.as_millis())
                .bind(to.as_millis())
                .fetch_all(&self.pool)
                .await?;
        let read = |row: &sqlx::any::AnyRow| {
            let mut usage = Usage::default();
            let count = |column: &str| -> Result<u64, StoreError> {
                Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or_default())
            };
            let (own, rest) = COLUMNS.split_at(5);
            let (statuses, latencies) = rest.split_at(usage.statuses.len());
            let fields = [
                &mut usage.requests,
                &mut usage.bytes_out,
                &mut usage.bytes_in,
                &mut usage.cache_hits,
                &mut usage.cache_misses,
            ];
            let fields = own.iter().zip(fields);
            let fields = fields.chain(statuses.iter().zip(&mut usage.statuses));
            for (column, field) in fields.chain(latencies.iter().zip(&mut usage.latencies)) {
                *field = count(column)?;
            }
            Ok((Timestamp::from_millis(row.try_get("hour")?), usage))
        };
        rows.iter().map(read).collect()
    }

    /// Deletes what is of hours before `oldest`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_usage(&self, oldest: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM usage_hours WHERE hour < $1").bind(oldest.as_millis()).execute(&self.pool).await?;
        Ok(())
    }
}

//! Which name has which certificate now, as edges are told.

use acme::entry::Entry;
use common::time::Timestamp;
use sqlx::{Any, Row as _, Transaction};

/// Notes which names an entry's certificate is for now; whether that is news.
pub(super) async fn note_names(
    tx: &mut Transaction<'_, Any>,
    entry: &Entry,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let Some(current) = &entry.current else { return forget_names(tx, entry.name(), None, now).await };
    let mut is_news = false;
    for name in &current.names {
        // The number is taken with the counter's row locked until the end, so numbers become visible in order.
        let change = sqlx::query(
            "UPDATE counters SET value = value + 1 WHERE name = 'certificate_names' AND NOT EXISTS \
             (SELECT 1 FROM certificate_names WHERE name = $1 AND entry = $2 AND certificate = $3) RETURNING value",
        )
        .bind(name.as_str())
        .bind(entry.name())
        .bind(current.id.as_str())
        .fetch_optional(&mut **tx)
        .await?;
        let Some(change) = change else { continue };
        is_news = true;
        sqlx::query(
            "INSERT INTO certificate_names (name, entry, certificate, change, changed_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (name) DO UPDATE SET entry = excluded.entry, certificate = excluded.certificate, \
             change = excluded.change, changed_at = excluded.changed_at",
        )
        .bind(name.as_str())
        .bind(entry.name())
        .bind(current.id.as_str())
        .bind(change.try_get::<i64, _>("value")?)
        .bind(now.as_millis())
        .execute(&mut **tx)
        .await?;
    }
    if is_news {
        // Names that the one before had and this one has not.
        forget_names(tx, entry.name(), Some(&current.id), now).await?;
    }
    Ok(is_news)
}

/// Notes that an entry's names have no certificate any more, but those that have `kept`; whether that is news.
pub(super) async fn forget_names(
    tx: &mut Transaction<'_, Any>,
    entry: &str,
    kept: Option<&str>,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let change = sqlx::query(
        "UPDATE counters SET value = value + 1 WHERE name = 'certificate_names' AND EXISTS \
         (SELECT 1 FROM certificate_names WHERE entry = $1 AND certificate <> $2) RETURNING value",
    )
    .bind(entry)
    .bind(kept.unwrap_or_default())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(change) = change else { return Ok(false) };
    sqlx::query(
        "UPDATE certificate_names SET certificate = NULL, change = $1, changed_at = $2 \
         WHERE entry = $3 AND certificate <> $4",
    )
    .bind(change.try_get::<i64, _>("value")?)
    .bind(now.as_millis())
    .bind(entry)
    .bind(kept.unwrap_or_default())
    .execute(&mut **tx)
    .await?;
    Ok(true)
}

//! Rows of proofs of control, of the edges that show them, and of which certificates names have: what every control
//! plane tells its edges, whichever of them changed it.

use common::certificate::Challenge;
use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use sqlx::Row as _;

use super::certificates::unreadable;
use super::{Store, StoreError, to_json};

/// Numbers of the last changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of names' certificates.
    pub names: i64,
    /// Of challenges.
    pub challenges: i64,
}

/// What a name was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The name, `*.` first for a wildcard.
    pub name: String,
    /// Its certificate; none when it has none any more.
    pub certificate: Option<String>,
    /// Number of the change.
    pub change: i64,
}

/// How far the edges are that an authority may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// How many they are.
    pub edges: i64,
    /// The change of challenges up to which all of them are.
    pub change: i64,
}

impl Store {
    /// Numbers of the last changes.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn changes(&self) -> Result<Changes, StoreError> {
        let rows =
            sqlx::query("SELECT name, value FROM counters WHERE name = 'certificate_names' OR name = 'challenges'")
                .fetch_all(&self.pool)
                .await?;
        let mut changes = Changes::default();
        for row in rows {
            let value = row.try_get("value")?;
            match row.try_get::<String, _>("name")?.as_str() {
                "challenges" => changes.challenges = value,
                _ => changes.names = value,
            }
        }
        Ok(changes)
    }

    /// Names whose certificate changed after the change `after`, in order.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn changed_names(&self, after: i64) -> Result<Vec<NameChange>, StoreError> {
        let rows =
            sqlx::query("SELECT name, certificate, change FROM certificate_names WHERE change > $1 ORDER BY change")
                .bind(after)
                .fetch_all(&self.pool)
                .await?;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(NameChange {
                name: row.try_get("name")?,
                certificate: row.try_get("certificate")?,
                change: row.try_get("change")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Deletes names that have no certificate since before a time.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_names(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM certificate_names WHERE certificate IS NULL AND changed_at < $1")
            .bind(before.as_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Adds challenges by their ids; those that are there stay. Gives the number of the change with which all of them
    /// are told.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_challenges(
        &self,
        keys: &KeyRing,
        new: &[(String, Challenge)],
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'challenges' RETURNING value")
            .fetch_one(&mut *tx)
            .await?;
        for (id, challenge) in new {
            let text = Secret::new(to_json("challenge", challenge)?);
            sqlx::query(
                "INSERT INTO challenges (id, sealed, added_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
            )
            .bind(id.as_str())
            .bind(keys.seal(&text))
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(row.try_get("value")?)
    }

    /// Removes challenges; ones that are not there are no error.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_challenges(&self, ids: &[String]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'challenges'").execute(&mut *tx).await?;
        for id in ids {
            sqlx::query("DELETE FROM challenges WHERE id = $1").bind(id.as_str()).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Removes challenges that were added before a time: their orders are over, however they ended.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_challenges(&self, before: Timestamp) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT id FROM challenges WHERE added_at < $1")
            .bind(before.as_millis())
            .fetch_all(&self.pool)
            .await?;
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Result<Vec<String>, _> = rows.iter().map(|row| row.try_get("id")).collect();
        self.remove_challenges(&ids?).await
    }

    /// All challenges. One that can't be opened is left out: its order is answered anew.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn challenges(&self, keys: &KeyRing) -> Result<Vec<Challenge>, StoreError> {
        let rows = sqlx::query("SELECT sealed FROM challenges ORDER BY added_at, id").fetch_all(&self.pool).await?;
        let mut challenges = Vec::with_capacity(rows.len());
        for row in rows {
            let opened = keys.open(&row.try_get::<String, _>("sealed")?).map_err(unreadable("challenge"));
            let read = opened.and_then(|text| {
                serde_json::from_str(text.reveal())
                    .map_err(|e| StoreError::Unreadable { what: "challenge", detail: e.to_string() })
            });
            match read {
                Ok(challenge) => challenges.push(challenge),
                Err(error) => tracing::error!(%error, "a proof of control is not shown"),
            }
        }
        Ok(challenges)
    }

    /// Notes an edge that connected: it shows nothing yet.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_edge(&self, id: &str, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO edges (id, seen_at, challenges) VALUES ($1, $2, 0) ON CONFLICT (id) DO UPDATE SET challenges = 0",
        )
        .bind(id)
        .bind(now.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that an edge shows all challenges up to a change.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn edge_shows(&self, id: &str, change: i64, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO edges (id, seen_at, challenges) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, challenges = excluded.challenges",
        )
        .bind(id)
        .bind(now.as_millis())
        .bind(change)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that edges are up to date.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn edges_seen(&self, ids: &[String], now: Timestamp) -> Result<(), StoreError> {
        for id in ids {
            sqlx::query("UPDATE edges SET seen_at = $1 WHERE id = $2")
                .bind(now.as_millis())
                .bind(id.as_str())
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    /// Forgets an edge that ended.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_edge(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM edges WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// Forgets edges that were not up to date since a time.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_edges(&self, before: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM edges WHERE seen_at < $1").bind(before.as_millis()).execute(&self.pool).await?;
        Ok(())
    }

    /// How far the edges are that were up to date since a time.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn shown(&self, since: Timestamp) -> Result<Shown, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS edges, COALESCE(MIN(challenges), 0) AS least FROM edges WHERE seen_at >= $1",
        )
        .bind(since.as_millis())
        .fetch_one(&self.pool)
        .await?;
        Ok(Shown { edges: row.try_get("edges")?, change: row.try_get("least")? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use common::secret::MasterKey;

    use super::*;

    async fn store(folder: &tempfile::TempDir) -> (Store, KeyRing) {
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("db").display());
        let keys = MasterKey::load_or_create(&folder.path().join("key")).unwrap();
        (Store::open(&url).await.unwrap(), keys.into())
    }

    fn challenge(token: &str) -> Challenge {
        let (host, token) = ("a.example".to_owned(), token.to_owned());
        Challenge::Http01 { host, key_authorization: format!("{token}.thumb"), token }
    }

    #[tokio::test]
    async fn challenges_of_several_orders_stand_beside_each_other_until_each_is_withdrawn() {
        let folder = tempfile::tempdir().unwrap();
        let (store, keys) = store(&folder).await;
        let (now, later) = (Timestamp::from_millis(1000), Timestamp::from_millis(2000));
        let first = store.add_challenges(&keys, &[("1".into(), challenge("a"))], now).await.unwrap();
        let second = store.add_challenges(&keys, &[("2".into(), challenge("b"))], later).await.unwrap();
        let again = store.add_challenges(&keys, &[("1".into(), challenge("a"))], later).await.unwrap();
        assert!(first < second && second < again, "whoever adds one waits for a change of its own");
        assert_eq!(store.changes().await.unwrap().challenges, again);
        assert_eq!(store.challenges(&keys).await.unwrap(), [challenge("a"), challenge("b")]);
        store.remove_challenges(&["1".to_owned(), "unknown".to_owned()]).await.unwrap();
        assert_eq!(store.challenges(&keys).await.unwrap(), [challenge("b")]);
        assert!(store.changes().await.unwrap().challenges > again);
        store.forget_challenges(later).await.unwrap();
        assert_eq!(store.challenges(&keys).await.unwrap().len(), 1);
        store.forget_challenges(later.after(Duration::from_millis(1))).await.unwrap();
        assert_eq!(store.challenges(&keys).await.unwrap(), []);
    }

    #[tokio::test]
    async fn the_edge_that_is_furthest_behind_counts_until_it_was_away_for_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = store(&folder).await;
        let at = Timestamp::from_millis;
        assert_eq!(store.shown(at(0)).await.unwrap(), Shown { edges: 0, change: 0 });
        store.add_edge("one", at(10)).await.unwrap();
        store.edge_shows("one", 7, at(10)).await.unwrap();
        store.add_edge("two", at(20)).await.unwrap();
        assert_eq!(store.shown(at(5)).await.unwrap(), Shown { edges: 2, change: 0 });
        store.edge_shows("two", 8, at(20)).await.unwrap();
        assert_eq!(store.shown(at(5)).await.unwrap(), Shown { edges: 2, change: 7 });
        assert_eq!(store.shown(at(15)).await.unwrap(), Shown { edges: 1, change: 8 }, "the other is gone");
        store.edges_seen(&["one".to_owned()], at(30)).await.unwrap();
        assert_eq!(store.shown(at(15)).await.unwrap(), Shown { edges: 2, change: 7 }, "and back");
        // It connects again and again, and never applies anything.
        store.add_edge("one", at(40)).await.unwrap();
        assert_eq!(store.shown(at(35)).await.unwrap(), Shown { edges: 0, change: 0 });
        store.remove_edge("two").await.unwrap();
        store.forget_edges(at(99)).await.unwrap();
        assert_eq!(store.shown(at(0)).await.unwrap().edges, 0);
    }
}

//! Rows of DNS zones, their edits, and of the proofs that stand in them for a while.

use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row as _, Transaction};

use super::{Store, StoreError, json, to_json};

/// Whether a zone is signed.
#[derive(Clone, Debug)]
pub enum Signing {
    /// It is not.
    Off,
    /// It is, with this key (PKCS#8 in base64).
    On(Secret),
    /// It still is, while its parent is asked to forget the key.
    Leaving(Secret),
}

impl Signing {
    fn columns(&self, key: &KeyRing) -> (&'static str, Option<String>) {
        match self {
            Self::Off => ("off", None),
            Self::On(secret) => ("on", Some(key.seal(secret))),
            Self::Leaving(secret) => ("leaving", Some(key.seal(secret))),
        }
    }
}

/// A zone.
#[derive(Clone, Debug)]
pub struct ZoneRow {
    /// Its name in lower case, without a final dot.
    pub name: String,
    /// What it is a change of.
    pub version: i64,
    /// Master file.
    pub records: String,
    /// Whether it is signed.
    pub signing: Signing,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Records that an edit added and removed, as lines of a master file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeLine {
    /// A record that was not there.
    Add(String),
    /// A record that was there.
    Remove(String),
}

/// An edit of a zone.
#[derive(Clone, Debug)]
pub struct EditRow {
    /// From 1.
    pub number: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub actor: String,
    /// Why.
    pub note: String,
    /// The zone's serial after it.
    pub serial: u32,
    /// What it changed.
    pub changes: Vec<ChangeLine>,
    /// The edit that it takes back.
    pub undoes: Option<i64>,
    /// The edit that took it back.
    pub undone_by: Option<i64>,
}

/// An edit to be written.
#[derive(Clone, Debug)]
pub struct NewEdit {
    /// By whom.
    pub actor: String,
    /// Why.
    pub note: String,
    /// What it changes.
    pub changes: Vec<ChangeLine>,
    /// The edit that it takes back.
    pub undoes: Option<i64>,
}

const ZONE: &str = "SELECT name, version, records, dnssec, sealed_key, created_at, updated_at FROM zones";
const EDIT: &str = "SELECT number, made_at, actor, note, serial, changes, undoes, undone_by FROM zone_edits";

impl Store {
    /// A zone by its name.
    ///
    /// # Errors
    /// When the database failed or its key was sealed with another master key.
    pub async fn zone(&self, key: &KeyRing, name: &str) -> Result<Option<ZoneRow>, StoreError> {
        let row =
            sqlx::query(AssertSqlSafe(format!("{ZONE} WHERE name = $1"))).bind(name).fetch_optional(&self.pool).await?;
        row.map(|row| zone(key, &row)).transpose()
    }

    /// Zones by name, after one.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zones(&self, key: &KeyRing, after: &str, limit: u32) -> Result<Vec<ZoneRow>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!("{ZONE} WHERE name > $1 ORDER BY name LIMIT $2")))
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| zone(key, row)).collect()
    }

    /// Which of these names is a zone: the first of them.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn first_zone(&self, names: &[String]) -> Result<Option<String>, StoreError> {
        for name in names {
            let row =
                sqlx::query("SELECT name FROM zones WHERE name = $1").bind(name).fetch_optional(&self.pool).await?;
            if row.is_some() {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// The version of the last change of any zone.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zone_version(&self) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT value FROM counters WHERE name = 'zone_version'").fetch_one(&self.pool).await?;
        Ok(row.try_get("value")?)
    }

    /// Zones that changed after a version, each as it can be read or with why it can't.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zones_since(
        &self,
        key: &KeyRing,
        version: i64,
    ) -> Result<Vec<(String, Result<ZoneRow, StoreError>)>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(format!("{ZONE} WHERE version > $1 ORDER BY version")))
            .bind(version)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, zone(key, row)))).collect()
    }

    /// Names of zones that were deleted after a version.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zones_removed_since(&self, version: i64) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT name FROM zones_removed WHERE version > $1")
            .bind(version)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }

    /// Adds a zone with its first edit; `false` when there is one of this name.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_zone(
        &self,
        key: &KeyRing,
        row: &ZoneRow,
        serial: u32,
        edit: &NewEdit,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let version = next_version(&mut tx).await?;
        let (dnssec, sealed) = row.signing.columns(key);
        let done = sqlx::query(
            "INSERT INTO zones (name, version, records, dnssec, sealed_key, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING",
        )
        .bind(row.name.as_str())
        .bind(version)
        .bind(row.records.as_str())
        .bind(dnssec)
        .bind(sealed)
        .bind(row.created_at.as_millis())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM zones_removed WHERE name = $1").bind(row.name.as_str()).execute(&mut *tx).await?;
        add_edit(&mut tx, &row.name, serial, edit).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Replaces a zone, with the edit that led to it if there is one. Tells whether it was done: not when the zone is no
    /// longer of the row's version.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn replace_zone(
        &self,
        key: &KeyRing,
        row: &ZoneRow,
        serial: u32,
        edit: Option<&NewEdit>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let version = next_version(&mut tx).await?;
        let (dnssec, sealed) = row.signing.columns(key);
        let done = sqlx::query(
            "UPDATE zones SET version = $3, records = $4, dnssec = $5, sealed_key = $6, updated_at = $7 \
             WHERE name = $1 AND version = $2",
        )
        .bind(row.name.as_str())
        .bind(row.version)
        .bind(version)
        .bind(row.records.as_str())
        .bind(dnssec)
        .bind(sealed)
        .bind(Timestamp::now().as_millis())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(edit) = edit {
            add_edit(&mut tx, &row.name, serial, edit).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes a zone with its history; `false` when there is none.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn remove_zone(&self, name: &str) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let version = next_version(&mut tx).await?;
        let done = sqlx::query("DELETE FROM zones WHERE name = $1").bind(name).execute(&mut *tx).await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO zones_removed (name, version) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET version = excluded.version",
        )
        .bind(name)
        .bind(version)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// A zone's edits, newest first, before a number.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zone_edits(&self, zone: &str, before: i64, limit: u32) -> Result<Vec<EditRow>, StoreError> {
        let query = format!("{EDIT} WHERE zone = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(zone)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(edit).collect()
    }

    /// One edit of a zone; the newest that neither was taken back nor takes one back when no number is given.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn zone_edit(&self, zone: &str, number: Option<i64>) -> Result<Option<EditRow>, StoreError> {
        let query = match number {
            Some(_) => format!("{EDIT} WHERE zone = $1 AND number = $2"),
            // The first edit made the zone.
            None => format!(
                "{EDIT} WHERE zone = $1 AND number > $2 AND undoes IS NULL AND undone_by IS NULL \
                 ORDER BY number DESC LIMIT 1"
            ),
        };
        let row =
            sqlx::query(AssertSqlSafe(query)).bind(zone).bind(number.unwrap_or(1)).fetch_optional(&self.pool).await?;
        row.as_ref().map(edit).transpose()
    }

    /// Signed zones that have not changed since a time, by name and version.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn signed_zones_before(&self, time: Timestamp) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT name FROM zones WHERE dnssec <> 'off' AND updated_at < $1")
            .bind(time.as_millis())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
    }
}

/// The next version, greater than every one before; the row stays locked until the transaction's end, so versions are
/// seen in their order.
async fn next_version(tx: &mut Transaction<'_, Any>) -> Result<i64, StoreError> {
    let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'zone_version' RETURNING value")
        .fetch_one(&mut **tx)
        .await?;
    Ok(row.try_get("value")?)
}

async fn add_edit(tx: &mut Transaction<'_, Any>, zone: &str, serial: u32, edit: &NewEdit) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT COALESCE(MAX(number), 0) + 1 AS number FROM zone_edits WHERE zone = $1")
        .bind(zone)
        .fetch_one(&mut **tx)
        .await?;
    let number: i64 = row.try_get("number")?;
    sqlx::query(
        "INSERT INTO zone_edits (zone, number, made_at, actor, note, serial, changes, undoes) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(zone)
    .bind(number)
    .bind(Timestamp::now().as_millis())
    .bind(edit.actor.as_str())
    .bind(edit.note.as_str())
    .bind(i64::from(serial))
    .bind(to_json("edit", &edit.changes)?)
    .bind(edit.undoes)
    .execute(&mut **tx)
    .await?;
    if let Some(undone) = edit.undoes {
        sqlx::query("UPDATE zone_edits SET undone_by = $3 WHERE zone = $1 AND number = $2")
            .bind(zone)
            .bind(undone)
            .bind(number)
            .execute(&mut **tx)
            .await?;
        // What an undone undoing had taken back stands again.
        sqlx::query("UPDATE zone_edits SET undone_by = NULL WHERE zone = $1 AND undone_by = $2")
            .bind(zone)
            .bind(undone)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn zone(key: &KeyRing, row: &AnyRow) -> Result<ZoneRow, StoreError> {
    let unreadable = |detail: String| StoreError::Unreadable { what: "zone", detail };
    let sealed: Option<String> = row.try_get("sealed_key")?;
    let opened = sealed.map(|sealed| key.open(&sealed).map_err(|e| unreadable(e.to_string()))).transpose()?;
    let state: String = row.try_get("dnssec")?;
    let signing = match (state.as_str(), opened) {
        ("off", None) => Signing::Off,
        ("on", Some(secret)) => Signing::On(secret),
        ("leaving", Some(secret)) => Signing::Leaving(secret),
        _ => return Err(unreadable(format!("DNSSEC is `{state}`, which does not fit its key"))),
    };
    Ok(ZoneRow {
        name: row.try_get("name")?,
        version: row.try_get("version")?,
        records: row.try_get("records")?,
        signing,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}

fn edit(row: &AnyRow) -> Result<EditRow, StoreError> {
    Ok(EditRow {
        number: row.try_get("number")?,
        made_at: Timestamp::from_millis(row.try_get("made_at")?),
        actor: row.try_get("actor")?,
        note: row.try_get("note")?,
        serial: u32::try_from(row.try_get::<i64, _>("serial")?).unwrap_or_default(),
        changes: json(row, "changes")?,
        undoes: row.try_get("undoes")?,
        undone_by: row.try_get("undone_by")?,
    })
}

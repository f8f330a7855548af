//! Rows of domains.

use common::domain::api::DomainSettings;
use common::domain::{DomainName, Hostname};
use common::id::ProjectId;
use common::name::ProjectName;
use common::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};

use super::{Store, StoreError, json, parsed, to_json};

/// A query of domains with their projects' names.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT domains.*, projects.name AS project_name FROM domains JOIN projects ON projects.id = domains.project ",
            $rest
        )
    };
}

// After the macro that it uses.
mod looks;

pub use looks::LEASE;

/// A domain's row, with its project's name.
#[derive(Clone, Debug)]
pub struct DomainRow {
    /// Its name.
    pub name: DomainName,
    /// The account that attached it.
    pub account: String,
    /// The project that it shows.
    pub project: ProjectId,
    /// That project's name.
    pub project_name: ProjectName,
    /// What its visitors meet.
    pub settings: DomainSettings,
    /// Where it is.
    pub hostname: Hostname,
    /// Grows with every change of `hostname`.
    pub version: i64,
    /// When it was attached.
    pub created_at: Timestamp,
}

fn read(row: &AnyRow) -> Result<DomainRow, StoreError> {
    Ok(DomainRow {
        name: parsed(row, "name")?,
        account: row.try_get("account")?,
        project: parsed(row, "project")?,
        project_name: parsed(row, "project_name")?,
        settings: json(row, "settings")?,
        hostname: json(row, "hostname")?,
        version: row.try_get("version")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
    })
}

/// How an attempt to attach domains ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// They are attached.
    Done,
    /// The account has this one already, and none was attached.
    Taken(DomainName),
    /// The project would have more than it may, and none was attached.
    TooMany,
}

impl Store {
    /// Attaches domains to a project, all or none; a project has at most `limit`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn insert_domains(&self, rows: &[DomainRow], limit: u32) -> Result<Attached, StoreError> {
        let mut tx = self.pool.begin().await?;
        for row in rows {
            // It writes first: SQLite lets nobody write who has read what another has changed since.
            let done = sqlx::query(
                "INSERT INTO domains (name, account, project, parent, settings, hostname, served, next_check, created_at) \
                 SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 \
                 WHERE (SELECT COUNT(*) FROM domains WHERE project = $3) < $10",
            )
            .bind(row.name.as_str())
            .bind(row.account.as_str())
            .bind(row.project.as_str())
            .bind(row.name.parent())
            .bind(to_json("settings", &row.settings)?)
            .bind(to_json("hostname", &row.hostname)?)
            .bind(i64::from(row.hostname.is_served()))
            .bind(row.hostname.next_check().map(Timestamp::as_millis))
            .bind(row.created_at.as_millis())
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await;
            match done.map_err(StoreError::from) {
                Ok(done) if done.rows_affected() == 0 => {
                    let there = sqlx::query("SELECT 1 FROM domains WHERE name = $1 AND account = $2")
                        .bind(row.name.as_str())
                        .bind(row.account.as_str())
                        .fetch_optional(&mut *tx)
                        .await?;
                    return Ok(match there {
                        Some(_) => Attached::Taken(row.name.clone()),
                        None => Attached::TooMany,
                    });
                }
                Ok(_) => {}
                // It is there already, or another request attached it at the same moment.
                Err(e) if e.is_duplicate() => return Ok(Attached::Taken(row.name.clone())),
                Err(e) => return Err(e),
            }
        }
        tx.commit().await?;
        Ok(Attached::Done)
    }

    /// An account's domain by its name.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn domain(&self, account: &str, name: &DomainName) -> Result<Option<DomainRow>, StoreError> {
        let row = sqlx::query(select!("WHERE domains.name = $1 AND domains.account = $2"))
            .bind(name.as_str())
            .bind(account)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Up to `limit` domains of a project in order of name, after the name `after`.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn domains(&self, project: &ProjectId, after: &str, limit: u32) -> Result<Vec<DomainRow>, StoreError> {
        let rows =
            sqlx::query(select!("WHERE domains.project = $1 AND domains.name > $2 ORDER BY domains.name LIMIT $3"))
                .bind(project.as_str())
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(read).collect()
    }

    /// The domains under which visitors get a project, or all projects.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn served_domains(&self, project: Option<&ProjectId>) -> Result<Vec<DomainRow>, StoreError> {
        let query = match project {
            Some(project) => {
                sqlx::query(select!("WHERE domains.served = 1 AND domains.project = $1")).bind(project.as_str())
            }
            None => sqlx::query(select!("WHERE domains.served = 1")),
        };
        query.fetch_all(&self.pool).await?.iter().map(read).collect()
    }

    /// Domains of other accounts that visitors get, and that are this name, one above it, its wildcard, or, where it is a
    /// wildcard, a name that it covers.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn domain_holders(&self, account: &str, name: &DomainName) -> Result<Vec<DomainRow>, StoreError> {
        let mut holders = Vec::new();
        let wildcard = format!("*.{}", name.parent());
        let around = [name.as_str(), wildcard.as_str()].into_iter().chain(name.ancestors());
        for around in around {
            let row = sqlx::query(select!("WHERE domains.served = 1 AND domains.account <> $1 AND domains.name = $2"))
                .bind(account)
                .bind(around)
                .fetch_optional(&self.pool)
                .await?;
            holders.extend(row.as_ref().map(read).transpose()?);
        }
        if name.is_wildcard() {
            let row = sqlx::query(select!(
                "WHERE domains.served = 1 AND domains.account <> $1 AND domains.parent = $2 ORDER BY domains.name LIMIT 1"
            ))
                .bind(account)
                .bind(name.base())
                .fetch_optional(&self.pool)
                .await?;
            holders.extend(row.as_ref().map(read).transpose()?);
        }
        holders.dedup_by(|a, b| a.name == b.name);
        Ok(holders)
    }

    /// The domain that visitors get under this very name, whoever attached it.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn served_domain(&self, name: &DomainName) -> Result<Option<DomainRow>, StoreError> {
        let row = sqlx::query(select!("WHERE domains.served = 1 AND domains.name = $1"))
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Replaces a domain's settings.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn set_domain_settings(&self, row: &DomainRow, settings: &DomainSettings) -> Result<(), StoreError> {
        sqlx::query("UPDATE domains SET settings = $3 WHERE name = $1 AND account = $2")
            .bind(row.name.as_str())
            .bind(row.account.as_str())
            .bind(to_json("settings", settings)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Moves domains of an account to another of its projects, all or none, in one change: visitors get one or the other
    /// at every moment. False when that project would have more than `limit`, or one of the domains is gone.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn transfer_domains(&self, rows: &[DomainRow], to: &ProjectId, limit: u32) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        for row in rows {
            let done = sqlx::query(
                "UPDATE domains SET project = $3 WHERE name = $1 AND account = $2 AND project = $4 \
                 AND (SELECT COUNT(*) FROM domains AS others WHERE others.project = $3) < $5",
            )
            .bind(row.name.as_str())
            .bind(row.account.as_str())
            .bind(to.as_str())
            .bind(row.project.as_str())
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Detaches a domain.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn delete_domain(&self, row: &DomainRow) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM domains WHERE name = $1 AND account = $2")
            .bind(row.name.as_str())
            .bind(row.account.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Saves where a domain is, if it is still as it was read, and ends whatever look was on its way. When it takes the
    /// name from another account's row, that row changes in the same moment. False when one of them changed meanwhile.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn save_domain(
        &self,
        row: &DomainRow,
        hostname: &Hostname,
        from: Option<(&DomainRow, &Hostname)>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        if let Some((other, hostname)) = from
            && !save(&mut tx, other, hostname).await?
        {
            return Ok(false);
        }
        match save(&mut tx, row, hostname).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            // Another account was faster to show that the name is its own.
            Err(e) if e.is_duplicate() => return Ok(false),
            Err(e) => return Err(e),
        }
        tx.commit().await?;
        Ok(true)
    }
}

async fn save(connection: &mut AnyConnection, row: &DomainRow, hostname: &Hostname) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE domains SET hostname = $3, served = $4, next_check = $5, lease_holder = NULL, lease_until = NULL, \
         version = version + 1 WHERE name = $1 AND account = $2 AND version = $6",
    )
    .bind(row.name.as_str())
    .bind(row.account.as_str())
    .bind(to_json("hostname", hostname)?)
    .bind(i64::from(hostname.is_served()))
    .bind(hostname.next_check().map(Timestamp::as_millis))
    .bind(row.version)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[cfg(test)]
mod tests;

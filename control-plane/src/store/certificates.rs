//! Rows of certificates, and of the keys that seal session tickets. What is secret in them is encrypted.

use common::certificate::{Certificate, TicketKey};
use common::secret::{KeyRing, Secret, SecretError};
use common::time::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{Store, StoreError, to_json};

pub(super) fn unreadable(what: &'static str) -> impl Fn(SecretError) -> StoreError {
    move |e| StoreError::Unreadable { what, detail: e.to_string() }
}

impl Store {
    /// A certificate by its id, whoever issued it.
    ///
    /// # Errors
    /// When the database failed or its key was sealed with another master key.
    pub async fn certificate(&self, keys: &KeyRing, id: &str) -> Result<Option<Certificate>, StoreError> {
        let row = sqlx::query("SELECT chain, sealed_key, not_after FROM certificates WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: String = row.try_get("sealed_key")?;
        Ok(Some(Certificate {
            id: id.to_owned(),
            chain_pem: row.try_get("chain")?,
            key_pem: keys.open(&sealed).map_err(unreadable("certificate's key"))?,
            not_after: Timestamp::from_millis(row.try_get("not_after")?),
            ocsp: None,
        }))
    }

    /// Adds a host's certificate. One that has this id already stays as it is: an id never changes its contents.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_certificate(
        &self,
        keys: &KeyRing,
        host: &str,
        certificate: &Certificate,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO certificates (id, name, chain, sealed_key, not_after) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(certificate.id.as_str())
        .bind(host)
        .bind(certificate.chain_pem.as_str())
        .bind(keys.seal(&certificate.key_pem))
        .bind(certificate.not_after.as_millis())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The certificate that has this id and came from an ACME authority.
    ///
    /// # Errors
    /// When the database failed or its key was sealed with another master key.
    pub async fn issued_certificate(&self, keys: &KeyRing, id: &str) -> Result<Option<Certificate>, StoreError> {
        let row = sqlx::query("SELECT id FROM certificates WHERE id = $1 AND origin = 'acme'")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        match row {
            Some(_) => self.certificate(keys, id).await,
            None => Ok(None),
        }
    }

    /// Deletes certificates that ended.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_ended_certificates(&self, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM certificates WHERE not_after <= $1").bind(now.as_millis()).execute(&self.pool).await?;
        Ok(())
    }

    /// Keeps only ticket keys of the slots from `oldest` on, adds `new` ones where a slot has none, and gives all. Those
    /// that can't be opened are replaced or dropped: without them visitors only shake hands again.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn rotate_ticket_keys(
        &self,
        keys: &KeyRing,
        oldest: i64,
        new: &[(i64, TicketKey)],
    ) -> Result<Vec<TicketKey>, StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM ticket_keys WHERE slot < $1").bind(oldest).execute(&mut *tx).await?;
        for row in sqlx::query("SELECT slot, sealed FROM ticket_keys").fetch_all(&mut *tx).await? {
            if let Err(error) = open(keys, &row) {
                tracing::warn!(%error, "a key of session tickets is replaced");
                let slot: i64 = row.try_get("slot")?;
                sqlx::query("DELETE FROM ticket_keys WHERE slot = $1").bind(slot).execute(&mut *tx).await?;
            }
        }
        for (slot, ticket_key) in new {
            let text = Secret::new(to_json("ticket key", ticket_key)?);
            sqlx::query("INSERT INTO ticket_keys (slot, sealed) VALUES ($1, $2) ON CONFLICT (slot) DO NOTHING")
                .bind(*slot)
                .bind(keys.seal(&text))
                .execute(&mut *tx)
                .await?;
        }
        let rows = sqlx::query("SELECT sealed FROM ticket_keys ORDER BY slot").fetch_all(&mut *tx).await?;
        tx.commit().await?;
        rows.iter().map(|row| open(keys, row)).collect()
    }
}

/// The ticket key of a row.
fn open(keys: &KeyRing, row: &AnyRow) -> Result<TicketKey, StoreError> {
    let text = keys.open(&row.try_get::<String, _>("sealed")?).map_err(unreadable("ticket key"))?;
    serde_json::from_str(text.reveal())
        .map_err(|e| StoreError::Unreadable { what: "ticket key", detail: e.to_string() })
}

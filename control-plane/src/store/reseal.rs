//! Seals with the newest master key what an older one sealed, so that the older is needed no longer.

use common::secret::KeyRing;
use sqlx::{AssertSqlSafe, Row as _};

use super::certificates::unreadable;
use super::{Store, StoreError};

/// Every column that holds something sealed for long, and by what its rows are found. Ticket keys, challenges and keys of
/// orders in the making are over within hours.
const SEALED: [(&str, &str, &str); 5] = [
    ("certificates", "sealed_key", "id"),
    ("env_variables", "sealed", "project"),
    ("deployments", "source_login", "id"),
    ("acme_accounts", "sealed", "authority"),
    ("zones", "sealed_key", "name"),
];

/// What became of what older keys sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Secrets that the newest key opens from now on.
    pub anew: u64,
    /// Secrets that no key here opens.
    pub closed: u64,
}

impl Store {
    /// Seals everything anew that the newest key does not open. What none opens stays as it is, and is said in the log.
    ///
    /// # Errors
    /// When the database failed; what was sealed anew until then stays so.
    pub async fn reseal(&self, keys: &KeyRing) -> Result<Resealed, StoreError> {
        let mut done = Resealed::default();
        for (table, column, key) in SEALED {
            // One key after the other: a table may be large.
            let all = format!("SELECT DISTINCT {key} AS row_key FROM {table} WHERE {column} IS NOT NULL");
            let of_one = format!("SELECT {column} AS sealed FROM {table} WHERE {key} = $1 AND {column} IS NOT NULL");
            let replace = format!("UPDATE {table} SET {column} = $1 WHERE {key} = $2 AND {column} = $3");
            for row in sqlx::query(AssertSqlSafe(all)).fetch_all(&self.pool).await? {
                let key: String = row.try_get("row_key")?;
                let rows = sqlx::query(AssertSqlSafe(of_one.as_str())).bind(key.as_str()).fetch_all(&self.pool).await?;
                for row in rows {
                    let sealed: String = row.try_get("sealed")?;
                    let anew = match keys.reseal(&sealed).map_err(unreadable("secret")) {
                        Ok(None) => continue,
                        Ok(Some(anew)) => anew,
                        Err(error) => {
                            tracing::error!(table, key, %error, "a secret was sealed with a key that is not here");
                            done.closed += 1;
                            continue;
                        }
                    };
                    // Unless it was changed meanwhile, with the newest key.
                    let replaced = sqlx::query(AssertSqlSafe(replace.as_str()))
                        .bind(anew)
                        .bind(key.as_str())
                        .bind(sealed)
                        .execute(&self.pool)
                        .await?;
                    done.anew += replaced.rows_affected();
                }
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::certificate::Certificate;
    use common::secret::{MasterKey, Secret};
    use common::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn what_an_older_key_sealed_is_sealed_anew_and_needs_it_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("db").display());
        let store = Store::open(&url).await.unwrap();
        let key = |name: &str| MasterKey::load_or_create(&folder.path().join(name)).unwrap();
        let (old, new) = (key("old"), key("new"));
        let certificate = Certificate {
            id: "c1".to_owned(),
            chain_pem: "chain".to_owned(),
            key_pem: Secret::new("private"),
            not_after: Timestamp::now(),
            ocsp: None,
        };
        store.add_certificate(&old.clone().into(), "a.example", &certificate).await.unwrap();
        let alone = KeyRing::from(new.clone());
        assert!(store.certificate(&alone, "c1").await.is_err());
        let reseal = async |keys: &KeyRing| {
            let Resealed { anew, closed } = store.reseal(keys).await.unwrap();
            (anew, closed)
        };
        assert_eq!(reseal(&alone).await, (0, 1), "without the older key nothing is lost");
        let both = KeyRing::new(new, vec![old]);
        assert_eq!((reseal(&both).await, reseal(&both).await), ((1, 0), (0, 0)));
        assert_eq!(store.certificate(&alone, "c1").await.unwrap().unwrap().key_pem.reveal(), "private");
    }
}

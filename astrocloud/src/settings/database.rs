//! Where rows are kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Maybe;

/// Where rows are kept; a file of the data folder when it is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Database {
    pub url: Maybe<DatabaseUrl>,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: Maybe(None) }
    }
}

/// Address of a Postgres database. It may hold a password, so nothing but the settings shows it whole.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(Url);

impl DatabaseUrl {
    /// The address, with its password.
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|e| format!("this is no address: {e}"))?;
        match url.scheme() {
            "postgres" | "postgresql" => Ok(Self(url)),
            other => {
                Err(format!("`{other}` is no database that can be used: give postgres://…, or nothing for a file"))
            }
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        // Fails only for addresses without a host, which have no password either.
        let _ = shown.set_password(self.0.password().map(|_| "…"));
        f.write_str(shown.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_not_shown_in_what_is_logged() {
        let url: DatabaseUrl = "postgres://me:hidden@db.example/astro".parse().unwrap();
        assert!(!format!("{url:?}").contains("hidden"));
        assert!(url.reveal().contains("hidden"));
    }

    #[test]
    fn another_kind_of_database_is_refused_with_what_to_do() {
        let refused = "mysql://db/astro".parse::<DatabaseUrl>().unwrap_err();
        assert!(refused.contains("`mysql`") && refused.contains("postgres://"), "{refused}");
    }
}

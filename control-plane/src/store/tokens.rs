//! Rows of tokens. Only their SHA-256 is kept.

use common::secret::Secret;
use common::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{Store, StoreError};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Scripts and the command line.
    Api,
    /// Opens one session, once.
    Login,
    /// A browser's session.
    Session,
}

impl TokenKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Login => "login",
            Self::Session => "session",
        }
    }
}

fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

impl Store {
    /// Lets a token be used until `expires_at`, for ever when `None`. One that exists stays as it is.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn add_token(
        &self,
        token: &Secret,
        kind: TokenKind,
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tokens (hash, kind, created_at, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash(token.reveal()))
        .bind(kind.word())
        .bind(Timestamp::now().as_millis())
        .bind(expires_at.map(Timestamp::as_millis))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a token of this kind is good now.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn token_is_good(&self, token: &str, kind: TokenKind) -> Result<bool, StoreError> {
        let found = sqlx::query(
            "SELECT hash FROM tokens WHERE hash = $1 AND kind = $2 AND (expires_at IS NULL OR expires_at > $3)",
        )
        .bind(hash(token))
        .bind(kind.word())
        .bind(Timestamp::now().as_millis())
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.is_some())
    }

    /// Uses up a token: true for the first who asks, while it is good.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn redeem_token(&self, token: &str, kind: TokenKind) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM tokens WHERE hash = $1 AND kind = $2 AND expires_at > $3")
            .bind(hash(token))
            .bind(kind.word())
            .bind(Timestamp::now().as_millis())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets tokens that are no longer good.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn forget_expired_tokens(&self) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM tokens WHERE expires_at <= $1")
            .bind(Timestamp::now().as_millis())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

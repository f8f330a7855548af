//! A certificate authority as it is set: where it is, what it is asked for, what it limits.

use common::secret::Secret;

use crate::check::Trust;
use crate::limits::Limits;

/// Directory of Let's Encrypt.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Directory of its staging side, whose certificates nobody trusts.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// An authority that speaks ACME (RFC 8555).
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its id: stays the same, because its account and what is counted for its limits are kept under it.
    pub id: String,
    /// Address of its directory, https.
    pub directory: String,
    /// Roots that its API is trusted by, PEM; none for the system's.
    pub api_roots: Option<String>,
    /// Whom the chains that it issues must lead to.
    pub trust: Trust,
    /// Where it can reach its customer: `mailto:` addresses.
    pub contacts: Vec<String>,
    /// The account elsewhere that its account is bound to (RFC 8555 section 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// The certificate profile that is asked for (draft-ietf-acme-profiles); none for the authority's default.
    pub profile: Option<String>,
    /// Common name of the issuer at the top of the chain that is preferred among those that it offers
    /// (RFC 8555 section 7.4.2).
    pub preferred_chain: Option<String>,
    /// What it limits.
    pub limits: Limits,
}

impl Authority {
    /// An authority at an address, with nothing special about it.
    #[must_use]
    pub fn new(id: impl Into<String>, directory: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            directory: directory.into(),
            api_roots: None,
            trust: Trust::Chain,
            contacts: Vec::new(),
            external_account: None,
            profile: None,
            preferred_chain: None,
            limits: Limits::default(),
        }
    }

    /// Let's Encrypt, with its limits.
    #[must_use]
    pub fn lets_encrypt() -> Self {
        Self { limits: Limits::lets_encrypt(), ..Self::new("lets-encrypt", LETS_ENCRYPT) }
    }

    /// Let's Encrypt's staging side, to rehearse with. Its limits are far wider than what rehearsals need.
    #[must_use]
    pub fn lets_encrypt_staging() -> Self {
        Self::new("lets-encrypt-staging", LETS_ENCRYPT_STAGING)
    }
}

/// The key of an account elsewhere, as the authority gives it.
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    /// Its id.
    pub id: String,
    /// The HMAC key in base64url without padding.
    pub key: Secret,
}

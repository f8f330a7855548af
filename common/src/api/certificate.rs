//! Certificates of authorities, as people see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// A certificate that is wanted from an authority, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostCertificate {
    /// The host, or `*.` and a domain.
    pub name: String,
    /// Where it stands.
    pub state: CertificateState,
    /// Why it waits, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When something is done next: the next try, or the renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Timestamp>,
    /// The authority that issued it, or that is asked now, or that is to revoke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// When the one that is served ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Serial number of the one that is served, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Authorities before this one in order, and why they did not issue it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
}

/// An authority that did not issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PassedOver {
    /// Its id.
    pub authority: String,
    /// Why.
    pub cause: String,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Wanted, and not begun.
    None,
    /// The name does not resolve as it must.
    WaitingForDns,
    /// The first one is on its way.
    Issuing,
    /// It is good.
    Active,
    /// It is good, and the next one is on its way.
    Renewing,
    /// CAA records forbid every authority that was asked.
    CaaBlocked,
    /// It waits its turn within an authority's limits.
    RateLimited,
    /// It failed otherwise; one that is there is served on.
    Failing,
    /// Wanted no longer, and being revoked.
    Revoking,
}

impl CertificateState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WaitingForDns => "waiting_for_dns",
            Self::Issuing => "issuing",
            Self::Active => "active",
            Self::Renewing => "renewing",
            Self::CaaBlocked => "caa_blocked",
            Self::RateLimited => "rate_limited",
            Self::Failing => "failing",
            Self::Revoking => "revoking",
        }
    }
}

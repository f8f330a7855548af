//! How it stands with a domain's certificate.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deployment::Failure;
use crate::time::Timestamp;

/// A domain's certificate. Each state that waits says why, and when it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CertificateTrack {
    /// None is wanted.
    None {
        /// Why not.
        cause: Failure,
    },
    /// One is wanted once the DNS shows whose the name is and leads here.
    WaitingForDns {
        /// What is missing.
        cause: Failure,
        /// When it is looked at again.
        next_check: Timestamp,
    },
    /// The first one is on its way.
    Issuing {
        /// The authority.
        authority: String,
        /// Since when.
        since: Timestamp,
    },
    /// There is a good one.
    Active {
        /// When it is renewed, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        renew_at: Option<Timestamp>,
    },
    /// There is a good one, and the next is on its way.
    Renewing {
        /// The authority.
        authority: String,
        /// Since when.
        since: Timestamp,
    },
    /// CAA records forbid every authority (RFC 8659).
    CaaBlocked {
        /// Which, and what to change.
        cause: Failure,
        /// When it is tried again.
        next_check: Timestamp,
    },
    /// It waits its turn within an authority's limits.
    RateLimited {
        /// Which limit.
        cause: Failure,
        /// When its turn comes.
        next_check: Timestamp,
    },
    /// It failed otherwise. A certificate that is there is served on.
    Failing {
        /// Why.
        cause: Failure,
        /// When it is tried again.
        next_check: Timestamp,
    },
}

impl CertificateTrack {
    /// The state's wire word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None { .. } => "none",
            Self::WaitingForDns { .. } => "waiting_for_dns",
            Self::Issuing { .. } => "issuing",
            Self::Active { .. } => "active",
            Self::Renewing { .. } => "renewing",
            Self::CaaBlocked { .. } => "caa_blocked",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failing { .. } => "failing",
        }
    }

    /// Whether visitors get a good certificate now.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Active { .. } | Self::Renewing { .. })
    }

    /// Why it waits, and when it goes on.
    #[must_use]
    pub const fn waits(&self) -> Option<(&Failure, Option<Timestamp>)> {
        match self {
            Self::None { cause } => Some((cause, None)),
            Self::WaitingForDns { cause, next_check }
            | Self::CaaBlocked { cause, next_check }
            | Self::RateLimited { cause, next_check }
            | Self::Failing { cause, next_check } => Some((cause, Some(*next_check))),
            Self::Issuing { .. } | Self::Active { .. } | Self::Renewing { .. } => None,
        }
    }
}

//! Why a certificate is not there: in words for people, and sorted by what is to be done about it.

use common::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest text of an authority that is kept, in characters: it is shown to people, and comes from outside.
const MAX_DETAIL_CHARS: usize = 600;

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    /// The authority can't be reached or is out of order: another one is asked.
    #[error("the certificate authority does not answer as it should: {detail}")]
    Unreachable {
        /// What was seen.
        detail: String,
    },
    /// The authority wants to hear no more of this for a while (RFC 8555 section 6.6).
    #[error("a limit of the certificate authority is reached: {detail}")]
    RateLimited {
        /// Which limit.
        detail: String,
        /// From when it may be asked again, where that is known.
        until: Option<Timestamp>,
    },
    /// The domain's CAA records forbid this authority (RFC 8659).
    #[error("the domain's CAA records forbid this certificate authority: {detail}")]
    Caa {
        /// What the authority said.
        detail: String,
    },
    /// The authority can't look the name up.
    #[error("the name can't be looked up: {detail}")]
    Dns {
        /// What the authority said.
        detail: String,
    },
    /// The authority looked, and did not see the proof.
    #[error("control of the name was not proven: {detail}")]
    Validation {
        /// The name in question.
        name: String,
        /// What the authority said.
        detail: String,
    },
    /// The authority refuses the names, the account or the order itself.
    #[error("the certificate authority refuses: {detail}")]
    Refused {
        /// What the authority said.
        detail: String,
    },
    /// The authority gave a certificate that must not be used.
    #[error("the certificate that was issued is broken and was not used: {detail}")]
    BadCertificate {
        /// What is wrong with it.
        detail: String,
    },
    /// The answers to the authority's challenges can't be shown.
    #[error("the proof of control can't be shown: {detail}")]
    Challenges {
        /// What the edges or name servers said.
        detail: String,
    },
    /// The authority no longer knows the order: it is begun again.
    #[error("the order is gone: {detail}")]
    OrderLost {
        /// What was seen.
        detail: String,
    },
    /// The authority does not take this order as the replacement of that certificate (RFC 9773 section 5).
    #[error("the certificate can't be named as replaced: {detail}")]
    NotReplaceable {
        /// What was seen.
        detail: String,
    },
    /// A fault of this installation.
    #[error("{detail}")]
    Internal {
        /// What is wrong.
        detail: String,
    },
}

impl Failure {
    /// Whether another authority may well do what this one did not.
    #[must_use]
    pub const fn is_the_authoritys(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::RateLimited { .. }
                | Self::Caa { .. }
                | Self::Refused { .. }
                | Self::BadCertificate { .. }
        )
    }

    /// Whether the authority counts it as a failed authorisation.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        matches!(self, Self::Dns { .. } | Self::Validation { .. } | Self::Caa { .. })
    }
}

/// One authority that was asked, and why it did not issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The authority's id.
    pub authority: String,
    /// Why it did not issue.
    pub failure: Failure,
}

/// What an authority said, cut to a length that can be kept and shown.
#[must_use]
pub(crate) fn detail(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS).collect()
}

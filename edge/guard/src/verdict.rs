//! What is decided about a request.

use std::sync::Arc;
use std::time::Duration;

use crate::admit::Permit;

/// What is done with a request.
#[derive(Debug)]
pub enum Verdict {
    /// It is answered. The permit lives as long as the answer.
    Admit(Permit),
    /// It is not.
    Refuse(Refusal),
    /// It is sent elsewhere.
    Redirect {
        /// Path, or whole URL.
        to: Arc<str>,
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Names of the rules that matched, in order.
        rules: Vec<Arc<str>>,
    },
}

/// Why and how a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status: 403 or another that a rule chose, 429 for what the visitor exceeded, 503 for what all exceed.
    pub status: u16,
    /// When it may be tried again.
    pub retry_after: Option<Duration>,
    /// Why.
    pub why: Why,
    /// Names of the rules that matched, in order.
    pub rules: Vec<Arc<str>>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The edge has too much to do. The connection is best closed with the answer.
    Overload,
    /// The visitor's address is not served.
    Address,
    /// A rule says so; the last of the refusal's rules.
    Rule,
    /// The visitor asks too often.
    ClientRate,
    /// The visitor asks too much at once.
    ClientConcurrency,
    /// The project is asked too often.
    ProjectRate,
    /// The project is asked too much at once.
    ProjectConcurrency,
}

impl Why {
    /// A name for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overload => "overload",
            Self::Address => "address",
            Self::Rule => "rule",
            Self::ClientRate => "client_rate",
            Self::ClientConcurrency => "client_concurrency",
            Self::ProjectRate => "project_rate",
            Self::ProjectConcurrency => "project_concurrency",
        }
    }
}

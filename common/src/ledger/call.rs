//! The ledger on the wire: each operation is a call, posted as JSON, whose answer is JSON too, or problem details.

use serde::{Deserialize, Serialize};

use super::{Claim, Facts, LedgerError, Output};
use crate::deployment::Failure;
use crate::id::DeploymentId;
use crate::problem::Problem;
use crate::revision::RevisionStatus;

/// Where control planes take calls, below their API.
pub const PATH: &str = "internal/v1/ledger";
/// The header that says which deployer calls.
pub const DEPLOYER_HEADER: &str = "x-astrocloud-deployer";

/// The stable word of [`LedgerError::NotYours`].
const NOT_YOURS: &str = "not_yours";
/// The stable word of [`LedgerError::DiskFull`].
const DISK_FULL: &str = "disk_full";
/// Word of an image that is being deleted; its detail is the reference.
const IMAGE_GOING: &str = "image_going";

/// An operation of the [`Ledger`](super::Ledger), of the same name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Call {
    Claim {
        claim: Claim,
        isolation: String,
    },
    Keep {
        claims: Vec<Claim>,
    },
    Leave,
    GiveBack {
        claim: Claim,
    },
    Facts {
        claim: Claim,
        facts: Facts,
    },
    Built {
        claim: Claim,
    },
    Started {
        claim: Claim,
        image: String,
    },
    Succeeded {
        claim: Claim,
        output: Output,
    },
    Failed {
        claim: Claim,
        why: Failure,
    },
    WantedApp {
        deployment: DeploymentId,
    },
    WantedApps,
    Revision {
        deployment: DeploymentId,
        status: RevisionStatus,
    },
    StartFailed {
        deployment: DeploymentId,
        why: Failure,
    },
    /// Answered with the number of the newest change, once that is another one than `seen`, or after a while.
    AppsChanged {
        seen: i64,
    },
}

impl Call {
    /// The deployment that it is about.
    #[must_use]
    pub const fn deployment(&self) -> Option<&DeploymentId> {
        match self {
            Self::Claim { claim, .. }
            | Self::GiveBack { claim }
            | Self::Facts { claim, .. }
            | Self::Built { claim }
            | Self::Started { claim, .. }
            | Self::Succeeded { claim, .. }
            | Self::Failed { claim, .. } => Some(&claim.deployment),
            Self::WantedApp { deployment }
            | Self::Revision { deployment, .. }
            | Self::StartFailed { deployment, .. } => Some(deployment),
            Self::Keep { .. } | Self::Leave | Self::WantedApps | Self::AppsChanged { .. } => None,
        }
    }

    /// The error that a problem says in answer to this call.
    #[must_use]
    pub fn error(&self, problem: Problem) -> LedgerError {
        match (problem.word(), self.deployment()) {
            (NOT_YOURS, Some(deployment)) => LedgerError::NotYours(deployment.clone()),
            (IMAGE_GOING, _) => LedgerError::ImageGoing(problem.detail),
            (DISK_FULL, _) => LedgerError::DiskFull,
            _ => LedgerError::Failed(problem.detail),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let detail = error.to_string();
        match error {
            LedgerError::NotYours(_) => Self::new(409, NOT_YOURS, detail),
            LedgerError::ImageGoing(image) => Self::new(409, IMAGE_GOING, image),
            LedgerError::DiskFull => Self::new(507, DISK_FULL, detail),
            LedgerError::Failed(detail) => Self::new(503, "ledger_failed", detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_from_its_problem() {
        let claim = Claim::new(DeploymentId::new());
        let call = Call::Built { claim: claim.clone() };
        for error in [
            LedgerError::NotYours(claim.deployment),
            LedgerError::ImageGoing("shop@sha256:1".to_owned()),
            LedgerError::DiskFull,
            LedgerError::Failed("the database is away".to_owned()),
        ] {
            let text = error.to_string();
            assert_eq!(call.error(error.into()).to_string(), text);
        }
    }
}

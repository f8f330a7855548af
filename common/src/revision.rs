//! A running dynamic deployment, as people see it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// What a revision does at the moment. Every state but `running` and `stopped` carries why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RevisionStatus {
    /// Started; its health check has not passed yet.
    Starting,
    /// Answers at the endpoint.
    Running {
        /// Where the edge reaches it.
        #[schema(value_type = String)]
        endpoint: SocketAddr,
        /// How often it was restarted since it was deployed.
        restarts: u32,
    },
    /// Ended by itself; it is started again at `retry_at`.
    Restarting {
        /// How it ended.
        reason: String,
        /// When it is started again.
        retry_at: Timestamp,
        /// How often it was restarted since it was deployed.
        restarts: u32,
    },
    /// Not running, because no traffic is meant for it.
    Stopped,
}

impl RevisionStatus {
    /// Where the edge reaches it, when it runs.
    #[must_use]
    pub const fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Self::Running { endpoint, .. } => Some(*endpoint),
            _ => None,
        }
    }
}

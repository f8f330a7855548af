//! The job queue, as operators see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// How the job queue stands.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueStatus {
    /// What is on it; absent while it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<QueueJobs>,
    /// Why nothing is known of it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<QueueAway>,
    /// Deployments that were given up because their deployer was lost again and again.
    pub dead: u64,
}

/// What is on the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueJobs {
    /// Jobs that nobody has.
    pub waiting: u64,
    /// Jobs that deployers work on.
    pub leased: u64,
    /// Projects whose next job waits until a time.
    pub delayed: u64,
    /// Since when the oldest job is there, milliseconds.
    pub oldest_ms: u64,
}

/// A queue that can't be reached. Deployments that are asked for meanwhile are kept, and queued when it is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueAway {
    /// What happened.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

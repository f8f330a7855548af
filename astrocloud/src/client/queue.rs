//! The job queue.

use common::api::{Deployment, QueueStatus};
use common::id::DeploymentId;

use super::{Client, Result};

impl Client {
    /// How it stands.
    pub async fn queue(&self) -> Result<QueueStatus> {
        self.get(&["queue"]).await
    }

    /// Deployments that were given up, newest first, at most `most`.
    pub async fn dead(&self, most: usize) -> Result<Vec<Deployment>> {
        self.list(&["queue", "dead"], most).await
    }

    /// Asks for one of them again.
    pub async fn replay(&self, deployment: &DeploymentId) -> Result<Deployment> {
        self.post(&["queue", "dead", deployment.as_str(), "replay"], &()).await
    }
}

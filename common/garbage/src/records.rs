//! What the database knows.

use std::collections::HashSet;

use async_trait::async_trait;
use common::id::{DeploymentId, UploadId};

use crate::GarbageError;

/// The database, as far as garbage is concerned.
#[async_trait]
pub trait Records: Send + Sync {
    /// This installation's name, the same for ever.
    ///
    /// # Errors
    /// When the database failed.
    async fn installation(&self) -> Result<String, GarbageError>;

    /// Those of these deployments that are kept, whatever their state.
    ///
    /// # Errors
    /// When the database failed.
    async fn kept(&self, deployments: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError>;

    /// Those of these deployments that a deployer may be working on.
    ///
    /// # Errors
    /// When the database failed.
    async fn under_way(&self, deployments: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError>;

    /// Uploads that are the source of a deployment.
    ///
    /// # Errors
    /// When the database failed.
    async fn sources(&self) -> Result<HashSet<UploadId>, GarbageError>;
}

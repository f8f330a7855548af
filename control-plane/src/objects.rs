//! The object store's garbage: one control plane at a time removes what no deployment needs any more.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use common::blob::ObjectStore;
use common::id::{DeploymentId, UploadId};
use common::time::Timestamp;
use garbage::{GarbageError, Records, Report, Settings};
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// The duty.
const DUTY: &str = "garbage";
/// How long a control plane that died keeps others from it, and the pause between two renewals.
const HELD: (Duration, Duration) = (Duration::from_secs(120), Duration::from_secs(30));
/// Pause between two looks whether a pass is due.
const LOOK: Duration = Duration::from_secs(5 * 60);

/// When what is removed.
#[derive(Clone, Copy, Debug)]
pub struct GarbageConfig {
    /// How long something stays that nothing names.
    pub grace: Duration,
    /// Time between two passes.
    pub every: Duration,
}

impl Default for GarbageConfig {
    /// A week, in which mistakes are noticed; four times a day, because a pass reads every manifest.
    fn default() -> Self {
        Self { grace: Duration::from_secs(7 * 24 * 60 * 60), every: Duration::from_secs(6 * 60 * 60) }
    }
}

/// Removes garbage. Cheap to clone.
#[derive(Clone)]
pub struct Garbage {
    rows: Store,
    objects: ObjectStore,
    config: GarbageConfig,
    /// This process, among the control planes.
    holder: String,
}

impl Garbage {
    pub fn new(rows: Store, objects: ObjectStore, config: GarbageConfig) -> Self {
        Self { rows, objects, config, holder: UploadId::new().to_string() }
    }

    /// Removes garbage whenever it is time, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = LOOK.min(self.config.every);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = LOOK.min(self.config.every);
            let pass = tokio::select! {
                () = stop.cancelled() => return,
                pass = self.pass_if_due() => pass,
            };
            match pass {
                Ok(None) => {}
                Ok(Some(report)) => tracing::info!(
                    deleted = report.deleted,
                    bytes = report.deleted_bytes,
                    waiting = report.waiting,
                    spared = report.spared,
                    "garbage of the object store was removed"
                ),
                Err(e) => {
                    tracing::error!(error = %e, retry_in_s = pause.as_secs(), "garbage of the object store stays");
                }
            }
        }
    }

    async fn pass_if_due(&self) -> Result<Option<Report>, GarbageError> {
        let last = self.rows.duty_done_at(DUTY).await.map_err(records)?;
        if last.is_some_and(|last| last.after(self.config.every) > Timestamp::now()) {
            return Ok(None);
        }
        match self.pass().await {
            // Another control plane is at it.
            Err(GarbageError::Busy(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Removes what is due now.
    ///
    /// # Errors
    /// When somebody else does, or a part is away.
    pub async fn pass(&self) -> Result<Report, GarbageError> {
        let until = || Timestamp::now().after(HELD.0);
        if !self.rows.take_duty(DUTY, &self.holder, until()).await.map_err(records)? {
            return Err(GarbageError::Busy(until()));
        }
        let settings = Settings::new(self.config.grace);
        let outcome = tokio::select! {
            outcome = garbage::collect(&self.objects, self, &settings, false) => outcome,
            error = self.hold(until) => Err(error),
        };
        let done = outcome.is_ok().then(Timestamp::now);
        self.rows.end_duty(DUTY, &self.holder, done).await.map_err(records)?;
        outcome
    }

    /// Keeps the duty; returns when it is lost.
    async fn hold(&self, until: impl Fn() -> Timestamp) -> GarbageError {
        loop {
            tokio::time::sleep(HELD.1).await;
            match self.rows.take_duty(DUTY, &self.holder, until()).await {
                Ok(true) => {}
                Ok(false) => return GarbageError::Busy(until()),
                Err(e) => return records(e),
            }
        }
    }

    /// Says what would be removed now.
    ///
    /// # Errors
    /// When a part is away.
    pub async fn look(&self) -> Result<Report, GarbageError> {
        garbage::collect(&self.objects, self, &Settings::new(self.config.grace), true).await
    }
}

fn records(error: StoreError) -> GarbageError {
    GarbageError::Records(error.to_string())
}

#[async_trait]
impl Records for Garbage {
    async fn installation(&self) -> Result<String, GarbageError> {
        self.rows.object_store_owner(&self.holder).await.map_err(records)
    }

    async fn kept(&self, deployments: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError> {
        let rows = self.rows.deployment_ids().await.map_err(records)?;
        Ok(deployments.iter().filter(|id| rows.contains(*id)).cloned().collect())
    }

    async fn under_way(&self, deployments: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError> {
        let rows = self.rows.unfinished_deployments().await.map_err(records)?;
        let rows: HashSet<_> = rows.into_iter().map(|row| row.id).collect();
        Ok(deployments.iter().filter(|id| rows.contains(*id)).cloned().collect())
    }

    async fn sources(&self) -> Result<HashSet<UploadId>, GarbageError> {
        self.rows.source_uploads().await.map_err(records)
    }
}

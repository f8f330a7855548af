//! What the control plane knows of the job queue: whether it answers, what waits, what was given up, and what need not be
//! built any more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::api::{QueueAway, QueueJobs, QueueStatus};
use common::deployment::{Event, Failure};
use common::id::DeploymentId;
use common::queue::QueueError;
use common::source::Source;
use common::time::Timestamp;

use super::{Lifecycle, LifecycleError, SWEEP_EVERY, job};
use crate::store::StoreError;
use crate::store::deployments::DeploymentRow;
use crate::store::projects::ProjectRow;

/// Whether the queue answered when it was last asked.
#[derive(Default)]
pub(super) struct Watch(Mutex<Option<QueueAway>>);

impl Watch {
    /// Takes note of what the queue answered.
    fn record<T>(&self, answer: &Result<T, QueueError>) {
        let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Err(QueueError::Away(reason)) => {
                let since = away.as_ref().map_or_else(Timestamp::now, |away| away.since);
                let retry_at = Timestamp::now().after(SWEEP_EVERY);
                *away = Some(QueueAway { reason: reason.clone(), since, retry_at });
            }
            Ok(_) | Err(QueueError::LeaseLost(_)) => {
                if let Some(away) = away.take() {
                    tracing::info!(since = %away.since, "the job queue is back");
                }
            }
        }
    }

    /// Why nothing can be put on it.
    pub fn away(&self) -> Option<QueueAway> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Lifecycle {
    /// Puts a deployment's job on the queue.
    pub(super) async fn put(&self, row: &DeploymentRow) -> Result<(), QueueError> {
        let answer = self.0.queue.enqueue(job(row)).await;
        self.0.watch.record(&answer);
        answer
    }

    /// What is on the queue.
    pub(super) async fn look_at_queue(&self) -> Result<QueueJobs, QueueError> {
        let answer = self.0.queue.stats().await;
        self.0.watch.record(&answer);
        let stats = answer?;
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Ok(QueueJobs {
            waiting: stats.waiting,
            leased: stats.leased,
            delayed: stats.delayed,
            oldest_ms: millis(stats.oldest),
        })
    }

    /// How the queue stands.
    pub(crate) async fn queue_status(&self) -> Result<QueueStatus, StoreError> {
        let jobs = self.look_at_queue().await.ok();
        Ok(QueueStatus { jobs, away: self.0.watch.away(), dead: self.0.store.count_dead().await? })
    }

    /// Cancels what waits for a deployer and is older than this deployment of the same branch: its commit is in this one.
    pub(super) async fn supersede(&self, by: &DeploymentRow) -> Result<(), LifecycleError> {
        let Some(branch) = branch(by) else { return Ok(()) };
        for row in self.0.store.queued_before(&by.project, &by.id).await? {
            if self::branch(&row) != Some(branch) {
                continue;
            }
            let why =
                format!("Deployment {} of the same branch was asked for later, before this one was begun.", by.id);
            if self.step(&row, Event::Canceled(Failure::new("superseded", why.clone()))).await?.is_some() {
                self.0.store.set_superseded(&row.id, &by.id).await?;
                self.take_off(&row.id).await;
                self.end_log(&row.id, &why).await;
            }
        }
        Ok(())
    }

    /// Takes a job off the queue, or tells its deployer to stop. While the queue is away its deployer hears of it at its
    /// next report, and what waits is not begun because the row has ended.
    pub(super) async fn take_off(&self, id: &DeploymentId) {
        let answer = self.0.queue.cancel(id).await;
        self.0.watch.record(&answer);
        if let Err(e) = answer {
            tracing::warn!(deployment = %id, error = %e, "the queue can't be told of a cancellation");
        }
    }

    /// Asks for a deployment again that was given up.
    pub(crate) async fn replay(
        &self,
        project: &ProjectRow,
        dead: DeploymentRow,
    ) -> Result<DeploymentRow, LifecycleError> {
        let id = dead.id.clone();
        if !self.0.store.take_dead(&id).await? {
            return Err(LifecycleError::NotDead(id));
        }
        let again = self.redeploy(project, dead).await;
        if again.is_err() {
            self.0.store.put_dead_back(&id).await?;
        }
        again
    }
}

/// The repository and branch that a deployment is of; nothing for uploads, of which none replaces another.
fn branch(row: &DeploymentRow) -> Option<(&str, Option<&str>)> {
    match &row.source {
        Source::Git { url, branch, .. } => Some((url.as_str(), branch.as_deref().or(row.settings.branch.as_deref()))),
        Source::Upload { .. } => None,
    }
}

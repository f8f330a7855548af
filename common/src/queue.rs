//! The job queue port: wakes a deployer. The deployment's row is the truth; a lost job is put again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::id::DeploymentId;

pub mod memory;

/// The port.
pub type Queue = Arc<dyn JobQueue>;

/// A deployment to build. The same job is on the queue once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Which deployment.
    pub deployment: DeploymentId,
    /// Jobs of one group run one after the other, in the order in which they were put: a project's name.
    pub group: String,
}

/// A job that this worker has until the lease runs out.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The job.
    pub job: Job,
    /// Tells this lease from an earlier one of the same job.
    pub token: u64,
    /// Fires when someone asked for the job to stop, or the lease was lost.
    pub canceled: CancellationToken,
}

/// Why a queue operation failed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The lease ran out and the job may be somebody else's.
    #[error("the lease of {0} ran out")]
    LeaseLost(DeploymentId),
    /// The queue is away.
    #[error("the job queue is away: {0}")]
    Away(String),
}

/// The port's operations.
#[async_trait]
pub trait JobQueue: Send + Sync {
    /// Puts a job; one that is waiting or leased already is not put again.
    async fn enqueue(&self, job: Job) -> Result<(), QueueError>;
    /// Waits for a job and leases it for `duration`.
    async fn lease(&self, duration: Duration) -> Result<Lease, QueueError>;
    /// Extends a lease to `duration` from now.
    async fn heartbeat(&self, lease: &Lease, duration: Duration) -> Result<(), QueueError>;
    /// Ends a job.
    async fn complete(&self, lease: &Lease) -> Result<(), QueueError>;
    /// Gives a job back, to be leased again after `delay`.
    async fn retry(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError>;
    /// Takes a waiting job off the queue, or tells its worker to stop.
    async fn cancel(&self, deployment: &DeploymentId) -> Result<(), QueueError>;
}

/// What every adapter must do; called by each adapter's tests, under tokio's paused clock where the
/// adapter lives in this process.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(queue: &Queue) -> Result<(), String> {
    let text = |e: QueueError| e.to_string();
    let ensure = |held: bool, what: &str| if held { Ok(()) } else { Err(what.to_owned()) };
    let job = |group: &str| Job { deployment: DeploymentId::new(), group: group.to_owned() };
    let long = Duration::from_secs(60);

    let (a1, a2, b) = (job("a"), job("a"), job("b"));
    for j in [&a1, &a2, &b, &a1] {
        queue.enqueue(j.clone()).await.map_err(text)?;
    }
    let first = queue.lease(long).await.map_err(text)?;
    let second = queue.lease(long).await.map_err(text)?;
    ensure(first.job == a1 && second.job == b, "one job a group is out at a time, in order, each once")?;
    queue.complete(&second).await.map_err(text)?;
    queue.complete(&first).await.map_err(text)?;
    let third = queue.lease(Duration::from_millis(200)).await.map_err(text)?;
    ensure(third.job == a2, "the next of the group follows")?;
    let again = queue.lease(long).await.map_err(text)?;
    ensure(again.job == a2 && third.canceled.is_cancelled(), "a job whose lease ran out is leased again")?;
    ensure(queue.complete(&third).await.is_err(), "the old lease can't end it")?;
    ensure(queue.heartbeat(&third, long).await.is_err(), "nor be extended")?;
    queue.retry(&again, Duration::from_millis(50)).await.map_err(text)?;
    let retried = queue.lease(long).await.map_err(text)?;
    ensure(retried.job == a2, "a job given back comes again")?;
    queue.cancel(&a2.deployment).await.map_err(text)?;
    retried.canceled.cancelled().await;
    queue.complete(&retried).await.map_err(text)?;
    let waiting = job("c");
    queue.enqueue(waiting.clone()).await.map_err(text)?;
    queue.cancel(&waiting.deployment).await.map_err(text)?;
    let empty = tokio::time::timeout(Duration::from_millis(100), queue.lease(long)).await;
    ensure(empty.is_err(), "a canceled waiting job is gone")
}

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
    /// Whose it is. Accounts take turns, so that one's hundred jobs delay another's first by one at most.
    pub account: String,
    /// Which of an account's jobs goes first.
    pub priority: Priority,
}

/// Which of an account's jobs goes first; among equals the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Priority {
    /// Someone waits for it.
    High,
    /// As most.
    #[default]
    Normal,
    /// When there is nothing else to do.
    Low,
}

impl Priority {
    /// A number that is less for what goes first.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }

    /// The priority with this rank, or the nearest.
    #[must_use]
    pub const fn from_rank(rank: u8) -> Self {
        match rank {
            0 => Self::High,
            1 => Self::Normal,
            _ => Self::Low,
        }
    }
}

/// How a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Jobs that nobody has.
    pub waiting: u64,
    /// Jobs that are leased.
    pub leased: u64,
    /// Groups whose first job waits until a time.
    pub delayed: u64,
    /// Since when the oldest job, waiting or leased, is there.
    pub oldest: Duration,
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
    /// Waits for a job and leases it for `duration`. Who stops waiting may leave a job leased to nobody, which is leased
    /// again when the time is over.
    async fn lease(&self, duration: Duration) -> Result<Lease, QueueError>;
    /// Extends a lease to `duration` from now.
    async fn heartbeat(&self, lease: &Lease, duration: Duration) -> Result<(), QueueError>;
    /// Ends a job.
    async fn complete(&self, lease: &Lease) -> Result<(), QueueError>;
    /// Gives a job back, to be leased again after `delay`.
    async fn retry(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError>;
    /// Takes a waiting job off the queue, or tells its worker to stop.
    async fn cancel(&self, deployment: &DeploymentId) -> Result<(), QueueError>;
    /// How it stands.
    async fn stats(&self) -> Result<Stats, QueueError>;
}

/// What every adapter must do; called by each adapter's tests, under tokio's paused clock where the
/// adapter lives in this process.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(queue: &Queue) -> Result<(), String> {
    leases(queue).await?;
    turns(queue).await
}

fn text(error: QueueError) -> String {
    error.to_string()
}

fn ensure(held: bool, what: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(what.to_owned()) }
}

fn job_of(account: &str, group: &str) -> Job {
    let priority = Priority::Normal;
    Job { deployment: DeploymentId::new(), group: group.to_owned(), account: account.to_owned(), priority }
}

async fn leases(queue: &Queue) -> Result<(), String> {
    let job = |group: &str| job_of("one", group);
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

/// With nothing on the queue.
async fn turns(queue: &Queue) -> Result<(), String> {
    let long = Duration::from_secs(60);
    ensure(queue.stats().await.map_err(text)? == Stats::default(), "an empty queue has nothing")?;
    let many: Vec<Job> = (0..20).map(|n| job_of("many", &format!("project-{n}"))).collect();
    let urgent = Job { priority: Priority::High, ..job_of("many", "urgent") };
    let lonely = job_of("lonely", "shop");
    for job in many.iter().chain([&urgent, &lonely]) {
        queue.enqueue(job.clone()).await.map_err(text)?;
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        let lease = queue.lease(long).await.map_err(text)?;
        order.push(lease.job.clone());
        if order.len() == 1 {
            queue.retry(&lease, Duration::from_secs(3600)).await.map_err(text)?;
        } else {
            queue.complete(&lease).await.map_err(text)?;
        }
    }
    let position = |job: &Job| order.iter().position(|taken| taken == job);
    ensure(position(&lonely).is_some_and(|at| at <= 1), "an account's first job waits for one of another's at most")?;
    ensure(position(&urgent).is_some_and(|at| at <= 1), "what has priority goes before the account's other jobs")?;
    ensure(position(&many[0]) < position(&many[1]), "equals go by age")?;
    let stats = queue.stats().await.map_err(text)?;
    ensure(stats.waiting == 19 && stats.leased == 0 && stats.delayed == 1, "waiting, leased and delayed are counted")
}

//! The port's operations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::id::DeploymentId;
use common::queue::{Job, JobQueue, Lease, Priority, QueueError, Stats};
use common::secret::Secret;
use redis::{FromRedisValue, RedisResult, ScriptInvocation, Value};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connect::{Address, Connector};
use crate::events::{self, Ears};
use crate::scripts::Scripts;

/// Longest wait for a job without looking, should an event be missed.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// For an answer to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the queue is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keeps installations on one Redis apart.
    pub name: String,
    /// Jobs of one account that may be out at a time; any number when 0.
    pub account_jobs: u32,
    /// PEM of the authorities that a server with TLS is checked with; the system's when it is nothing.
    pub ca: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { name: "astrocloud".to_owned(), account_jobs: 0, ca: None }
    }
}

/// The adapter on Redis.
pub struct RedisQueue {
    connector: Connector,
    scripts: Scripts,
    /// The keys' prefix.
    prefix: String,
    /// This client among the workers.
    client: String,
    account_jobs: u32,
    ears: Arc<Ears>,
    tokens: AtomicU64,
    /// Entries of this client's leases by their token.
    entries: Mutex<HashMap<u64, String>>,
    _follows: DropGuard,
}

impl RedisQueue {
    /// A queue at this address. It connects when it is used; until Redis is there, everything says that it is away.
    ///
    /// # Errors
    /// When the address can't be used.
    pub fn new(address: Address, settings: Settings) -> Result<Self, QueueError> {
        // The braces keep all keys in one slot of a cluster.
        let prefix = format!("{{{}}}:queue", settings.name);
        // The client takes the process's cryptography and panics when there is none to choose. Where it is chosen already,
        // that stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ears = Arc::new(Ears::default());
        let stop = CancellationToken::new();
        // Reading events blocks its connection, so it has one of its own.
        let blocking =
            Arc::new(Connector::new(address.clone(), events::PATIENCE, settings.ca.as_deref()).map_err(away)?);
        tokio::spawn(events::follow(blocking, format!("{prefix}:events"), Arc::clone(&ears), stop.clone()));
        Ok(Self {
            connector: Connector::new(address, PATIENCE, settings.ca.as_deref()).map_err(away)?,
            scripts: Scripts::new(),
            prefix,
            client: Secret::random("worker-").reveal().to_owned(),
            account_jobs: settings.account_jobs,
            ears,
            tokens: AtomicU64::new(1),
            entries: Mutex::default(),
            _follows: stop.drop_guard(),
        })
    }

    async fn run<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        let result: RedisResult<T> = async {
            let mut connection = self.connector.get().await?;
            invocation.invoke_async(&mut connection).await
        }
        .await;
        self.connector.used(&result).await;
        result.map_err(away)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<u64, String>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, lease: &Lease) -> Result<String, QueueError> {
        self.entries().get(&lease.token).cloned().ok_or_else(|| lost(lease))
    }

    /// Forgets a lease that is over.
    fn forget(&self, lease: &Lease, entry: &str) {
        self.entries().remove(&lease.token);
        self.ears.release(entry);
    }

    /// The next job, or when to look again.
    async fn take(&self, duration: Duration) -> Result<Result<Lease, Duration>, QueueError> {
        let mut take = self.scripts.take.key(&self.prefix);
        take.arg(&self.client).arg(millis(duration)).arg(self.account_jobs);
        let (lost, again, job): (Vec<String>, i64, Vec<String>) = match self.run::<Vec<Value>>(&take).await?.as_slice()
        {
            [lost, again, job @ ..] => (read(lost)?, read(again)?, job.iter().map(read).collect::<Result<_, _>>()?),
            _ => return Err(QueueError::Away("the queue's script gave no answer".to_owned())),
        };
        for entry in lost {
            self.ears.cancel(&entry);
        }
        let [job, group, account, priority, entry] = job.as_slice() else {
            let again = u64::try_from(again).map_or(LONGEST_WAIT, Duration::from_millis);
            return Ok(Err(again.min(LONGEST_WAIT)));
        };
        let deployment: DeploymentId =
            job.parse().map_err(|e| QueueError::Away(format!("the queue holds a job that is none: {e}")))?;
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        self.entries().insert(token, entry.clone());
        let canceled = self.ears.hold(entry);
        let priority = Priority::from_rank(priority.parse().unwrap_or_default());
        let job = Job { deployment, group: group.clone(), account: account.clone(), priority };
        Ok(Ok(Lease { job, token, canceled }))
    }

    /// Ends a lease: the job is over, or comes again after a delay.
    async fn release(&self, lease: &Lease, delay: Option<Duration>) -> Result<(), QueueError> {
        let entry = self.entry(lease)?;
        let mut release = self.scripts.release.key(&self.prefix);
        let delay = delay.map_or(-1, |delay| i64::try_from(millis(delay)).unwrap_or(i64::MAX));
        release.arg(&self.client).arg(&entry).arg(lease.job.deployment.as_str()).arg(delay).arg(self.account_jobs);
        let held: bool = self.run(&release).await?;
        self.forget(lease, &entry);
        if held { Ok(()) } else { Err(lost(lease)) }
    }
}

#[async_trait]
impl JobQueue for RedisQueue {
    async fn enqueue(&self, job: Job) -> Result<(), QueueError> {
        let mut enqueue = self.scripts.enqueue.key(&self.prefix);
        enqueue.arg(job.deployment.as_str()).arg(&job.group).arg(&job.account).arg(job.priority.rank());
        enqueue.arg(self.account_jobs);
        self.run(&enqueue).await
    }

    async fn lease(&self, duration: Duration) -> Result<Lease, QueueError> {
        loop {
            // Registered before the look, so that an event in between is not missed.
            let offered = self.ears.offered.notified();
            tokio::pin!(offered);
            offered.as_mut().enable();
            match self.take(duration).await? {
                Ok(lease) => return Ok(lease),
                Err(again) => tokio::select! {
                    () = offered => {}
                    () = tokio::time::sleep(again) => {}
                },
            }
        }
    }

    async fn heartbeat(&self, lease: &Lease, duration: Duration) -> Result<(), QueueError> {
        let entry = self.entry(lease)?;
        let mut extend = self.scripts.extend.key(&self.prefix);
        extend.arg(&self.client).arg(&entry).arg(lease.job.deployment.as_str()).arg(millis(duration));
        match self.run::<u8>(&extend).await? {
            0 => {
                self.forget(lease, &entry);
                return Err(lost(lease));
            }
            2 => self.ears.cancel(&entry),
            _ => {}
        }
        Ok(())
    }

    async fn complete(&self, lease: &Lease) -> Result<(), QueueError> {
        self.release(lease, None).await
    }

    async fn retry(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        self.release(lease, Some(delay)).await
    }

    async fn cancel(&self, deployment: &DeploymentId) -> Result<(), QueueError> {
        let mut cancel = self.scripts.cancel.key(&self.prefix);
        cancel.arg(deployment.as_str()).arg(self.account_jobs);
        self.run(&cancel).await
    }

    async fn stats(&self) -> Result<Stats, QueueError> {
        let (jobs, leased, delayed, oldest): (u64, u64, u64, u64) =
            self.run(&self.scripts.stats.key(&self.prefix)).await?;
        Ok(Stats { waiting: jobs.saturating_sub(leased), leased, delayed, oldest: Duration::from_millis(oldest) })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read<T: FromRedisValue>(value: &Value) -> Result<T, QueueError> {
    T::from_redis_value_ref(value).map_err(|e| QueueError::Away(format!("the queue's answer can't be read: {e}")))
}

fn away(error: redis::RedisError) -> QueueError {
    QueueError::Away(error.to_string())
}

fn lost(lease: &Lease) -> QueueError {
    QueueError::LeaseLost(lease.job.deployment.clone())
}

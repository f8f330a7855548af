//! Work that blocks, on threads that may, and work that computes, on as many threads as there are cores.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::PublishError;

/// Runs `work` on a blocking thread.
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| PublishError::Internal(format!("a worker thread ended: {e}")))?
}

/// Runs work that uses much memory for a while (compressing). Its threads are few and stay: an allocator keeps
/// some megabytes for each thread that it has served, and blocking threads come by the dozen.
pub async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PublishError> + Send + 'static,
) -> Result<T, PublishError> {
    static POOL: OnceLock<Result<rayon::ThreadPool, rayon::ThreadPoolBuildError>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(cores())
            .thread_name(|number| format!("compress-{number}"))
            .panic_handler(|_| tracing::error!("compressing failed"))
            .build()
    });
    let pool = pool.as_ref().map_err(|e| PublishError::Internal(format!("threads can't be started: {e}")))?;
    let (sender, result) = tokio::sync::oneshot::channel();
    // Nobody may be waiting any more.
    pool.spawn(move || drop(sender.send(work())));
    result.await.map_err(|_| PublishError::Internal("a worker thread ended".to_owned()))?
}

/// Cores that compressing and hashing may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Tells blocking threads to end when it is dropped: they outlive the future that waits for them.
pub struct Stop(Flag);

/// What a blocking thread looks at between two pieces of work.
#[derive(Clone)]
pub struct Flag(Arc<AtomicBool>);

impl Stop {
    pub fn new() -> Self {
        Self(Flag(Arc::default()))
    }

    pub fn flag(&self) -> Flag {
        self.0.clone()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Flag {
    /// Fails when nobody waits for the result any more; so nobody reads this error.
    pub fn check(&self) -> Result<(), PublishError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(PublishError::Internal("the publish was cancelled".to_owned()));
        }
        Ok(())
    }
}

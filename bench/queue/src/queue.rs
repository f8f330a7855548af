//! The work, by the platform's queue: jobs of some accounts are put, leased by workers and ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::id::DeploymentId;
use common::queue::{Job, Priority, Queue};
use futures::StreamExt as _;
use redis_queue::{RedisQueue, Settings};

use crate::{Measured, Work};

/// A lease's length: longer than any run.
const LEASE: Duration = Duration::from_secs(600);

/// Does the work once.
pub async fn run(port: u16, work: Work) -> anyhow::Result<Measured> {
    let queue = |name: &str| -> anyhow::Result<Queue> {
        let settings = Settings { name: name.to_owned(), ..Settings::default() };
        Ok(Arc::new(RedisQueue::new(format!("redis://127.0.0.1:{port}").parse()?, settings)?))
    };
    let full = queue("full")?;
    full.stats().await?;
    let begun = Instant::now();
    let puts = futures::stream::iter(0..work.jobs).map(|n| full.enqueue(job(n)));
    let put: Vec<_> = puts.buffer_unordered(work.adders).collect().await;
    put.into_iter().collect::<Result<Vec<()>, _>>()?;
    let put = work.jobs as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let added = Added::default();
    take(&full, work.jobs, work.workers, &added).await?;
    let taken = work.jobs as f64 / begun.elapsed().as_secs_f64();

    let idle = queue("idle")?;
    idle.stats().await?;
    let pace = async {
        let start = tokio::time::Instant::now();
        let mut puts = tokio::task::JoinSet::new();
        for n in 0..work.paced {
            tokio::time::sleep_until(start + Duration::from_secs_f64(n as f64 / work.rate)).await;
            let job = job(n);
            added.lock().insert(job.deployment.clone(), Instant::now());
            let idle = Arc::clone(&idle);
            puts.spawn(async move { idle.enqueue(job).await });
        }
        for put in puts.join_all().await {
            put?;
        }
        anyhow::Ok(())
    };
    let (waits, paced) = tokio::join!(take(&idle, work.paced, work.workers, &added), pace);
    paced?;
    let mut waits = waits?;
    waits.sort_by(f64::total_cmp);
    let p = |share: f64| {
        let rank = (share * waits.len() as f64).ceil() as usize;
        waits.get(rank.clamp(1, waits.len().max(1)) - 1).copied().unwrap_or_default()
    };
    Ok(Measured { put, taken, p50_ms: p(0.5), p99_ms: p(0.99) })
}

/// When each job was put.
#[derive(Clone, Default)]
struct Added(Arc<Mutex<HashMap<DeploymentId, Instant>>>);

impl Added {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<DeploymentId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes and ends so many jobs; gives the milliseconds that each of those in `added` waited.
async fn take(queue: &Queue, count: usize, workers: usize, added: &Added) -> anyhow::Result<Vec<f64>> {
    let left = Arc::new(AtomicUsize::new(count));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (queue, left, added) = (Arc::clone(queue), Arc::clone(&left), added.clone());
        all.spawn(async move {
            let mut waits = Vec::new();
            // A worker that has drawn a number gets a job: there is one for each.
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                let lease = queue.lease(LEASE).await?;
                if let Some(at) = added.lock().remove(&lease.job.deployment) {
                    waits.push(at.elapsed().as_secs_f64() * 1e3);
                }
                queue.complete(&lease).await?;
            }
            anyhow::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    for worker in all.join_all().await {
        waits.extend(worker?);
    }
    Ok(waits)
}

fn job(n: usize) -> Job {
    Job {
        deployment: DeploymentId::new(),
        group: format!("project-{n}"),
        account: format!("account-{}", n % 10),
        priority: Priority::Normal,
    }
}

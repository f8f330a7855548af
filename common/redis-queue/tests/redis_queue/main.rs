//! The queue on a real Redis.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::id::DeploymentId;
use common::queue::{Job, Priority, Queue, QueueError, conformance};
use redis_queue::{RedisQueue, Settings};
use testkit::redis::Redis;
use tokio_util::sync::CancellationToken;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60);

mod faults;
mod places;

fn queue(server: &Redis, account_jobs: u32) -> Queue {
    at(&server.url(), Settings { account_jobs, ..Settings::default() })
}

fn at(url: &str, settings: Settings) -> Queue {
    Arc::new(RedisQueue::new(url.parse().unwrap(), settings).unwrap())
}

fn job(account: &str, group: &str) -> Job {
    let priority = Priority::Normal;
    Job { deployment: DeploymentId::new(), group: group.to_owned(), account: account.to_owned(), priority }
}

#[tokio::test]
async fn the_queue_on_redis_conforms() {
    let server = Redis::start();
    conformance(&queue(&server, 0)).await.unwrap();
}

#[tokio::test]
async fn two_deployers_share_the_jobs_and_each_is_taken_once() {
    let server = Redis::start();
    let (here, there) = (queue(&server, 0), queue(&server, 0));
    let jobs: Vec<Job> = (0..50).map(|n| job("a", &n.to_string())).collect();
    let (left, done) = (AtomicUsize::new(jobs.len()), CancellationToken::new());
    let work = async |queue: &Queue| {
        let mut taken = Vec::new();
        while let Some(lease) = done.run_until_cancelled(queue.lease(LONG)).await {
            let lease = lease.unwrap();
            taken.push(lease.job.clone());
            queue.complete(&lease).await.unwrap();
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                done.cancel();
            }
        }
        taken
    };
    let put = async {
        for job in &jobs {
            here.enqueue(job.clone()).await.unwrap();
        }
    };
    let (one, other, ()) = tokio::join!(work(&here), work(&there), put);
    let mut all: Vec<String> = one.iter().chain(&other).map(|job| job.deployment.to_string()).collect();
    let mut expected: Vec<String> = jobs.iter().map(|job| job.deployment.to_string()).collect();
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
    assert!(!one.is_empty() && !other.is_empty());
}

#[tokio::test]
async fn the_job_of_a_deployer_that_died_is_taken_by_another_one() {
    let server = Redis::start();
    let (dead, alive) = (queue(&server, 0), queue(&server, 0));
    dead.enqueue(job("a", "shop")).await.unwrap();
    let first = dead.lease(Duration::from_millis(300)).await.unwrap();
    let second = alive.lease(LONG).await.unwrap();
    assert_eq!(first.job, second.job);
    // Should it be alive after all, it hears of it.
    first.canceled.cancelled().await;
    assert!(matches!(dead.complete(&first).await, Err(QueueError::LeaseLost(_))));
    alive.complete(&second).await.unwrap();
}

#[tokio::test]
async fn a_cancellation_reaches_a_deployer_elsewhere() {
    let server = Redis::start();
    let (plane, deployer) = (queue(&server, 0), queue(&server, 0));
    plane.enqueue(job("a", "shop")).await.unwrap();
    let lease = deployer.lease(LONG).await.unwrap();
    plane.cancel(&lease.job.deployment).await.unwrap();
    lease.canceled.cancelled().await;
    deployer.complete(&lease).await.unwrap();
}

#[tokio::test]
async fn an_accounts_hundred_builds_delay_anothers_first_by_one_at_most() {
    let server = Redis::start();
    let queue = queue(&server, 0);
    for n in 0..100 {
        queue.enqueue(job("many", &n.to_string())).await.unwrap();
    }
    // Some are worked on, as by several deployers.
    for _ in 0..3 {
        queue.lease(LONG).await.unwrap();
    }
    for account in ["lonely", "other"] {
        queue.enqueue(job(account, account)).await.unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(queue.lease(LONG).await.unwrap().job.account);
    }
    let lonely = order.iter().position(|account| account == "lonely").unwrap();
    let before = order[..lonely].iter().filter(|account| *account == "many").count();
    assert!(before <= 1, "{order:?}");
    assert!(order[..3].iter().any(|account| account == "other"), "{order:?}");
}

#[tokio::test]
async fn an_account_has_no_more_jobs_out_than_it_may() {
    let server = Redis::start();
    let queue = queue(&server, 2);
    for n in 0..4 {
        queue.enqueue(job("a", &n.to_string())).await.unwrap();
    }
    let first = queue.lease(LONG).await.unwrap();
    let _second = queue.lease(LONG).await.unwrap();
    queue.enqueue(job("b", "other")).await.unwrap();
    let third = queue.lease(LONG).await.unwrap();
    assert_eq!(third.job.account, "b");
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.lease(LONG).await.unwrap() }
    });
    queue.complete(&first).await.unwrap();
    assert_eq!(waiting.await.unwrap().job.account, "a");
}

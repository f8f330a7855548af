//! A Redis that is away, paused, slow, or has forgotten everything.

use std::time::Duration;

use common::queue::{QueueError, Stats};
use redis_queue::Settings;
use testkit::proxy::{Proxy, Server};
use testkit::redis::Redis;

use crate::{LONG, at, job, queue};

#[tokio::test]
async fn while_redis_is_away_it_is_said_and_afterwards_all_goes_on() {
    let server = Redis::start();
    let queue = queue(&server, 0);
    let lost = job("a", "shop");
    queue.enqueue(lost.clone()).await.unwrap();
    server.kill();
    let refused = queue.enqueue(job("a", "blog")).await;
    assert!(matches!(refused, Err(QueueError::Away(_))), "{refused:?}");
    server.begin();
    // The sweep puts what Redis forgot.
    while queue.enqueue(lost.clone()).await.is_err() {}
    assert_eq!(queue.lease(LONG).await.unwrap().job, lost);
}

#[tokio::test]
async fn a_redis_that_is_paused_is_away_in_the_end_and_goes_on_where_it_was() {
    let server = Redis::start();
    let queue = queue(&server, 0);
    let waiting = job("a", "shop");
    queue.enqueue(waiting.clone()).await.unwrap();
    server.pause();
    let refused = queue.stats().await;
    assert!(matches!(refused, Err(QueueError::Away(_))), "{refused:?}");
    server.resume();
    while queue.stats().await.is_err() {}
    assert_eq!(queue.lease(LONG).await.unwrap().job, waiting);
}

#[tokio::test]
async fn a_flushed_redis_has_no_leases_and_takes_the_jobs_again() {
    let server = Redis::start();
    let queue = queue(&server, 1);
    let (working, waiting) = (job("a", "shop"), job("a", "blog"));
    queue.enqueue(working.clone()).await.unwrap();
    queue.enqueue(waiting.clone()).await.unwrap();
    let lease = queue.lease(LONG).await.unwrap();
    assert_eq!(server.ask(&["flushall"]).trim(), "OK");
    assert_eq!(queue.stats().await.unwrap(), Stats::default());
    // The worker hears of it when it next says that it is there, or is done.
    assert!(matches!(queue.heartbeat(&lease, LONG).await, Err(QueueError::LeaseLost(_))));
    queue.enqueue(waiting.clone()).await.unwrap();
    // The forgotten lease does not count against the account.
    let next = queue.lease(LONG).await.unwrap();
    assert_eq!(next.job, waiting);
    queue.complete(&next).await.unwrap();
    assert_eq!(queue.stats().await.unwrap(), Stats::default());
}

#[tokio::test]
async fn a_slow_redis_is_waited_for() {
    let server = Redis::start();
    let proxy = Proxy::start(Server::Socket(server.socket()));
    let queue = at(&format!("redis://127.0.0.1:{}", proxy.port()), Settings::default());
    proxy.slow(Duration::from_millis(150));
    let slow = job("a", "shop");
    queue.enqueue(slow.clone()).await.unwrap();
    let lease = queue.lease(LONG).await.unwrap();
    assert_eq!(lease.job, slow);
    queue.cancel(&slow.deployment).await.unwrap();
    lease.canceled.cancelled().await;
    queue.complete(&lease).await.unwrap();
}

#[tokio::test]
async fn a_worker_that_waits_while_the_connection_breaks_gets_the_next_job() {
    let server = Redis::start();
    let proxy = Proxy::start(Server::Socket(server.socket()));
    let worker = at(&format!("redis://127.0.0.1:{}", proxy.port()), Settings::default());
    let plane = queue(&server, 0);
    let first = job("a", "shop");
    let waits = tokio::spawn(async move {
        loop {
            // A failure is told, and the worker asks again, as deployers do.
            match worker.lease(LONG).await {
                Ok(lease) => return lease,
                Err(e) => assert!(matches!(e, QueueError::Away(_)), "{e}"),
            }
        }
    });
    proxy.cut();
    plane.enqueue(first.clone()).await.unwrap();
    proxy.mend();
    assert_eq!(waits.await.unwrap().job, first);
}

//! Takes jobs off the queue, one after the other, and holds their leases while they are worked on.

use std::sync::Arc;
use std::time::Duration;

use common::queue::{Lease, QueueError};
use tokio_util::sync::CancellationToken;

use crate::{Context, pipeline};

/// How long a lease lasts when its deployer dies: the time that a deployment then stands still.
const LEASE: Duration = Duration::from_secs(30);
/// Pause between extensions of a lease; two may fail before it is lost.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Pause before the queue is asked again after it failed.
const QUEUE_AWAY: Duration = Duration::from_secs(2);

/// Works until `stop`.
pub(crate) async fn work(context: Arc<Context>, stop: CancellationToken) {
    loop {
        let lease = tokio::select! {
            () = stop.cancelled() => return,
            lease = context.ports.queue.lease(LEASE) => lease,
        };
        match lease {
            Ok(lease) => one(&context, &lease, &stop).await,
            Err(e) => {
                tracing::warn!(error = %e, retry_in_s = QUEUE_AWAY.as_secs(), "no jobs can be taken");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(QUEUE_AWAY) => {}
                }
            }
        }
    }
}

/// Does one job. It is given up, and everything that it started is killed, when it is canceled, when its
/// lease is lost, or when the deployer stops.
async fn one(context: &Context, lease: &Lease, stop: &CancellationToken) {
    let deployment = &lease.job.deployment;
    let finished = tokio::select! {
        () = pipeline::deploy(context, deployment) => true,
        () = lease.canceled.cancelled() => {
            tracing::info!(%deployment, "a job was canceled");
            true
        }
        e = hold(context, lease) => {
            tracing::warn!(%deployment, error = %e, "a job was given up");
            false
        }
        () = stop.cancelled() => false,
    };
    context.apps.release(deployment).await;
    context.work.remove(deployment).await;
    if finished && let Err(e) = context.ports.queue.complete(lease).await {
        tracing::warn!(%deployment, error = %e, "a job can't be ended on the queue");
    }
}

/// Extends the lease until that fails for good.
async fn hold(context: &Context, lease: &Lease) -> QueueError {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        match context.ports.queue.heartbeat(lease, LEASE).await {
            Err(e @ QueueError::LeaseLost(_)) => return e,
            Err(e) => tracing::warn!(error = %e, "a lease can't be extended now"),
            Ok(()) => {}
        }
    }
}

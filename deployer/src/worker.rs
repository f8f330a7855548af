//! Takes jobs off the queue, one after the other, and holds their leases while they are worked on.

use std::sync::Arc;
use std::time::Duration;

use common::ledger::{Claim, HOLD, KEEP_EVERY};
use common::queue::{Lease, QueueError};
use tokio_util::sync::CancellationToken;

use crate::{Context, pipeline};

/// How long a lease lasts when its deployer dies: as long as its claim, so that both are free at once.
const LEASE: Duration = HOLD;
/// Pause between extensions of a lease; two may fail before it is lost.
const HEARTBEAT: Duration = KEEP_EVERY;
/// Longest wait for the control plane by a deployer that stops.
const GIVING_BACK: Duration = Duration::from_secs(1);
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

/// Does one job. It is given up, and everything that it started is killed, when it is canceled, when it becomes another
/// deployer's, or when this one stops. That the queue forgot it is no reason: whose it is, the ledger says.
async fn one(context: &Context, lease: &Lease, stop: &CancellationToken) {
    let claim = Claim::new(lease.job.deployment.clone());
    let deployment = &claim.deployment;
    let mut is_leased = true;
    let is_finished = {
        let (work, hold) = (pipeline::deploy(context, &claim), hold(context, lease));
        tokio::pin!(work, hold);
        loop {
            tokio::select! {
                () = &mut work => break true,
                () = lease.canceled.cancelled(), if is_leased => {
                    if context.claims.is_lost(&claim).await {
                        tracing::info!(%deployment, "a job was canceled");
                        break true;
                    }
                    is_leased = false;
                }
                e = &mut hold, if is_leased => {
                    tracing::warn!(%deployment, error = %e, "the queue has forgotten a job; it is done all the same");
                    is_leased = false;
                }
                () = stop.cancelled() => break false,
            }
        }
    };
    context.apps.release(deployment).await;
    context.work.remove(deployment).await;
    if !is_finished {
        give_back(context, &claim).await;
    }
    let queue = &context.ports.queue;
    let ended = match (is_leased, is_finished) {
        (false, _) => Ok(()),
        (true, true) => queue.complete(lease).await,
        (true, false) => queue.retry(lease, Duration::ZERO).await,
    };
    if let Err(e) = ended {
        tracing::warn!(%deployment, error = %e, "a job can't be ended on the queue");
    }
}

/// Gives a deployment back, so that another deployer can begin with it at once.
async fn give_back(context: &Context, claim: &Claim) {
    let problem = match tokio::time::timeout(GIVING_BACK, context.ports.ledger.give_back(claim)).await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => e.to_string(),
        Err(_) => "the control plane does not answer".to_owned(),
    };
    let deployment = &claim.deployment;
    tracing::warn!(%deployment, error = problem, "a deployment can't be given back; it begins anew when its claim is over");
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

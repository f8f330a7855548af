//! Which apps run: those that the control plane wants, and those that a deployment is starting just now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::deployment::Failure;
use common::id::DeploymentId;
use common::ledger::{App, DynLedger, LedgerError};
use common::revision::{Endpoints, RevisionStatus};
use common::runtime::{DynRuntime, StartError};
use common::time::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Pause before an app that did not start is tried again; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Pause before the control plane is asked again after it failed.
const LEDGER_AWAY: Duration = Duration::from_secs(2);

/// Keeps the wanted apps running. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Apps(Arc<Inner>);

struct Inner {
    runtime: DynRuntime,
    ledger: DynLedger,
    /// Apps that a job of this deployer is starting: wanted by the job, not yet by the control plane.
    starting: Mutex<HashSet<DeploymentId>>,
    /// Apps that are being brought up because the control plane wants them.
    returning: Mutex<HashSet<DeploymentId>>,
    /// One of them is no longer being brought up.
    returned: Notify,
}

impl Apps {
    pub(crate) fn new(runtime: DynRuntime, ledger: DynLedger) -> Self {
        Self(Arc::new(Inner {
            runtime,
            ledger,
            starting: Mutex::default(),
            returning: Mutex::default(),
            returned: Notify::new(),
        }))
    }

    /// Starts the app of a new deployment. It belongs to the job until [`Self::keep`] or [`Self::release`].
    pub(crate) async fn start_new(&self, app: &App) -> Result<Endpoints, StartError> {
        lock(&self.0.starting).insert(app.deployment.clone());
        self.0.runtime.start(app).await
    }

    /// The app is live: from now on it runs as long as the control plane wants it.
    pub(crate) fn keep(&self, deployment: &DeploymentId) {
        lock(&self.0.starting).remove(deployment);
    }

    /// The job has ended: an app that it started and did not keep is stopped.
    pub(crate) async fn release(&self, deployment: &DeploymentId) {
        if lock(&self.0.starting).remove(deployment) {
            self.0.runtime.stop(deployment).await;
        }
    }

    /// Starts what is wanted and stops what is not, whenever that changes.
    pub(crate) async fn keep_running(self, stop: CancellationToken, tasks: TaskTracker) {
        loop {
            let pause = match self.compare(&stop, &tasks).await {
                Ok(()) => None,
                Err(e) => {
                    tracing::warn!(error = %e, retry_in_s = LEDGER_AWAY.as_secs(), "the wanted apps are not known");
                    Some(LEDGER_AWAY)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.ledger.apps_changed() => {}
                () = self.0.returned.notified() => {}
                () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)) => {}
            }
        }
    }

    async fn compare(&self, stop: &CancellationToken, tasks: &TaskTracker) -> Result<(), LedgerError> {
        let wanted: HashSet<DeploymentId> = self.0.ledger.wanted_apps().await?.into_iter().collect();
        let running: HashSet<DeploymentId> = self.0.runtime.running().await.into_iter().collect();
        for id in running.difference(&wanted).filter(|id| !lock(&self.0.starting).contains(*id)) {
            self.0.runtime.stop(id).await;
        }
        for id in wanted {
            let busy = running.contains(&id) || lock(&self.0.starting).contains(&id);
            if !busy && lock(&self.0.returning).insert(id.clone()) {
                let (apps, stop) = (self.clone(), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = apps.bring_up(&id) => {}
                    }
                    lock(&apps.0.returning).remove(&id);
                    // It may have been wanted anew while this was ending.
                    apps.0.returned.notify_one();
                });
            }
        }
        Ok(())
    }

    /// Starts an app that should be running, until it runs or is no longer wanted.
    async fn bring_up(&self, deployment: &DeploymentId) {
        let mut pause = RETRY_FIRST;
        let mut restarts = 0;
        loop {
            match self.try_to_start(deployment, restarts, pause).await {
                Ok(Tried::Done) | Err(LedgerError::NotYours(_)) => return,
                Ok(Tried::Failed) => restarts += 1,
                Err(e) => tracing::warn!(%deployment, error = %e, "the control plane does not answer for an app"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Starts an app once and reports what came of it; `pause` is the time until the next try.
    async fn try_to_start(
        &self,
        deployment: &DeploymentId,
        restarts: u32,
        pause: Duration,
    ) -> Result<Tried, LedgerError> {
        let ledger = &self.0.ledger;
        let Some(wanted) = ledger.wanted_app(deployment).await? else { return Ok(Tried::Done) };
        match self.0.runtime.start(&wanted.app).await {
            Ok(endpoints) => {
                let reported = ledger.revision(deployment, RevisionStatus::Running { endpoints, restarts }).await;
                if matches!(reported, Err(LedgerError::NotYours(_))) {
                    self.0.runtime.stop(deployment).await;
                }
                reported.map(|()| Tried::Done)
            }
            // Whoever stopped it has said so.
            Err(StartError::Stopped) => Ok(Tried::Done),
            Err(e) if wanted.once => {
                ledger.start_failed(deployment, Failure::new(e.code(), e.to_string())).await.map(|()| Tried::Done)
            }
            Err(e) => {
                tracing::warn!(%deployment, error = %e, retry_in_s = pause.as_secs(), "an app did not start");
                let retry_at = Timestamp::now().after(pause);
                let status = RevisionStatus::Restarting { reason: e.to_string(), retry_at, restarts: restarts + 1 };
                ledger.revision(deployment, status).await.map(|()| Tried::Failed)
            }
        }
    }
}

/// What a try to start an app came to.
enum Tried {
    /// It runs, or is no longer to.
    Done,
    /// It is to be tried again.
    Failed,
}

/// Held for set operations only.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

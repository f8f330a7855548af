//! The life of deployments: asks for builds, takes the deployers' reports, makes deployments live.

use std::sync::Arc;
use std::time::Duration;

use common::api;
use common::blob::ObjectStore;
use common::bus::{Bus, BusError, Line, StreamName, Topic};
use common::deployment::{Event, Failure, State};
use common::id::DeploymentId;
use common::project::Settings;
use common::queue::{Job, Priority, Queue, QueueError};
use common::secret::KeyRing;
use common::source::Source;
use common::time::Timestamp;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::Config;
use crate::feed::{Hub, LONGEST_WAIT};
use crate::store::deployments::{DeploymentRow, NewRow};
use crate::store::projects::ProjectRow;
use crate::store::{Store, StoreError};

mod activation;
mod claims;
mod follow;
mod placement;
mod queueing;
mod reports;
mod show;

pub use reports::Reports;

/// How often lost jobs and lost deployers are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often earlier deployments' files are looked at, whose time may be over.
const EXPIRE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Change notices that a slow listener may lag behind; it then reads the row anew.
const NOTICES: usize = 1024;

/// Operations on deployments. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    store: Store,
    hub: Hub,
    keys: KeyRing,
    bus: Bus,
    queue: Queue,
    blobs: ObjectStore,
    sites_url: Url,
    base_domain: String,
    changes: broadcast::Sender<DeploymentId>,
    /// Counts what may change which apps are wanted.
    apps_changed: watch::Sender<i64>,
    /// How long a deployer that says nothing is believed to work.
    hold: Duration,
    /// Whether deployers run elsewhere: then this process's start says nothing of what they do.
    has_remote_deployers: bool,
    /// Since when deployers can be heard.
    heard_since: std::sync::Mutex<Instant>,
    watch: queueing::Watch,
    /// When this process began.
    began: Timestamp,
}

/// Why an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue is away. The deployment is kept and is queued when it is back.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The logs failed.
    #[error(transparent)]
    Bus(#[from] common::bus::BusError),
    /// The object store failed.
    #[error(transparent)]
    Blob(#[from] common::blob::BlobError),
    /// There is no such deployment (any more).
    #[error("there is no deployment `{0}`")]
    NoSuchDeployment(DeploymentId),
    /// The deployment can't be made live.
    #[error("deployment {id} can't be made live: it is {state}; only a ready one can")]
    NotReady {
        /// Which.
        id: DeploymentId,
        /// What it is instead.
        state: &'static str,
    },
    /// The app did not start.
    #[error("deployment {id} was not made live, because its app did not start: {reason}")]
    DidNotStart {
        /// Which.
        id: DeploymentId,
        /// Why.
        reason: String,
    },
    /// The deployment was not given up.
    #[error("deployment {0} is no dead letter: it was not given up, or was asked for again since")]
    NotDead(DeploymentId),
    /// Its image is gone.
    #[error(
        "deployment {0} can't be made live: its image was deleted, because only those of the newest deployments are \
         kept; deploy its commit again"
    )]
    NoImage(DeploymentId),
    /// No earlier deployment was live.
    #[error("there is no earlier deployment to roll back to")]
    NothingBefore,
}

impl Lifecycle {
    pub(crate) fn new(store: Store, hub: Hub, config: &Config, ports: crate::Ports) -> Self {
        Self(Arc::new(Inner {
            store,
            hub,
            keys: config.keys.clone(),
            bus: ports.bus,
            queue: ports.queue,
            blobs: ports.store,
            sites_url: config.sites_url.clone(),
            base_domain: config.base_domain.clone(),
            changes: broadcast::Sender::new(NOTICES),
            apps_changed: watch::Sender::new(0),
            hold: config.deployer_hold,
            has_remote_deployers: config.deployer_token.is_some(),
            heard_since: std::sync::Mutex::new(Instant::now()),
            watch: queueing::Watch::default(),
            began: Timestamp::now(),
        }))
    }

    /// Ids of deployments as they change.
    pub(crate) fn changes(&self) -> broadcast::Receiver<DeploymentId> {
        self.0.changes.subscribe()
    }

    /// What a crash left. When the deployer was part of the process that is gone, deployments that were being worked on
    /// begin anew, and no app runs.
    pub(crate) async fn recover(&self) -> Result<(), StoreError> {
        if self.0.has_remote_deployers {
            return self.settle_all(Timestamp::now()).await;
        }
        self.0.store.forget_revisions().await?;
        self.0.store.forget_deployers(None).await?;
        for project in self.0.hub.projects().await {
            self.0.hub.announce(&project).await?;
        }
        self.settle_all(Timestamp::now()).await?;
        for row in self.0.store.unfinished_deployments().await? {
            if row.state != State::Queued {
                self.requeue(&row).await?;
            }
        }
        Ok(())
    }

    /// Puts the jobs of waiting rows again, whenever the queue may have lost them.
    pub(crate) async fn sweep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP_EVERY);
        let mut expired = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(e) = self.take_back().await {
                self.was_deaf();
                tracing::error!(error = %e, retry_in_s = SWEEP_EVERY.as_secs(), "lost deployers can't be looked for");
            }
            if let Err(e) = self.replace_lost().await {
                self.was_deaf();
                tracing::error!(error = %e, retry_in_s = SWEEP_EVERY.as_secs(), "apps without a deployer can't be looked for");
            }
            if let Err(e) = self.enqueue_waiting().await {
                tracing::error!(error = %e, retry_in_s = SWEEP_EVERY.as_secs(), "waiting deployments can't be queued");
            }
            if let Err(e) = self.settle_all(Timestamp::now().before(LONGEST_WAIT + SWEEP_EVERY)).await {
                tracing::error!(error = %e, "deployments that edges are still to be told of can't be found");
            }
            self.0.hub.forget_edges();
            match self.0.store.forget_past_wishes().await {
                Ok(true) => self.apps_changed().await,
                Ok(false) => {}
                Err(e) => tracing::error!(error = %e, "apps that nobody asks for any more can't be found"),
            }
            if expired.elapsed() > EXPIRE_EVERY {
                expired = tokio::time::Instant::now();
                for project in self.0.hub.projects().await {
                    if let Err(e) = self.0.hub.announce(&project).await {
                        tracing::error!(error = %e, "routes can't be refreshed");
                    }
                }
            }
        }
    }

    async fn enqueue_waiting(&self) -> Result<(), LifecycleError> {
        self.look_at_queue().await?;
        for row in self.0.store.unfinished_deployments().await? {
            if row.state == State::Queued {
                self.put(&row).await?;
            }
        }
        Ok(())
    }

    /// Asks for a deployment of a new source.
    pub(crate) async fn deploy(
        &self,
        project: &ProjectRow,
        source: Source,
        given: Settings,
    ) -> Result<DeploymentRow, LifecycleError> {
        let (source, login) = source.without_login();
        let login = login.map(|login| self.0.keys.seal(&login));
        let row = self.enqueue(project, source, login, given).await?;
        self.supersede(&row).await?;
        Ok(row)
    }

    /// Asks for another deployment of an earlier one's source, with what was given for that one and the project's
    /// present settings.
    pub(crate) async fn redeploy(
        &self,
        project: &ProjectRow,
        earlier: DeploymentRow,
    ) -> Result<DeploymentRow, LifecycleError> {
        self.enqueue(project, earlier.source, earlier.source_login, earlier.given).await
    }

    /// Row first, then the job.
    async fn enqueue(
        &self,
        project: &ProjectRow,
        source: Source,
        source_login: Option<String>,
        given: Settings,
    ) -> Result<DeploymentRow, LifecycleError> {
        let id = loop {
            let id = DeploymentId::new();
            let label = format!("{}-{}", project.name, id.short());
            let new = NewRow {
                id: id.clone(),
                label,
                project: project.id.clone(),
                source: source.clone(),
                source_login: source_login.clone(),
                given: given.clone(),
            };
            match self.0.store.insert_deployment(&new).await {
                Ok(true) => break id,
                // Another host has this random label: draw again.
                Ok(false) => {}
                Err(e) if e.is_duplicate() => {}
                Err(e) => return Err(e.into()),
            }
        };
        let row = self.row(&id).await?;
        if let Err(e) = self.put(&row).await {
            tracing::warn!(deployment = %id, error = %e, "the queue is away; the sweep will queue the deployment");
        }
        Ok(row)
    }

    /// The deployment's row.
    pub(crate) async fn row(&self, id: &DeploymentId) -> Result<DeploymentRow, LifecycleError> {
        self.0.store.deployment(id).await?.ok_or_else(|| LifecycleError::NoSuchDeployment(id.clone()))
    }

    /// Applies an event to a row; `None` when the state does not allow it or changed meanwhile.
    async fn step(&self, row: &DeploymentRow, event: Event) -> Result<Option<State>, StoreError> {
        let Ok(next) = row.state.on(event) else { return Ok(None) };
        if !self.0.store.transition(row, &next).await? {
            return Ok(None);
        }
        self.changed(&row.id);
        Ok(Some(next))
    }

    /// Adds the last line and ends the build log, unless it has ended.
    async fn end_log(&self, id: &DeploymentId, text: &str) {
        let (topic, time) = (Topic::build(id.clone()), Timestamp::now());
        let last = Line { time, stream: StreamName::System, text: text.to_owned() };
        let ended = match self.0.bus.append(&topic, vec![last]).await {
            Ok(()) => self.0.bus.finish(&topic).await,
            Err(BusError::Finished { .. }) => Ok(()),
            Err(e) => Err(e),
        };
        if let Err(e) = ended {
            tracing::warn!(deployment = %id, error = %e, "a build log can't be ended");
        }
    }

    /// Ends the build log of a deployment that ended before this process began: the one before may have died between
    /// the two.
    pub(crate) async fn settle_log(&self, row: &DeploymentRow) {
        if !row.state.is_final() || row.finished_at >= Some(self.0.began) {
            return;
        }
        match self.0.bus.read(&Topic::build(row.id.clone()), u64::MAX).await {
            Ok(end) if end.finished => {}
            Ok(_) => {
                let text = "The log ends here: AstroCloud was restarted when the deployment had just ended.";
                self.end_log(&row.id, text).await;
            }
            Err(e) => tracing::warn!(deployment = %row.id, error = %e, "the end of a build log can't be read"),
        }
    }

    /// Cancels a deployment that has not ended. One that has stays as it is.
    pub(crate) async fn cancel(&self, id: &DeploymentId) -> Result<DeploymentRow, LifecycleError> {
        let why = Failure::new("canceled", "Canceled on request.");
        loop {
            let row = self.row(id).await?;
            if row.state.is_final() {
                return Ok(row);
            }
            if self.step(&row, Event::Canceled(why.clone())).await?.is_some() {
                self.take_off(id).await;
                self.end_log(id, "Canceled on request.").await;
                return self.row(id).await;
            }
        }
    }

    /// Deletes a project: its builds stop, its hosts are gone, its rows and logs are deleted.
    pub(crate) async fn delete_project(&self, project: &ProjectRow) -> Result<(), LifecycleError> {
        let mut before = None;
        let mut all = Vec::new();
        loop {
            let rows = self.0.store.deployments(&project.id, before.as_ref(), api::MAX_PAGE).await?;
            let Some(last) = rows.last() else { break };
            before = Some(last.id.clone());
            all.extend(rows);
        }
        for row in all.iter().filter(|row| !row.state.is_final()) {
            self.cancel(&row.id).await?;
        }
        self.0.store.delete_project(&project.id, Timestamp::now()).await?;
        self.0.hub.refresh(&project.id).await?;
        self.apps_changed().await;
        for row in all {
            self.0.bus.remove(&row.id).await?;
            common::blob::delete(&self.0.blobs, &common::manifest::manifest_key(&row.id)).await?;
        }
        Ok(())
    }
}

/// The job of a deployment; those of one project follow one another.
fn job(row: &DeploymentRow) -> Job {
    Job {
        deployment: row.id.clone(),
        group: row.project_name.to_string(),
        account: row.account.clone(),
        priority: Priority::Normal,
    }
}

//! The life of deployments: asks for builds, takes the deployers' reports, makes deployments live.

use std::sync::Arc;
use std::time::Duration;

use common::api;
use common::blob::ObjectStore;
use common::bus::{Bus, Line, StreamName, Topic};
use common::deployment::{Event, Failure, Kind, State};
use common::id::DeploymentId;
use common::project::Settings;
use common::queue::{Job, Queue, QueueError};
use common::revision::RevisionStatus;
use common::secret::MasterKey;
use common::source::Source;
use common::time::Timestamp;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::Config;
use crate::feed::Hub;
use crate::store::deployments::{DeploymentRow, NewRow};
use crate::store::projects::ProjectRow;
use crate::store::{Store, StoreError};

mod reports;

/// How often lost jobs are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How often earlier deployments' files are looked at, whose time may be over.
const EXPIRE_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often a deployer may take a deployment before it is given up: a build that takes its deployer
/// down with it must not do so for ever.
const MAX_ATTEMPTS: i64 = 3;
/// How long a rollback waits for the app to start: its health check's time and some more.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long an app that is not live runs after a visitor asked for it: as long as somebody looks at a preview and some
/// more. Edges ask again while there are visitors.
const ON_REQUEST: Duration = Duration::from_secs(10 * 60);
/// Change notices that a slow listener may lag behind; it then reads the row anew.
const NOTICES: usize = 1024;

/// Operations on deployments. Cheap to clone.
#[derive(Clone)]
pub struct Lifecycle(Arc<Inner>);

struct Inner {
    store: Store,
    hub: Hub,
    key: MasterKey,
    bus: Bus,
    queue: Queue,
    blobs: ObjectStore,
    sites_url: Url,
    base_domain: String,
    changes: broadcast::Sender<DeploymentId>,
    apps_changed: Notify,
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
    /// No earlier deployment was live.
    #[error("there is no earlier deployment to roll back to")]
    NothingBefore,
}

impl Lifecycle {
    pub(crate) fn new(store: Store, hub: Hub, config: &Config, ports: crate::Ports) -> Self {
        Self(Arc::new(Inner {
            store,
            hub,
            key: config.master_key.clone(),
            bus: ports.bus,
            queue: ports.queue,
            blobs: ports.store,
            sites_url: config.sites_url.clone(),
            base_domain: config.base_domain.clone(),
            changes: broadcast::Sender::new(NOTICES),
            apps_changed: Notify::new(),
        }))
    }

    /// Ids of deployments as they change.
    pub(crate) fn changes(&self) -> broadcast::Receiver<DeploymentId> {
        self.0.changes.subscribe()
    }

    fn changed(&self, id: &DeploymentId) {
        // Nobody may be listening.
        let _ = self.0.changes.send(id.clone());
    }

    /// What a crash left: deployments that were being worked on begin anew, and no app runs.
    pub(crate) async fn recover(&self) -> Result<(), StoreError> {
        self.0.store.forget_revisions().await?;
        for project in self.0.hub.projects().await {
            self.0.hub.refresh(&project).await?;
        }
        for row in self.0.store.unfinished_deployments().await? {
            if row.state != State::Queued {
                self.requeue(&row).await?;
            }
        }
        Ok(())
    }

    /// A deployment whose deployer is gone is queued again, or given up after some attempts.
    async fn requeue(&self, row: &DeploymentRow) -> Result<(), StoreError> {
        let event = if row.attempts >= MAX_ATTEMPTS {
            Event::Failed(Failure::new(
                "worker_lost",
                format!("The deployer was lost {MAX_ATTEMPTS} times while it worked on this deployment. Deploy again."),
            ))
        } else {
            Event::WorkerLost
        };
        if self.step(row, event).await?.is_some_and(|state| state.is_final()) {
            self.end_log(&row.id, "The deployment failed: its deployer was lost again and again.").await;
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
            if let Err(e) = self.enqueue_waiting().await {
                tracing::error!(error = %e, retry_in_s = SWEEP_EVERY.as_secs(), "waiting deployments can't be queued");
            }
            match self.0.store.forget_past_wishes().await {
                Ok(true) => self.0.apps_changed.notify_one(),
                Ok(false) => {}
                Err(e) => tracing::error!(error = %e, "apps that nobody asks for any more can't be found"),
            }
            if expired.elapsed() > EXPIRE_EVERY {
                expired = tokio::time::Instant::now();
                for project in self.0.hub.projects().await {
                    if let Err(e) = self.0.hub.refresh(&project).await {
                        tracing::error!(error = %e, "routes can't be refreshed");
                    }
                }
            }
        }
    }

    async fn enqueue_waiting(&self) -> Result<(), LifecycleError> {
        for row in self.0.store.unfinished_deployments().await? {
            if row.state == State::Queued {
                self.0.queue.enqueue(job(&row)).await?;
            }
        }
        Ok(())
    }

    /// Asks for a deployment of a new source.
    pub(crate) async fn deploy(
        &self,
        project: &ProjectRow,
        source: Source,
        settings: Settings,
    ) -> Result<DeploymentRow, LifecycleError> {
        let (source, login) = source.without_login();
        let login = login.map(|login| self.0.key.seal(&login));
        self.enqueue(project, source, login, settings).await
    }

    /// Asks for another deployment of an earlier one's source, with the project's present settings.
    pub(crate) async fn redeploy(
        &self,
        project: &ProjectRow,
        earlier: DeploymentRow,
    ) -> Result<DeploymentRow, LifecycleError> {
        self.enqueue(project, earlier.source, earlier.source_login, project.settings.clone()).await
    }

    /// Row first, then the job.
    async fn enqueue(
        &self,
        project: &ProjectRow,
        source: Source,
        source_login: Option<String>,
        settings: Settings,
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
                settings: settings.clone(),
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
        if let Err(e) = self.0.queue.enqueue(job(&row)).await {
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
        if !self.0.store.transition(&row.id, &row.state, &next).await? {
            return Ok(None);
        }
        self.changed(&row.id);
        Ok(Some(next))
    }

    /// Adds a line of the platform to the build log.
    async fn say(&self, id: &DeploymentId, text: &str) {
        let line = Line { time: Timestamp::now(), stream: StreamName::System, text: text.to_owned() };
        if let Err(e) = self.0.bus.append(&Topic::build(id.clone()), vec![line]).await {
            tracing::warn!(deployment = %id, error = %e, "a line can't be added to the build log");
        }
    }

    /// Adds the last line and ends the build log.
    async fn end_log(&self, id: &DeploymentId, text: &str) {
        self.say(id, text).await;
        if let Err(e) = self.0.bus.finish(&Topic::build(id.clone())).await {
            tracing::warn!(deployment = %id, error = %e, "the build log can't be ended");
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
                self.0.queue.cancel(id).await?;
                self.end_log(id, "Canceled on request.").await;
                return self.row(id).await;
            }
        }
    }

    /// Makes a deployment live (the one before when `None`); returns when visitors get it.
    pub(crate) async fn rollback(
        &self,
        project: &ProjectRow,
        to: Option<DeploymentId>,
    ) -> Result<DeploymentRow, LifecycleError> {
        let row = match to {
            Some(id) => self.row(&id).await.and_then(|row| {
                if row.project == project.id { Ok(row) } else { Err(LifecycleError::NoSuchDeployment(id)) }
            })?,
            None => match &project.live_deployment {
                Some(live) => {
                    self.0.store.live_before(&project.id, live).await?.ok_or(LifecycleError::NothingBefore)?
                }
                None => return Err(LifecycleError::NothingBefore),
            },
        };
        if row.state != State::Ready {
            return Err(LifecycleError::NotReady { id: row.id, state: row.state.as_str() });
        }
        if row.kind == Some(Kind::Node) && !row.runs() && !row.live {
            self.start_and_activate(&row).await?;
        } else {
            self.activate(&row, false).await?;
        }
        self.row(&row.id).await
    }

    /// Flips the project's pointer and waits until the edges have it.
    async fn activate(&self, row: &DeploymentRow, unless_newer: bool) -> Result<bool, StoreError> {
        if !self.0.store.activate(&row.project, &row.id, unless_newer).await? {
            self.0.hub.refresh(&row.project).await?;
            return Ok(false);
        }
        self.0.hub.refresh(&row.project).await?;
        self.changed(&row.id);
        self.0.apps_changed.notify_one();
        tracing::info!(deployment = %row.id, project = %row.project_name, "live");
        Ok(true)
    }

    /// Wants an app to run, and waits until it is live or did not start.
    async fn start_and_activate(&self, row: &DeploymentRow) -> Result<(), LifecycleError> {
        let mut changes = self.changes();
        self.0.store.want_activation(&row.id).await?;
        self.0.apps_changed.notify_one();
        let outcome = tokio::time::timeout(START_TIMEOUT, async {
            loop {
                let now = self.row(&row.id).await?;
                if now.live {
                    return Ok(());
                }
                if !now.activation_wanted {
                    let reason = now.activation_failure.unwrap_or_else(|| "the start was given up".to_owned());
                    return Err(LifecycleError::DidNotStart { id: row.id.clone(), reason });
                }
                if now.runs() {
                    // It was running for visitors when the wish was written.
                    self.activate(&now, false).await?;
                    return Ok(());
                }
                // Lagging behind is answered by reading the row again.
                let _ = changes.recv().await;
            }
        });
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => {
                let reason = format!("it did not start within {} s", START_TIMEOUT.as_secs());
                self.0.store.fail_activation(&row.id, &reason).await?;
                self.0.apps_changed.notify_one();
                Err(LifecycleError::DidNotStart { id: row.id.clone(), reason })
            }
        }
    }

    /// A visitor asked for a deployment whose app runs only on request.
    pub(crate) async fn wake(&self, id: &DeploymentId) -> Result<(), LifecycleError> {
        let row = self.row(id).await?;
        if row.state != State::Ready || row.kind != Some(Kind::Node) {
            return Ok(());
        }
        self.0.store.want_until(id, Timestamp::now().after(ON_REQUEST)).await?;
        if matches!(row.revision, None | Some(RevisionStatus::Stopped)) {
            self.0.apps_changed.notify_one();
        }
        Ok(())
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
        self.0.store.delete_project(&project.id).await?;
        self.0.hub.refresh(&project.id).await?;
        self.0.apps_changed.notify_one();
        for row in all {
            self.0.bus.remove(&row.id).await?;
            common::blob::delete(&self.0.blobs, &common::manifest::manifest_key(&row.id)).await?;
        }
        Ok(())
    }

    /// The URL of a site's host.
    pub(crate) fn site_url(&self, label: &str) -> Url {
        let mut url = self.0.sites_url.clone();
        // Labels are checked names below a checked domain.
        let _ = url.set_host(Some(&format!("{label}.{}", self.0.base_domain)));
        url
    }

    /// A project as the API shows it.
    pub(crate) fn show_project(&self, row: ProjectRow) -> api::Project {
        api::Project {
            url: self.site_url(row.name.as_str()),
            id: row.id,
            name: row.name,
            settings: row.settings,
            live_deployment: row.live_deployment,
            created_at: row.created_at,
        }
    }

    /// A deployment as the API shows it.
    pub(crate) async fn show(&self, row: DeploymentRow) -> Result<api::Deployment, StoreError> {
        use api::DeploymentStatus as Status;
        let (status, reason) = match row.state {
            State::Queued => {
                let ahead = self.0.store.queued_before(&row.id).await?;
                let text = match ahead {
                    0 => "Waits for a free deployer; it is the next.".to_owned(),
                    1 => "Waits for a free deployer; 1 deployment is ahead of it.".to_owned(),
                    n => format!("Waits for a free deployer; {n} deployments are ahead of it."),
                };
                (Status::Queued, Some(Failure::new("waiting", text)))
            }
            State::Building => (Status::Building, None),
            State::Publishing => (Status::Publishing, None),
            State::Starting => {
                (Status::Starting, Some(Failure::new("health_check", "Waits for the app's health check to pass.")))
            }
            State::Ready if row.live => (Status::Live, None),
            State::Ready if row.activation_wanted => {
                (Status::Ready, Some(Failure::new("health_check", "Its app starts; it becomes live when healthy.")))
            }
            State::Ready => match row.activation_failure {
                Some(why) => (Status::Ready, Some(Failure::new("did_not_start", format!("It was not made live: {why}")))),
                None => (Status::Ready, Some(Failure::new("not_live", "Another deployment is live."))),
            },
            State::Failed(why) => (Status::Failed, Some(why)),
            State::Canceled(why) => (Status::Canceled, Some(why)),
        };
        Ok(api::Deployment {
            status,
            reason,
            url: self.site_url(row.project_name.as_str()),
            deployment_url: self.site_url(&row.label),
            id: row.id,
            project: row.project_name,
            source: row.source,
            kind: row.kind,
            framework: row.framework,
            isolation: row.isolation,
            revision: row.revision,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// The job of a deployment; those of one project follow one another.
fn job(row: &DeploymentRow) -> Job {
    Job { deployment: row.id.clone(), group: row.project_name.to_string() }
}

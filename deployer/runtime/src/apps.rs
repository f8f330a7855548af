//! The runtime: which apps there are, and what is wanted of each.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::bus::Bus;
use common::id::DeploymentId;
use common::ledger::{App, DynLedger};
use common::registry::Registry;
use common::revision::Endpoints;
use common::runtime::{AppRuntime, StartError};
use sandbox::Sandbox;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use toolchain::Tools;

use crate::image::Images;
use crate::life::{Life, Stage};
use crate::ports::Ports;
use crate::wish::{self, Want, Wish, Wisher};
use crate::{Config, Settings};

/// The part of a shutdown's time that is kept for killing what did not end by itself: one part in this many.
const KILLING_SHARE: u32 = 5;

/// The embedded adapter: apps as processes on this machine.
pub struct ProcessRuntime(Arc<Shared>);

/// What the lives of all apps share.
pub(crate) struct Shared {
    pub(crate) sandbox: Sandbox,
    pub(crate) tools: Tools,
    pub(crate) registry: Registry,
    pub(crate) bus: Bus,
    pub(crate) ledger: DynLedger,
    pub(crate) settings: Settings,
    pub(crate) images: Images,
    pub(crate) ports: Ports,
    apps: Mutex<Apps>,
    lives: TaskTracker,
}

#[derive(Default)]
struct Apps {
    known: HashMap<DeploymentId, Handle>,
    /// Nothing is started any more.
    closed: bool,
}

/// An app that has a life.
#[derive(Clone)]
struct Handle {
    app: Arc<App>,
    wisher: Wisher,
    stage: watch::Receiver<Stage>,
}

/// What a start finds.
enum Found {
    /// It was begun; this tells how it ends.
    New(oneshot::Receiver<Result<SocketAddr, StartError>>),
    /// The app has a life already.
    Known(Handle),
    Closed,
}

impl ProcessRuntime {
    /// A runtime that runs nothing yet. What an earlier one left in its folder is deleted in the background.
    #[must_use]
    pub fn new(
        sandbox: Sandbox,
        tools: Tools,
        registry: Registry,
        bus: Bus,
        ledger: DynLedger,
        config: Config,
    ) -> Self {
        Self(Arc::new(Shared {
            sandbox,
            tools,
            registry,
            bus,
            ledger,
            settings: config.settings,
            images: Images::open(config.folder),
            ports: Ports::default(),
            apps: Mutex::default(),
            lives: TaskTracker::new(),
        }))
    }

    fn find_or_begin(&self, app: &App) -> Found {
        let shared = &self.0;
        let mut apps = shared.lock();
        if apps.closed {
            return Found::Closed;
        }
        if let Some(handle) = apps.known.get(&app.deployment) {
            return Found::Known(handle.clone());
        }
        let (wisher, wishes) = wish::channel();
        let (tell, stage) = watch::channel(Stage::Starting);
        let (first, outcome) = oneshot::channel();
        apps.known.insert(app.deployment.clone(), Handle { app: Arc::new(app.clone()), wisher, stage });
        let life = Life::new(shared.clone(), app.clone(), wishes, tell);
        shared.lives.spawn(life.run(first));
        Found::New(outcome)
    }
}

impl Shared {
    /// An app's life is over.
    pub(crate) fn forget(&self, deployment: &DeploymentId) {
        self.lock().known.remove(deployment);
    }

    /// Held for map operations only.
    fn lock(&self) -> MutexGuard<'_, Apps> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Whether a start of `app` can take over what runs: an image and variables are as old as their process.
    fn serves(&self, app: &App) -> bool {
        let own = &self.app;
        own.image == app.image && own.env == app.env && own.health_path == app.health_path
    }

    fn is_up(&self) -> bool {
        self.wisher.now().want == Want::Run && self.stage.borrow().is_up()
    }

    /// Waits until the app answers; `None` when its life ends before.
    async fn until_up(mut self, app: &App) -> Option<Result<SocketAddr, StartError>> {
        if self.serves(app) {
            self.wisher.change(Want::Stop, Want::Run);
        }
        let mut restarts_seen = None;
        loop {
            match *self.stage.borrow_and_update() {
                // Not while it is about to notice an older wish.
                Stage::Running { at, wish } if self.wisher.now() == Wish { number: wish, want: Want::Run } => {
                    return Some(Ok(at));
                }
                Stage::Restarting(restarts) if *restarts_seen.get_or_insert(restarts) != restarts => {
                    let how = "it ended again when it was restarted; its log shows why".to_owned();
                    return Some(Err(StartError::Exited { how, last_lines: Vec::new() }));
                }
                Stage::Ended => return None,
                _ => {}
            }
            self.stage.changed().await.ok()?;
        }
    }
}

#[async_trait]
impl AppRuntime for ProcessRuntime {
    async fn start(&self, app: &App) -> Result<Endpoints, StartError> {
        loop {
            match self.find_or_begin(app) {
                // A life that breaks off is cut off by the end of the platform.
                Found::New(outcome) => return outcome.await.unwrap_or(Err(StartError::Stopped)).map(Into::into),
                Found::Closed => return Err(StartError::Stopped),
                Found::Known(handle) => {
                    if let Some(outcome) = handle.until_up(app).await {
                        return outcome.map(Into::into);
                    }
                }
            }
        }
    }

    async fn stop(&self, deployment: &DeploymentId) {
        if let Some(handle) = self.0.lock().known.get(deployment) {
            handle.wisher.change(Want::Run, Want::Stop);
        }
    }

    async fn running(&self) -> Vec<DeploymentId> {
        let apps = self.0.lock();
        apps.known.iter().filter(|(_, handle)| handle.is_up()).map(|(id, _)| id.clone()).collect()
    }

    async fn shutdown(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        {
            let mut apps = self.0.lock();
            apps.closed = true;
            for handle in apps.known.values() {
                handle.wisher.end(end - deadline / KILLING_SHARE);
            }
        }
        self.0.lives.close();
        if timeout_at(end, self.0.lives.wait()).await.is_err() {
            tracing::warn!("apps were cut off by the shutdown");
        }
    }
}

//! The runtime: which apps this deployer has in hand, and what is wanted of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::bus::Bus;
use common::id::DeploymentId;
use common::ledger::{App, DynLedger};
use common::revision::Endpoints;
use common::runtime::{AppRuntime, StartError};
use common::time::Timestamp;
use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::lease::Lease;
use crate::life::{Life, Stage};
use crate::sweep::Sweep;
use crate::view::View;
use crate::{Settings, account as accounts, names};

/// The lease of who tidies up.
const SWEEPER: &str = "astrocloud-sweeper";

/// The adapter: apps on a Kubernetes cluster.
pub struct KubernetesRuntime(Arc<Shared>);

/// What the lives of all apps share.
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) view: View,
    pub(crate) bus: Bus,
    pub(crate) ledger: DynLedger,
    pub(crate) settings: Arc<Settings>,
    /// What no other deployer is called.
    pub(crate) deployer: String,
    /// Told when this process ends, and leaves its apps as they are.
    pub(crate) let_go: CancellationToken,
    pub(crate) tasks: TaskTracker,
    apps: Mutex<Apps>,
    /// Accounts whose namespaces are kept as they should be, by namespace.
    accounts: Mutex<HashMap<String, String>>,
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
    stop: CancellationToken,
    stage: watch::Receiver<Stage>,
}

/// What a start finds.
enum Found {
    /// It was begun; this tells how it ends.
    New(oneshot::Receiver<Result<Endpoints, StartError>>),
    /// The app has a life already.
    Known(Handle),
    Closed,
}

impl KubernetesRuntime {
    /// A runtime on the cluster of `client`. Nothing is asked of it before this returns, so it may be away.
    /// `deployer` is what no other deployer is called.
    #[must_use]
    pub fn new(client: Client, bus: Bus, ledger: DynLedger, settings: Settings, deployer: &str) -> Self {
        let (let_go, tasks) = (CancellationToken::new(), TaskTracker::new());
        let cluster = Cluster::new(client.clone());
        let view = View::start(cluster.clone(), &let_go, &tasks);
        let lease = Lease::new(client, &settings.namespace, SWEEPER, deployer);
        let shared = Arc::new(Shared {
            cluster,
            view,
            bus,
            ledger,
            settings: Arc::new(settings),
            deployer: deployer.to_owned(),
            let_go,
            tasks,
            apps: Mutex::default(),
            accounts: Mutex::default(),
        });
        shared.tasks.spawn(keep_accounts(shared.clone()));
        let sweeping = shared.clone();
        shared.tasks.spawn(async move {
            let sweep = Sweep::new(sweeping.clone());
            lease.run(&sweeping.let_go, || sweep.run()).await;
        });
        Self(shared)
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
        let (tell, stage) = watch::channel(Stage::Starting);
        let (first, outcome) = oneshot::channel();
        let stop = CancellationToken::new();
        apps.known.insert(app.deployment.clone(), Handle { stop: stop.clone(), stage });
        shared.tasks.spawn(Life::new(shared.clone(), app.clone(), stop, tell).run(first));
        Found::New(outcome)
    }
}

impl Drop for KubernetesRuntime {
    fn drop(&mut self) {
        self.0.let_go.cancel();
    }
}

impl Shared {
    /// An app's life is over.
    pub(crate) fn forget(&self, deployment: &DeploymentId) {
        self.lock().known.remove(deployment);
    }

    /// Whether this deployer has an app in hand.
    pub(crate) fn has(&self, deployment: &DeploymentId) -> bool {
        self.lock().known.contains_key(deployment)
    }

    /// From now on an account's namespace is kept as it should be.
    pub(crate) fn remember_account(&self, namespace: &str, account: &str) {
        self.accounts().insert(namespace.to_owned(), account.to_owned());
    }

    /// Held for map operations only.
    fn accounts(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held for map operations only.
    fn lock(&self) -> MutexGuard<'_, Apps> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Undoes at once what somebody does to the rules of who may speak with whom.
async fn keep_accounts(shared: Arc<Shared>) {
    let mut changes = shared.view.changes();
    loop {
        tokio::select! {
            () = shared.let_go.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        for namespace in shared.view.take_touched() {
            let account = shared.accounts().get(&namespace).cloned();
            if let Some(account) = account
                && let Err(e) = accounts::apply(&shared, &namespace, &account).await
            {
                tracing::warn!(namespace, error = %e, "an account's rules can't be kept; the next resync tries again");
            }
        }
    }
}

impl Handle {
    fn is_up(&self) -> bool {
        !self.stop.is_cancelled() && *self.stage.borrow() != Stage::Ended
    }

    /// Waits until the app answers; `None` when its life ends before.
    async fn until_up(mut self) -> Option<Endpoints> {
        loop {
            match &*self.stage.borrow_and_update() {
                Stage::Running(endpoints) if !self.stop.is_cancelled() => return Some(endpoints.clone()),
                Stage::Ended => return None,
                _ => {}
            }
            self.stage.changed().await.ok()?;
        }
    }

    fn trouble(&self) -> Option<String> {
        match &*self.stage.borrow() {
            Stage::Restarting(reason) => Some(reason.trim_end_matches('.').to_owned()),
            _ => None,
        }
    }
}

#[async_trait]
impl AppRuntime for KubernetesRuntime {
    async fn start(&self, app: &App) -> Result<Endpoints, StartError> {
        loop {
            match self.find_or_begin(app) {
                // A life that breaks off is cut off by the end of the platform.
                Found::New(outcome) => return outcome.await.unwrap_or(Err(StartError::Stopped)),
                Found::Closed => return Err(StartError::Stopped),
                Found::Known(handle) => match timeout(self.0.settings.longest_start(), handle.clone().until_up()).await
                {
                    Ok(Some(endpoints)) => return Ok(endpoints),
                    Ok(None) => {}
                    Err(_) => {
                        let how = handle.trouble().unwrap_or_else(|| "it did not come back".to_owned());
                        return Err(StartError::Exited { how, last_lines: Vec::new() });
                    }
                },
            }
        }
    }

    async fn stop(&self, deployment: &DeploymentId) {
        let shared = &self.0;
        let known = shared.lock().known.get(deployment).map(|handle| handle.stop.clone());
        if let Some(stop) = known {
            return stop.cancel();
        }
        // Started by another deployer, or by this one before it was restarted.
        let Some(set) = shared.view.of(deployment).set else { return };
        let namespace = set.metadata.namespace.clone().unwrap_or_default();
        let (shared, name) = (shared.clone(), names::object(deployment));
        self.0.tasks.spawn(async move {
            let now = Timestamp::now().as_millis();
            if let Err(e) = shared.cluster.scale_to_zero(&namespace, &name, now).await {
                tracing::warn!(app = name, error = %e, "an app could not be stopped; the sweep tries again");
            }
        });
    }

    fn is_of_this_machine(&self) -> bool {
        false
    }

    async fn running(&self) -> Vec<DeploymentId> {
        let apps = self.0.lock();
        apps.known.iter().filter(|(_, handle)| handle.is_up()).map(|(id, _)| id.clone()).collect()
    }

    async fn shutdown(&self, deadline: Duration) {
        let shared = &self.0;
        shared.lock().closed = true;
        shared.let_go.cancel();
        shared.tasks.close();
        if timeout(deadline, shared.tasks.wait()).await.is_err() {
            tracing::warn!("work on the cluster was cut off by the shutdown");
        }
        shared.lock().known.clear();
    }
}

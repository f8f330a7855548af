//! The worker: takes deployments off the queue, fetches, builds and publishes them, and keeps the apps of
//! live deployments running.
//!
//! In: jobs of the queue and, through [`common::ledger::Ledger`], the deployments they name. Out: blobs and
//! manifests in the object store, images in the registry, running apps, log lines on the bus, and reports
//! to the ledger. It must never decide what is live, and never trust what it builds.
//!
//! One subject each lies in a crate of its own below this folder (`source`, `detect`, `toolchain`, `build`,
//! `publish`, `runtime`, `sandbox`, `logs`); here they are put in a row.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::blob::ObjectStore;
use common::bus::Bus;
use common::ledger::DynLedger;
use common::queue::Queue;
use common::registry::Registry;
use common::runtime::DynRuntime;
use runtime::ProcessRuntime;
use sandbox::Sandbox;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use toolchain::{ToolError, Tools};

mod apps;
mod claims;
mod pipeline;
mod workdir;
mod worker;

use apps::Apps;
use claims::Claims;
use workdir::WorkDirs;

/// What the deployer needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where work folders, caches, tools and apps lie. On one file system, because trees are moved, not copied.
    pub folder: PathBuf,
    /// Builds at one time.
    pub concurrency: usize,
    /// What a source may be.
    pub fetch: source::Limits,
    /// What a build may use.
    pub build: build::Limits,
    /// What a static site may be.
    pub publish: publish::Limits,
    /// What an app may use, and how patiently it is treated.
    pub runtime: runtime::Settings,
}

impl Config {
    /// The defaults, below `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            concurrency: DEFAULT_CONCURRENCY,
            fetch: source::Limits::default(),
            build: build::Limits::default(),
            publish: publish::Limits::default(),
            runtime: runtime::Settings::default(),
        }
    }
}

/// Builds at one time when nothing else is set: a build keeps about one core busy, and small machines have two.
pub const DEFAULT_CONCURRENCY: usize = 2;

/// Pause between looks at whether apps have gone elsewhere.
const LOOK: Duration = Duration::from_millis(100);

/// The outside systems that the deployer uses.
#[derive(Clone)]
pub struct Ports {
    /// Uploaded archives in, blobs and manifests out.
    pub store: ObjectStore,
    /// Logs.
    pub bus: Bus,
    /// Jobs.
    pub queue: Queue,
    /// Images.
    pub registry: Registry,
    /// The control plane.
    pub ledger: DynLedger,
    /// Where builds are shut in, and apps that are processes of this machine.
    pub sandbox: Sandbox,
    /// What runs apps; this machine when absent.
    pub runtime: Option<DynRuntime>,
}

/// Why the deployer can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A folder can't be used.
    #[error("the deployer can't use its folder {path}: {source}; check its permissions, or choose another data folder")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Node and the package managers can't be looked up.
    #[error(transparent)]
    Tools(#[from] ToolError),
}

/// A running deployer.
pub struct Deployer {
    runtime: DynRuntime,
    ledger: DynLedger,
    /// Ends the taking of jobs.
    enough: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the jobs share.
struct Context {
    ports: Ports,
    fetcher: source::Fetcher,
    builder: build::Builder,
    publish: publish::Limits,
    output: logs::Bounds,
    work: WorkDirs,
    claims: Claims,
    apps: Apps,
}

impl Deployer {
    /// Starts the workers, and the apps that should be running.
    ///
    /// # Errors
    /// When its folder can't be used.
    pub async fn start(config: Config, ports: Ports) -> Result<Self, StartError> {
        let folder = |name: &str| {
            let path = config.folder.join(name);
            std::fs::create_dir_all(&path).map_err(|source| StartError::Folder { path: path.clone(), source })?;
            Ok::<_, StartError>(path)
        };
        let tools = Tools::open(folder("tools")?).await?;
        let runtime: DynRuntime = match ports.runtime.clone() {
            Some(runtime) => runtime,
            None => Arc::new(ProcessRuntime::new(
                ports.sandbox.clone(),
                tools.clone(),
                ports.registry.clone(),
                ports.bus.clone(),
                ports.ledger.clone(),
                runtime::Config { folder: folder("apps")?, settings: config.runtime.clone() },
            )),
        };
        let (stop, ledger) = (CancellationToken::new(), ports.ledger.clone());
        let enough = stop.child_token();
        let tasks = TaskTracker::new();
        let context = Arc::new(Context {
            fetcher: source::Fetcher::new(ports.store.clone(), ports.sandbox.clone(), config.fetch),
            output: config.build.output,
            builder: build::Builder::new(ports.sandbox.clone(), tools, folder("cache")?, config.build),
            publish: config.publish,
            work: WorkDirs::open(folder("work")?),
            claims: Claims::new(ports.ledger.clone()),
            apps: Apps::new(runtime.clone(), ports.ledger.clone()),
            ports,
        });
        tasks.spawn(context.claims.clone().keep_up(stop.clone()));
        tasks.spawn(context.apps.clone().keep_running(stop.clone(), tasks.clone()));
        for _ in 0..config.concurrency.max(1) {
            tasks.spawn(worker::work(context.clone(), enough.clone()));
        }
        Ok(Self { runtime, ledger, enough, stop, tasks })
    }

    /// Takes no more jobs, gives builds back, and waits until other deployers run its apps; until `deadline` at most, and
    /// not at all when there are none. Then [`drain`](Self::drain) it.
    pub async fn leave(&self, deadline: Duration) {
        self.enough.cancel();
        if !self.runtime.is_of_this_machine() {
            return;
        }
        let left = async {
            match self.ledger.leave().await {
                Ok(true) => {
                    while !self.runtime.running().await.is_empty() {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                Ok(false) => tracing::info!("there is no other deployer: apps are away until there is one"),
                Err(e) => tracing::warn!(error = %e, "apps can't be handed over to other deployers"),
            }
        };
        if tokio::time::timeout(deadline, left).await.is_err() {
            tracing::warn!(within_s = deadline.as_secs(), "some apps do not run elsewhere yet, and end all the same");
        }
    }

    /// Takes no more jobs, gives up builds (they begin anew when a deployer is back), and ends the apps, all
    /// within `deadline`.
    pub async fn drain(self, deadline: Duration) {
        self.stop.cancel();
        self.tasks.close();
        let ended = async { tokio::join!(self.tasks.wait(), self.runtime.shutdown(deadline)) };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("builds or apps were cut off by the shutdown");
        }
    }
}

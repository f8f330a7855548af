//! What the tests share: a runtime with a ledger that records, and apps written inline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::bus::file::FileBus;
use common::bus::{Bus, Record, StreamName, Topic, follow};
use common::deployment::Failure;
use common::id::DeploymentId;
use common::ledger::{App, Claim, Facts, Ledger, LedgerError, Output, Wanted, Work};
use common::registry::layout::OciLayout;
use common::registry::{NewImage, Origin, Registry, Start};
use common::revision::RevisionStatus;
use common::runtime::DynRuntime;
use common::secret::Secret;
use futures::StreamExt as _;
use runtime::{Backoff, Config, ProcessRuntime, Settings};
use sandbox::{Options, Sandbox};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, watch};
use toolchain::Tools;

/// How long anything may take before a test gives up: far more than a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that says when it listens, and answers with its process's number.
pub const SERVER: &str = "
    const server = require('http').createServer((request, response) => response.end(String(process.pid)));
    server.listen(process.env.PORT, () => console.log('listening'));
";

/// Patient with starts, quick with everything else.
pub fn settings() -> Settings {
    Settings {
        drain_delay: Duration::from_millis(10),
        backoff: Backoff { first: Duration::from_millis(10), ..Backoff::default() },
        ..Settings::default()
    }
}

/// A runtime and what it is connected to.
pub struct World {
    pub runtime: DynRuntime,
    pub registry: Registry,
    pub ledger: Arc<Recorder>,
    pub bus: Bus,
    pub node: String,
    pub folder: TempDir,
}

impl World {
    pub async fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().join("logs")).unwrap());
        let registry: Registry = Arc::new(OciLayout::new(folder.path().join("images")).unwrap());
        let ledger = Arc::new(Recorder::default());
        let tools = tools().await.clone();
        let node = tools.host().node.expect("these tests need Node on the PATH").to_string();
        let config = Config { folder: folder.path().join("apps"), settings };
        let runtime =
            ProcessRuntime::new(sandbox().await.clone(), tools, registry.clone(), bus.clone(), ledger.clone(), config);
        Self { runtime: Arc::new(runtime), registry, ledger, bus, node, folder }
    }

    /// An app of one file.
    pub async fn app(&self, script: &str) -> App {
        self.app_started_with(script, "node server.cjs").await
    }

    /// An app of one file with a start command of its own.
    pub async fn app_started_with(&self, script: &str, command: &str) -> App {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("app")).unwrap();
        std::fs::write(root.path().join("app/server.cjs"), script).unwrap();
        let start = Start { command: command.to_owned(), working_dir: "app".to_owned(), node: self.node.clone() };
        let origin = Origin::new(DeploymentId::new());
        let image = NewImage { name: "shop", root: root.path(), start: &start, origin: &origin };
        App {
            deployment: origin.deployment.clone(),
            account: "owner".to_owned(),
            project_name: "shop".parse().unwrap(),
            image: self.registry.push(image).await.unwrap().reference,
            health_path: None,
            env: BTreeMap::new(),
        }
    }

    /// The app's runtime log up to the first line that holds `text`.
    pub async fn log_until(&self, app: &App, text: &str) -> Vec<Record> {
        let topic = Topic::runtime(app.deployment.clone());
        let mut batches = Box::pin(follow(self.bus.clone(), topic, 0));
        let mut seen: Vec<Record> = Vec::new();
        let reading = async {
            while let Some(batch) = batches.next().await {
                for record in batch.unwrap() {
                    seen.push(record);
                    if seen.last().is_some_and(|record| record.text.contains(text)) {
                        return;
                    }
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        assert!(found.is_ok(), "no line with {text:?} in {:#?}", texts(&seen));
        seen
    }
}

/// The texts of a log.
pub fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.text.as_str()).collect()
}

/// What the app itself said, and not the platform.
pub fn said(records: &[Record]) -> Vec<&str> {
    records.iter().filter(|r| r.stream != StreamName::System).map(|r| r.text.as_str()).collect()
}

/// With an environment.
pub fn with_env(app: App, env: &[(&str, &str)]) -> App {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    App { env, ..app }
}

/// With a health path.
pub fn with_health(app: App, path: &str) -> App {
    App { health_path: Some(path.to_owned()), ..app }
}

/// The sandbox of this host; found once.
async fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceCell<Sandbox> = OnceCell::const_new();
    SANDBOX.get_or_init(|| Sandbox::detect(env!("CARGO_BIN_EXE_runtime-helper").into(), Options::default())).await
}

/// The tools of this host; looked up once.
async fn tools() -> &'static Tools {
    static TOOLS: OnceCell<Tools> = OnceCell::const_new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime-tools");
    TOOLS.get_or_init(|| async { Tools::open(folder).await.unwrap() }).await
}

/// The body of the answer to a GET, if there is a whole one.
pub async fn get(at: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// A ledger that writes down what the runtime reports.
pub struct Recorder {
    reports: watch::Sender<Vec<RevisionStatus>>,
    /// How many of the next reports fail.
    pub failing: AtomicU32,
    /// Whether no app is wanted any more.
    pub refusing: AtomicBool,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { reports: watch::Sender::default(), failing: AtomicU32::new(0), refusing: AtomicBool::new(false) }
    }
}

impl Recorder {
    /// The reports so far, one for those that say the same.
    pub fn reports(&self) -> Vec<RevisionStatus> {
        let mut reports = self.reports.borrow().clone();
        reports.dedup();
        reports
    }

    /// Waits until the last report is like this.
    pub async fn until(&self, like: impl Fn(&RevisionStatus) -> bool) -> RevisionStatus {
        let mut reports = self.reports.subscribe();
        let last = tokio::time::timeout(PATIENCE, reports.wait_for(|all| all.last().is_some_and(&like))).await;
        let last = last.map(|all| all.unwrap().last().unwrap().clone());
        last.unwrap_or_else(|_| panic!("no such report, but {:#?}", self.reports()))
    }
}

/// The names of the states.
pub fn names(reports: &[RevisionStatus]) -> Vec<&'static str> {
    let name = |status: &RevisionStatus| match status {
        RevisionStatus::Starting => "starting",
        RevisionStatus::Running { .. } => "running",
        RevisionStatus::Restarting { .. } => "restarting",
        RevisionStatus::Stopped => "stopped",
    };
    reports.iter().map(name).collect()
}

#[async_trait]
impl Ledger for Recorder {
    async fn revision(&self, deployment: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        if self.refusing.load(Ordering::Acquire) {
            return Err(LedgerError::NotYours(deployment.clone()));
        }
        let fails = |left: u32| left.checked_sub(1);
        if self.failing.fetch_update(Ordering::AcqRel, Ordering::Acquire, fails).is_ok() {
            return Err(LedgerError::Failed("it is away".to_owned()));
        }
        self.reports.send_modify(|all| all.push(status));
        Ok(())
    }

    async fn claim(&self, _: &Claim, _: &str) -> Result<Option<Work>, LedgerError> {
        unreachable!("the runtime claims nothing")
    }
    async fn keep(&self, _: &[Claim]) -> Result<Vec<Claim>, LedgerError> {
        unreachable!("the runtime holds nothing")
    }
    async fn leave(&self) -> Result<bool, LedgerError> {
        unreachable!("nobody leaves")
    }
    async fn give_back(&self, _: &Claim) -> Result<(), LedgerError> {
        unreachable!("the runtime holds nothing")
    }
    async fn facts(&self, _: &Claim, _: Facts) -> Result<(), LedgerError> {
        unreachable!("the runtime finds nothing out")
    }
    async fn built(&self, _: &Claim) -> Result<(), LedgerError> {
        unreachable!("the runtime builds nothing")
    }
    async fn started(&self, _: &Claim, _: &str) -> Result<(), LedgerError> {
        unreachable!("the caller reports starts")
    }
    async fn succeeded(&self, _: &Claim, _: Output) -> Result<bool, LedgerError> {
        unreachable!("the caller reports starts")
    }
    async fn failed(&self, _: &Claim, _: Failure) -> Result<(), LedgerError> {
        unreachable!("the caller reports starts")
    }
    async fn wanted_app(&self, _: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
        unreachable!("the caller looks apps up")
    }
    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        unreachable!("the caller looks apps up")
    }
    async fn start_failed(&self, _: &DeploymentId, _: Failure) -> Result<(), LedgerError> {
        unreachable!("the caller reports starts")
    }
    async fn apps_changed(&self) {
        unreachable!("the caller looks apps up")
    }
}

/// The names of what lies in the folder of unpacked images, without what is being deleted.
pub fn unpacked(world: &World) -> BTreeSet<String> {
    let entries = std::fs::read_dir(world.folder.path().join("apps")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.ends_with(".removed")).collect()
}

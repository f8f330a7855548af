//! What the tests share: one control plane with one node for all, and for each test a runtime with accounts of its own,
//! which has the rights of the manifests and no others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
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
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kubernetes::{Connection, KubernetesRuntime, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::kubernetes::Kubernetes;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock, watch};

use crate::kubelet::{Kubelet, within};

/// Manifests of the deployer's rights, as operators apply them.
const MANIFESTS: &str = include_str!("../../../../deploy/kubernetes/deployer.yaml");

/// One for all tests: the kubelet and the clients live in it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
/// Tests that do harm to the API server have it alone.
static PEACE: RwLock<()> = RwLock::const_new(());

/// A server that answers with its address, and does what it is asked for.
pub const SERVER: &str = "
    let hangs = false;
    require('http').createServer((request, response) => {
        if (request.url === '/crash') { console.error('out of luck'); process.exit(5); }
        if (request.url === '/hang') hangs = true;
        if (request.url.startsWith('/say/')) console.log(request.url.slice(5));
        if (!hangs) response.end(process.env.HOST);
    }).listen(process.env.PORT, process.env.HOST, () => console.log('listening'));
";

/// The control plane and its node.
pub struct Cluster {
    pub kubernetes: Kubernetes,
    pub admin: Client,
    pub kubelet: Arc<Kubelet>,
    pub registry: Registry,
    /// Kubeconfig of the deployer's ServiceAccount.
    pub kubeconfig: PathBuf,
    _folder: TempDir,
}

/// Runs a test among others.
pub fn run(test: impl Future<Output = ()>) {
    RUNTIME.block_on(async {
        let _peace = PEACE.read().await;
        test.await;
    });
}

/// Runs a test while no other runs.
pub fn run_alone(test: impl Future<Output = ()>) {
    RUNTIME.block_on(async {
        let _alone = PEACE.write().await;
        test.await;
    });
}

pub async fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(Cluster::start).await
}

impl Cluster {
    async fn start() -> Self {
        let kubernetes = tokio::task::spawn_blocking(Kubernetes::start).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let registry: Registry = Arc::new(OciLayout::new(folder.path().join("images")).unwrap());
        let admin = client(&kubernetes.kubeconfig()).await;
        let kubelet = Kubelet::start(admin.clone(), registry.clone(), kubernetes.folder()).await;
        make_namespace(&admin, "astrocloud").await;
        for document in MANIFESTS.split("\n---\n") {
            apply(&admin, &serde_saphyr::from_str(document).unwrap()).await;
        }
        let token = token(&admin).await;
        let kubeconfig = kubernetes.kubeconfig_of("deployer", &token);
        Self { kubernetes, admin, kubelet, registry, kubeconfig, _folder: folder }
    }
}

pub async fn client(kubeconfig: &std::path::Path) -> Client {
    Connection::Kubeconfig { path: Some(kubeconfig.to_owned()), context: None }.client().await.unwrap()
}

async fn make_namespace(admin: &Client, name: &str) {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let api: Api<Namespace> = Api::all(admin.clone());
    api.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
}

/// Applies an object of an operator's.
pub async fn apply(admin: &Client, object: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let version = text(&object["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = kube::api::ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &text(&object["kind"])));
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(admin.clone(), namespace, &resource),
        None => Api::all_with(admin.clone(), &resource),
    };
    api.patch(&text(&object["metadata"]["name"]), &PatchParams::apply("operator").force(), &Patch::Apply(object))
        .await
        .unwrap();
}

/// A token of the deployer's ServiceAccount, as a pod gets it.
async fn token(admin: &Client) -> String {
    let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 3600 } });
    let request = http::Request::post("/api/v1/namespaces/astrocloud/serviceaccounts/astrocloud-deployer/token");
    let request = request.header("content-type", "application/json").body(body.to_string().into_bytes()).unwrap();
    let answer: Value = admin.request(request).await.unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// Quick with everything but starts.
pub fn settings() -> Settings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Settings {
        namespace_prefix: format!("t{}x-", NEXT.fetch_add(1, Ordering::AcqRel)),
        drain_delay: Duration::from_secs(1),
        grace: Duration::from_secs(1),
        resync: Duration::from_millis(500),
        ..Settings::default()
    }
}

/// A runtime and what it is connected to.
pub struct World {
    pub cluster: &'static Cluster,
    pub runtime: DynRuntime,
    pub ledger: Arc<Recorder>,
    pub bus: Bus,
    pub settings: Settings,
    _folder: TempDir,
}

impl World {
    pub async fn new(settings: Settings) -> Self {
        let cluster = cluster().await;
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().join("logs")).unwrap());
        let ledger = Arc::new(Recorder::default());
        let runtime = runtime(cluster, &bus, &ledger, &settings).await;
        Self { cluster, runtime, ledger, bus, settings, _folder: folder }
    }

    /// Another deployer process, in place of the one before.
    pub async fn restart(&mut self) {
        self.runtime.shutdown(Duration::from_secs(10)).await;
        self.runtime = runtime(self.cluster, &self.bus, &self.ledger, &self.settings).await;
    }

    /// A second deployer beside the first.
    pub async fn another_deployer(&self) -> DynRuntime {
        runtime(self.cluster, &self.bus, &self.ledger, &self.settings).await
    }

    /// The namespace of this test's account.
    pub fn namespace(&self) -> String {
        format!("{}owner", self.settings.namespace_prefix)
    }

    /// An app of one file.
    pub async fn app(&self, script: &str) -> App {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("app")).unwrap();
        std::fs::write(root.path().join("app/server.cjs"), script).unwrap();
        let start =
            Start { command: "node server.cjs".to_owned(), working_dir: "app".to_owned(), node: "20.0.0".to_owned() };
        let origin = Origin::new(DeploymentId::new());
        let image = NewImage { name: "shop", root: root.path(), start: &start, origin: &origin };
        App {
            deployment: origin.deployment.clone(),
            account: "owner".to_owned(),
            project_name: "shop".parse().unwrap(),
            image: self.cluster.registry.push(image).await.unwrap().reference,
            health_path: None,
            env: BTreeMap::from([("SECRET".to_owned(), Secret::new("hunter22hunter22"))]),
        }
    }

    /// The app's runtime log up to the first line that holds `text`.
    pub async fn log_until(&self, app: &App, text: &str) -> Vec<Record> {
        let mut batches = Box::pin(follow(self.bus.clone(), Topic::runtime(app.deployment.clone()), 0));
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
        within(&format!("a line with {text:?}"), reading).await;
        seen
    }
}

async fn runtime(cluster: &Cluster, bus: &Bus, ledger: &Arc<Recorder>, settings: &Settings) -> DynRuntime {
    let client = client(&cluster.kubeconfig).await;
    let name = DeploymentId::new();
    Arc::new(KubernetesRuntime::new(client, bus.clone(), ledger.clone(), settings.clone(), name.as_str()))
}

/// What the app itself said, and not the platform.
pub fn said(records: &[Record]) -> Vec<&str> {
    records.iter().filter(|r| r.stream != StreamName::System).map(|r| r.text.as_str()).collect()
}

/// The body of an app's answer, if it answers.
pub async fn get(at: std::net::SocketAddr, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(at).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// A ledger that remembers what it is told.
pub struct Recorder {
    reports: watch::Sender<Vec<(DeploymentId, RevisionStatus)>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { reports: watch::Sender::new(Vec::new()) }
    }
}

impl Recorder {
    pub fn reports(&self) -> Vec<RevisionStatus> {
        self.reports.borrow().iter().map(|(_, status)| status.clone()).collect()
    }

    /// The first report that is so, from the beginning.
    pub async fn until(&self, is: impl Fn(&RevisionStatus) -> bool) -> RevisionStatus {
        let mut reports = self.reports.subscribe();
        let found = async {
            loop {
                if let Some((_, status)) = reports.borrow_and_update().iter().find(|(_, status)| is(status)) {
                    return status.clone();
                }
                reports.changed().await.unwrap();
            }
        };
        within("a report", found).await
    }
}

#[async_trait]
impl Ledger for Recorder {
    async fn revision(&self, id: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError> {
        self.reports.send_modify(|reports| reports.push((id.clone(), status)));
        Ok(())
    }
    async fn wanted_app(&self, _: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
        Ok(None)
    }
    async fn claim(&self, _: &Claim, _: &str) -> Result<Option<Work>, LedgerError> {
        unreachable!("nothing is built")
    }
    async fn keep(&self, _: &[Claim]) -> Result<Vec<Claim>, LedgerError> {
        unreachable!("nothing is built")
    }
    async fn leave(&self) -> Result<bool, LedgerError> {
        unreachable!("the caller leaves")
    }
    async fn give_back(&self, _: &Claim) -> Result<(), LedgerError> {
        unreachable!("nothing is built")
    }
    async fn facts(&self, _: &Claim, _: Facts) -> Result<(), LedgerError> {
        unreachable!("nothing is built")
    }
    async fn built(&self, _: &Claim) -> Result<(), LedgerError> {
        unreachable!("nothing is built")
    }
    async fn started(&self, _: &Claim, _: &str) -> Result<(), LedgerError> {
        unreachable!("nothing is built")
    }
    async fn succeeded(&self, _: &Claim, _: Output) -> Result<bool, LedgerError> {
        unreachable!("nothing is built")
    }
    async fn failed(&self, _: &Claim, _: Failure) -> Result<(), LedgerError> {
        unreachable!("nothing is built")
    }
    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
        unreachable!("the runtime asks for one at a time")
    }
    async fn start_failed(&self, _: &DeploymentId, _: Failure) -> Result<(), LedgerError> {
        unreachable!("the caller says so")
    }
    async fn apps_changed(&self) {
        unreachable!("the runtime does not wait for it")
    }
}

//! A running control plane, and the hands of a client, a deployer and an edge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::api::{Deployment, DeploymentStatus};
use common::bus::Bus;
use common::bus::file::FileBus;
use common::id::{DeployerId, DeploymentId, EdgeId};
use common::ledger::{Claim, DynLedger, Output, Work};
use common::queue::memory::MemoryQueue;
use common::queue::{Lease, Queue};
use common::registry::layout::OciLayout;
use common::route::{EDGE_HEADER, EDGE_ID_HEADER};
use common::secret::{MasterKey, Secret};
use control_plane::{Config, ControlPlane, DnsConfig, DomainsConfig, Ports, StartError};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes, client::IntoClientRequest as _};
use url::Url;

pub mod database;

pub const TOKEN: &str = "ast_test-token";
pub const FEED_TOKEN: &str = "feed_test-token";
pub const DEPLOYER_TOKEN: &str = "dpl_test-token";
/// The route feed.
pub const FEED: &str = "/internal/v1/routes";
pub const MAX_UPLOAD: u64 = 1 << 20;
/// Longest wait for anything that must come: a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Platform {
    pub plane: ControlPlane,
    pub queue: Queue,
    pub bus: Bus,
    pub api: Url,
    client: reqwest::Client,
    folder: Arc<TempDir>,
    database_url: String,
    deployer: DeployerId,
}

/// An answer of the API.
pub struct Answer {
    pub status: StatusCode,
    pub media_type: String,
    pub body: Value,
}

impl Answer {
    /// The stable word of the problem that this answer is.
    pub fn problem(&self) -> &str {
        assert_eq!(self.media_type, "application/problem+json", "{}", self.body);
        self.body["type"].as_str().unwrap().rsplit('/').next().unwrap()
    }
}

impl Platform {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = database::create(folder.path());
        Self::start_in(folder, database_url).await
    }

    /// Starts on a database of the caller's.
    pub async fn start_on(database_url: String) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), database_url).await
    }

    /// Starts an installation that was stopped, or a new one.
    pub async fn start_in(folder: TempDir, database_url: String) -> Self {
        Self::launch("first", Arc::new(folder), database_url, |_| {}).await.unwrap()
    }

    /// A new installation whose settings are changed, which may fail to start.
    pub async fn try_start(change: impl FnOnce(&mut Config)) -> Result<Self, StartError> {
        let folder = tempfile::tempdir().unwrap();
        let database_url = database::create(folder.path());
        Self::launch("first", Arc::new(folder), database_url, change).await
    }

    /// A new installation whose settings are changed.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::try_start(change).await.unwrap()
    }

    /// A new installation with this queue.
    pub async fn start_on_queue(queue: Queue) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database_url = database::create(folder.path());
        Self::launch_with("first", Arc::new(folder), database_url, queue, |_| {}).await.unwrap()
    }

    /// Another control plane of the same installation.
    pub async fn second(&self) -> Self {
        self.second_with(|_| {}).await
    }

    /// Another control plane of the same installation, whose settings are changed.
    pub async fn second_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("another-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        Self::launch(&name, Arc::clone(&self.folder), self.database_url.clone(), change).await.unwrap()
    }

    async fn launch(
        name: &str,
        folder: Arc<TempDir>,
        database_url: String,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        Self::launch_with(name, folder, database_url, Arc::new(MemoryQueue::new()), change).await
    }

    async fn launch_with(
        name: &str,
        folder: Arc<TempDir>,
        database_url: String,
        queue: Queue,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let at = |name: &str| folder.path().join(name);
        let listening = control_plane::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut config = Config {
            name: name.to_owned(),
            database_url: database_url.clone(),
            api: listening.addr,
            base_domain: "sites.localhost".to_owned(),
            sites_url: Url::parse("http://sites.localhost:8080/").unwrap(),
            keys: MasterKey::load_or_create(&at("master.key")).unwrap().into(),
            api_token: Secret::new(TOKEN),
            feed_token: Secret::new(FEED_TOKEN),
            deployer_token: None,
            deployer_hold: common::ledger::HOLD,
            public_url: None,
            isolation: "bubblewrap".to_owned(),
            max_upload_bytes: MAX_UPLOAD,
            max_pending_uploads: 100,
            garbage: control_plane::GarbageConfig::default(),
            authority: authority(folder.path()),
            authorities: Vec::new(),
            issuing_lease: acme::manager::LEASE,
            domains: DomainsConfig::default(),
            https_redirect: false,
            keep_images: 10,
            dns: dns(),
            lookup: lookup::Settings::default(),
            doctor: doctor::Settings::default(),
            https_port: 443,
        };
        change(&mut config);
        let bus: Bus = Arc::new(FileBus::new(at("logs")).unwrap());
        let store = common::blob::open(&Url::from_directory_path(at("objects")).unwrap()).unwrap();
        let registry = Arc::new(OciLayout::new(folder.path().join("images")).unwrap());
        let ports = Ports { store, uploads: None, bus: bus.clone(), queue: queue.clone(), registry };
        let plane = ControlPlane::start(listening, config, ports).await?;
        let api = plane.api_url().clone();
        Ok(Self {
            api,
            plane,
            queue,
            bus,
            client: reqwest::Client::new(),
            folder,
            database_url,
            deployer: DeployerId::new(),
        })
    }

    /// The same installation, after its process ended and was started again.
    pub async fn restart(self) -> Self {
        let database_url = self.database_url.clone();
        self.restart_on(database_url).await
    }

    /// The same installation on another database.
    pub async fn restart_on(self, database_url: String) -> Self {
        Self::start_in(self.stop().await, database_url).await
    }

    /// Ends its process; what is left is its folder.
    pub async fn stop(self) -> TempDir {
        self.plane.drain(Duration::from_secs(1)).await;
        Arc::into_inner(self.folder).expect("another control plane of this installation runs")
    }

    /// Ends this control plane of several.
    pub async fn end(self) {
        self.plane.drain(Duration::from_secs(1)).await;
    }

    /// Another control plane of the same installation, on the same database.
    pub async fn beside(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(self.folder().join("master.key"), folder.path().join("master.key")).unwrap();
        Self::launch("beside", Arc::new(folder), self.database_url.clone(), |_| {}).await.unwrap()
    }

    /// Address of its database.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Where the installation keeps its state.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn ledger(&self) -> DynLedger {
        self.plane.ledger(self.deployer.clone())
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.api.join(path).unwrap())
    }

    pub async fn send(request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let media_type = response.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
        let status = response.status();
        let text = response.text().await.unwrap();
        Answer { status, media_type, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, &format!("/api/v1{path}")).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        Self::send(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// The control planes that run, as this one sees them.
    pub async fn control_planes(&self) -> Vec<common::api::ControlPlane> {
        serde_json::from_value(self.get("/system").await.body["control_planes"].clone()).unwrap()
    }

    pub async fn project(&self, name: &str) {
        let answer = self.post("/projects", json!({ "name": name })).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    }

    /// Uploads an archive and returns the upload's id.
    pub async fn upload(&self) -> String {
        let upload = self.post("/uploads", json!({})).await.body;
        let url = upload["url"].as_str().unwrap();
        let put = self.client.put(url).body("PK archive").send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK);
        upload["id"].as_str().unwrap().to_owned()
    }

    /// What the object store holds under a key.
    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("objects").join(key)).ok()
    }

    /// Puts something into the object store.
    pub fn put_object(&self, key: &str, bytes: &[u8]) {
        let path = self.folder.path().join("objects").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Asks for a deployment of an existing project.
    pub async fn ask(&self, project: &str) -> Deployment {
        let upload = self.upload().await;
        let source = json!({ "source": { "type": "upload", "upload": upload } });
        let answer = self.post(&format!("/projects/{project}/deployments"), source).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        serde_json::from_value(answer.body).unwrap()
    }

    pub async fn read(&self, id: &DeploymentId) -> Deployment {
        serde_json::from_value(self.get(&format!("/deployments/{id}")).await.body).unwrap()
    }

    /// Takes the next job and claims its deployment, as a deployer does.
    pub async fn claim(&self) -> (Lease, Work) {
        let lease = within(self.queue.lease(Duration::from_secs(60))).await.unwrap();
        let work = self.claim_of(&lease.job.deployment).await;
        (lease, work)
    }

    /// Claims a deployment.
    pub async fn claim_of(&self, deployment: &DeploymentId) -> Work {
        self.ledger().claim(&Claim::new(deployment.clone()), "bubblewrap").await.unwrap().unwrap()
    }

    /// Deploys a static site, the deployer's part included.
    pub async fn deploy(&self, project: &str) -> Deployment {
        let asked = self.ask(project).await;
        let (lease, work) = self.claim().await;
        assert_eq!(work.claim.deployment, asked.id);
        let ledger = self.ledger();
        let facts = common::ledger::Facts { kind: Some(common::deployment::Kind::Static), ..Default::default() };
        ledger.facts(&work.claim, facts).await.unwrap();
        ledger.built(&work.claim).await.unwrap();
        assert!(ledger.succeeded(&work.claim, Output::Static).await.unwrap());
        self.queue.complete(&lease).await.unwrap();
        let live = self.read(&asked.id).await;
        assert_eq!(live.status, DeploymentStatus::Live);
        live
    }

    /// Deploys an app, the deployer's part included: the states that it passes are checked.
    pub async fn deploy_app(&self, project: &str, image: &str, endpoint: SocketAddr) -> Deployment {
        let asked = self.ask(project).await;
        let (lease, work) = self.claim().await;
        let ledger = self.ledger();
        let facts = common::ledger::Facts { kind: Some(common::deployment::Kind::Node), ..Default::default() };
        ledger.facts(&work.claim, facts).await.unwrap();
        ledger.built(&work.claim).await.unwrap();
        ledger.started(&work.claim, image).await.unwrap();
        assert_eq!(self.read(&asked.id).await.status, DeploymentStatus::Starting);
        let output = Output::App { image: image.to_owned(), endpoints: endpoint.into() };
        assert!(ledger.succeeded(&work.claim, output).await.unwrap());
        self.queue.complete(&lease).await.unwrap();
        self.read(&asked.id).await
    }

    /// A project with an app that was live and one that is, both at `endpoint`.
    pub async fn two_apps(&self, project: &str, endpoint: SocketAddr) -> [DeploymentId; 2] {
        self.project(project).await;
        let first = self.deploy_app(project, "api@sha256:1", endpoint).await.id;
        [first, self.deploy_app(project, "api@sha256:2", endpoint).await.id]
    }

    /// Follows the route feed, as the edge of this name.
    pub async fn edge(&self, name: &str) -> Socket {
        self.open(FEED, FEED_TOKEN, Some((EDGE_HEADER, name))).await
    }

    /// Opens a WebSocket of the API.
    pub async fn socket(&self, path: &str, token: &str) -> Socket {
        self.open(path, token, None).await
    }

    /// Follows the route feed as an edge that says who it is, whichever process runs it.
    pub async fn edge_of(&self, id: &EdgeId) -> Socket {
        self.open(FEED, FEED_TOKEN, Some((EDGE_ID_HEADER, id.as_str()))).await
    }

    async fn open(&self, path: &str, token: &str, more: Option<(&'static str, &str)>) -> Socket {
        let mut url = self.api.join(path).unwrap();
        url.set_scheme("ws").unwrap();
        let mut request = url.as_str().into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        if let Some((name, value)) = more {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Socket(tokio_tungstenite::connect_async(request).await.unwrap().0)
    }
}

type Stream = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

pub struct Socket(Stream);

impl Socket {
    /// The next message; `None` once the other side closed.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            match within(self.0.next()).await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message of the route feed, of which an edge says that it applied it.
    pub async fn apply(&mut self) -> Value {
        let message = self.next().await.unwrap();
        self.send(json!({ "type": "applied", "version": message["version"] })).await;
        message
    }

    /// Says that the edge serves nobody any more, and leaves.
    pub async fn goodbye(mut self) {
        let frame = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::default() };
        self.0.close(Some(frame)).await.unwrap();
        while self.next().await.is_some() {}
    }

    /// Takes leave.
    pub async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while within(self.0.next()).await.is_some_and(|message| message.is_ok()) {}
    }

    pub async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }
}

/// A DNS server on a free port, which gives no zone away and tells nobody.
fn dns() -> DnsConfig {
    DnsConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        nameservers: vec!["ns1.sites.test".parse().unwrap(), "ns2.sites.test".parse().unwrap()],
        mailbox: "hostmaster.sites.test".parse().unwrap(),
        refresh: 3600,
        retry: 600,
        expire: 1_209_600,
        negative_ttl: 60,
        ttl: 300,
        rate: 0,
        burst: 0,
        transfer: Vec::new(),
        keys: Vec::new(),
        addresses: vec!["127.0.0.1".parse().unwrap()],
        challenges: None,
        azure: None,
        secondaries: Vec::new(),
    }
}

/// The development CA; none when its key was sealed with another master key.
fn authority(folder: &std::path::Path) -> Option<Arc<acme::development::Authority>> {
    let key = MasterKey::load_or_create(&folder.join("master.key")).unwrap();
    acme::development::Authority::load_or_create(folder, &key.into(), common::time::Timestamp::now()).ok().map(Arc::new)
}

/// Looks again and again until something is so.
pub async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    within(async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// Waits for what must come.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("waited in vain"))
}

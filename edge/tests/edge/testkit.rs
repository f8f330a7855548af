//! A control plane that tells routes, a store with published sites, and an edge before them.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use common::blob::{self, ObjectStore};
use common::certificate::Certificate;
use common::id::DeploymentId;
use common::manifest::{self, Encoding, File, Manifest, Variant};
use common::policy::Policy;
use common::route::{Change, EdgeMessage, FeedMessage, Route, Snapshot, Target, default_policy};
use common::secret::Secret;
use common::usage::Usage;
use edge::{Config, Edge, Sockets};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use url::Url;

mod script;
mod witness;

pub use script::{Head, Line, Script, Served};
pub use witness::Witness;

const TOKEN: &str = "feed-token";

/// A control plane that does nothing but tell routes.
#[derive(Clone)]
pub struct ControlPlane {
    pub addr: SocketAddr,
    routes: Arc<Mutex<Snapshot>>,
    messages: broadcast::Sender<FeedMessage>,
    applied: watch::Sender<Vec<u64>>,
    wanted: watch::Sender<Vec<DeploymentId>>,
    usage: watch::Sender<Vec<Usage>>,
    connections: watch::Sender<u32>,
    certificates: Arc<Mutex<HashMap<String, Certificate>>>,
    stop: CancellationToken,
}

impl ControlPlane {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Snapshot { version: 100, ..Snapshot::default() }).await
    }

    pub async fn start_at(addr: SocketAddr, routes: Snapshot) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let this = Self {
            addr: listener.local_addr().unwrap(),
            routes: Arc::new(Mutex::new(routes)),
            messages: broadcast::channel(1024).0,
            applied: watch::channel(Vec::new()).0,
            wanted: watch::channel(Vec::new()).0,
            usage: watch::channel(Vec::new()).0,
            connections: watch::channel(0).0,
            certificates: Arc::default(),
            stop: CancellationToken::new(),
        };
        let app = axum::Router::new()
            .route("/internal/v1/routes", get(follow))
            .route("/internal/v1/certificates/{id}", get(certificate))
            .with_state(this.clone());
        let stop = this.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                result = axum::serve(listener, app) => result.unwrap(),
            }
        });
        this
    }

    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Sends a message as it is, without taking it into the table.
    pub fn say(&self, message: FeedMessage) {
        self.messages.send(message).unwrap();
    }

    /// Adds or replaces routes, and returns the version that says so.
    pub fn publish(&self, upsert: Vec<Route>) -> u64 {
        self.change(upsert, Vec::new())
    }

    pub fn change(&self, upsert: Vec<Route>, remove: Vec<String>) -> u64 {
        self.change_all(Change { upsert, remove, ..Change::default() })
    }

    /// Adds or replaces a certificate that edges can fetch.
    pub fn add_certificate(&self, certificate: Certificate) {
        self.certificates.lock().unwrap().insert(certificate.id.clone(), certificate);
    }

    /// Makes a change of any kind, and returns the version that says so.
    pub fn change_all(&self, change: Change) -> u64 {
        let mut table = self.routes.lock().unwrap();
        let gone =
            |host: &str| change.remove.iter().any(|r| r == host) || change.upsert.iter().any(|u| &*u.host == host);
        table.routes.retain(|r| !gone(&r.host));
        table.routes.extend(change.upsert.iter().cloned());
        table.certificates.retain(|c| change.certificates.iter().all(|new| new.name != c.name));
        table.certificates.retain(|c| !change.certificates_removed.contains(&c.name));
        table.certificates.extend(change.certificates.iter().cloned());
        table.challenges = change.challenges.clone().unwrap_or(std::mem::take(&mut table.challenges));
        table.ticket_keys = change.ticket_keys.clone().unwrap_or(std::mem::take(&mut table.ticket_keys));
        table.version += 1;
        let version = table.version;
        // Nobody may be connected.
        let _ = self.messages.send(FeedMessage::Delta { version, change });
        version
    }

    /// Waits until an edge has applied a version.
    pub async fn applied(&self, version: u64) {
        self.applied.subscribe().wait_for(|all| all.contains(&version)).await.unwrap();
    }

    /// Waits until an edge has told so many wishes, and returns them in order.
    pub async fn wanted(&self, count: usize) -> Vec<DeploymentId> {
        soon(self.wanted.subscribe().wait_for(|all| all.len() >= count)).await.unwrap().clone()
    }

    /// Waits until edges have told so many requests of a project, and returns what they told, added up.
    pub async fn usage(&self, project: &str, requests: u64) -> Usage {
        let sum = |all: &Vec<Usage>| {
            let mut sum = Usage { project: project.to_owned(), ..Usage::default() };
            all.iter().filter(|usage| usage.project == project).for_each(|usage| sum.add(usage));
            sum
        };
        sum(&soon(self.usage.subscribe().wait_for(|all| sum(all).requests >= requests)).await.unwrap())
    }

    /// Everything that was applied, in order.
    pub fn all_applied(&self) -> Vec<u64> {
        self.applied.borrow().clone()
    }

    /// Waits until edges have connected this often.
    pub async fn connections(&self, count: u32) {
        self.connections.subscribe().wait_for(|c| *c >= count).await.unwrap();
    }
}

async fn follow(State(this): State<ControlPlane>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if headers.get("authorization").is_none_or(|a| a != &format!("Bearer {TOKEN}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    upgrade.on_upgrade(|socket| tell(this, socket))
}

async fn certificate(State(this): State<ControlPlane>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|a| a != &format!("Bearer {TOKEN}")) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match this.certificates.lock().unwrap().get(&id) {
        Some(certificate) => axum::Json(certificate).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn tell(this: ControlPlane, mut socket: WebSocket) {
    let (mut messages, snapshot) = {
        let table = this.routes.lock().unwrap();
        (this.messages.subscribe(), table.clone())
    };
    let text = |message: &FeedMessage| Message::Text(serde_json::to_string(message).unwrap().into());
    for message in snapshot.into_messages() {
        socket.send(text(&message)).await.unwrap();
    }
    this.connections.send_modify(|c| *c += 1);
    loop {
        tokio::select! {
            () = this.stop.cancelled() => return,
            message = messages.recv() => socket.send(text(&message.unwrap())).await.unwrap(),
            said = socket.recv() => match said {
                Some(Ok(Message::Text(text))) => {
                    match serde_json::from_str(&text).unwrap() {
                        EdgeMessage::Applied { version } => this.applied.send_modify(|all| all.push(version)),
                        EdgeMessage::Wanted { deployment } => this.wanted.send_modify(|all| all.push(deployment)),
                        EdgeMessage::Usage { projects } => this.usage.send_modify(|all| all.extend(projects)),
                    }
                }
                Some(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

/// A file to publish.
pub struct Published {
    pub path: &'static str,
    pub bytes: Vec<u8>,
    pub variants: Vec<(Encoding, Vec<u8>)>,
}

/// A file without variants.
pub fn file(path: &'static str, bytes: impl Into<Vec<u8>>) -> Published {
    Published { path, bytes: bytes.into(), variants: Vec::new() }
}

/// A deterministic content of some length.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

/// A hash as good as BLAKE3's for tests.
pub fn hash(bytes: &[u8]) -> String {
    (0..4_u64).fold(String::new(), |text, salt| {
        let mut hasher = DefaultHasher::new();
        (salt, bytes).hash(&mut hasher);
        format!("{text}{:016x}", hasher.finish())
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// An edge with everything around it.
pub struct World {
    pub control_plane: ControlPlane,
    pub edge: Edge,
    pub store: ObjectStore,
    pub folder: TempDir,
    pub client: reqwest::Client,
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_before(change, |store| store).await
    }

    /// An edge that reaches its store through what `wrap` puts before it.
    pub async fn start_before(change: impl FnOnce(&mut Config), wrap: impl FnOnce(ObjectStore) -> ObjectStore) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control_plane = ControlPlane::start().await;
        let store = wrap(blob::open(&Url::from_directory_path(folder.path().join("store")).unwrap()).unwrap());
        let mut config = config(&control_plane, &folder);
        change(&mut config);
        let edge = start_edge(config, &store);
        edge.connected().await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { control_plane, edge, store, folder, client }
    }

    pub fn config(&self) -> Config {
        config(&self.control_plane, &self.folder)
    }

    /// Publishes a static deployment, without a route to it.
    pub async fn publish(&self, files: Vec<Published>, single_page: bool) -> DeploymentId {
        self.publish_with(files, |manifest| manifest.single_page = single_page).await
    }

    /// Publishes a static deployment whose manifest is changed before, without a route to it.
    pub async fn publish_with(&self, files: Vec<Published>, change: impl FnOnce(&mut Manifest)) -> DeploymentId {
        let mut listed = BTreeMap::new();
        for file in files {
            let hash = hash(&file.bytes);
            let mut variants = Vec::new();
            for (encoding, bytes) in file.variants {
                variants.push(Variant { encoding, size: bytes.len() as u64 });
                blob::put(&self.store, &manifest::blob_key(&hash, Some(encoding)), bytes.into()).await.unwrap();
            }
            let listing = File {
                size: file.bytes.len() as u64,
                content_type: content_type(file.path).to_owned(),
                variants,
                fingerprinted: manifest::is_fingerprinted(file.path),
                hash: hash.clone(),
            };
            blob::put(&self.store, &manifest::blob_key(&hash, None), file.bytes.into()).await.unwrap();
            listed.insert(file.path.to_owned(), listing);
        }
        let id = DeploymentId::new();
        let mut manifest = Manifest::of(listed);
        change(&mut manifest);
        let bytes = serde_json::to_vec(&manifest).unwrap();
        blob::put(&self.store, &manifest::manifest_key(&id), bytes.into()).await.unwrap();
        id
    }

    /// Tells the edge routes, and waits until it has applied them.
    pub async fn tell(&self, routes: Vec<Route>) {
        let version = self.control_plane.publish(routes);
        self.control_plane.applied(version).await;
    }

    /// Publishes a static site and makes it live as `HOST.localhost`.
    pub async fn site(&self, host: &str, files: Vec<Published>, single_page: bool) -> DeploymentId {
        let id = self.publish(files, single_page).await;
        self.tell(vec![route(host, &id, Target::Static { earlier: Vec::new() })]).await;
        id
    }

    /// Makes an app live as `HOST.localhost`.
    pub async fn app(&self, host: &str, upstreams: &[SocketAddr]) -> DeploymentId {
        let id = DeploymentId::new();
        let target = Target::App { upstreams: upstreams.to_vec(), unavailable: None, wakes: false };
        self.tell(vec![route(host, &id, target)]).await;
        id
    }

    /// Makes an app live as `app.localhost`, with a policy as JSON.
    pub async fn app_with(&self, upstreams: &[SocketAddr], policy: &str) {
        let policy: Policy = serde_json::from_str(policy).unwrap();
        let target = Target::App { upstreams: upstreams.to_vec(), unavailable: None, wakes: false };
        self.tell(vec![Route { policy: policy.into(), ..route("app", &DeploymentId::new(), target) }]).await;
    }

    pub fn request(&self, method: &str, host: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.edge.addr());
        self.client.request(method.parse().unwrap(), url).header("host", format!("{host}.localhost"))
    }

    pub fn get(&self, host: &str, path: &str) -> reqwest::RequestBuilder {
        self.request("GET", host, path)
    }

    /// Sends bytes on a connection of their own, and returns all that comes back until it is closed.
    pub async fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.edge.addr()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn config(control_plane: &ControlPlane, folder: &TempDir) -> Config {
    let feed = format!("http://{}", control_plane.addr).parse().unwrap();
    Config::new(feed, Secret::new(TOKEN), folder.path().join("edge"))
}

pub fn start_edge(config: Config, store: &ObjectStore) -> Edge {
    let listen = || vec![edge::listen("127.0.0.1:0".parse().unwrap()).unwrap()];
    Edge::start(Sockets { http: listen(), https: listen() }, config, store.clone()).unwrap()
}

/// A route of a project's own address.
pub fn route(host: &str, deployment: &DeploymentId, target: Target) -> Route {
    Route {
        host: format!("{host}.localhost").into(),
        project: host.into(),
        deployment: deployment.clone(),
        production: true,
        target,
        policy: default_policy(),
    }
}

/// A field of an answer; empty when it has none.
pub fn field<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |v| v.to_str().unwrap())
}

/// Lets time pass at once, for the edge too, which runs in the test's own runtime: each wait that is shorter ends.
pub async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits for what must happen soon, so that a test that fails ends.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it happens within 20 s")
}

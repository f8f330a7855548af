//! The least that an edge needs of a control plane: the route feed as it is on the wire, and certificates.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Json;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use common::certificate::{Certificate, CertificateRef};
use common::route::{Change, EdgeMessage, FeedMessage, Route, Snapshot};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// What an edge shows to be told the routes. Everything is on loopback and ends with the measurement.
pub const TOKEN: &str = "bench";
/// Changes that an edge may lag behind before it gets a new snapshot: some seconds of the fastest test.
const LAG: usize = 8192;
/// Longest wait until an edge has applied a version. A snapshot of 100,000 routes takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that does nothing but tell routes.
#[derive(Clone)]
pub struct Feed {
    pub addr: SocketAddr,
    state: Arc<Mutex<Told>>,
    messages: broadcast::Sender<FeedMessage>,
    /// The highest version that an edge says it has applied.
    applied: watch::Sender<u64>,
    stop: CancellationToken,
}

/// Everything that was told so far.
#[derive(Default)]
struct Told {
    version: u64,
    routes: BTreeMap<Arc<str>, Route>,
    names: BTreeMap<String, CertificateRef>,
    certificates: BTreeMap<String, Certificate>,
}

impl Told {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.version,
            routes: self.routes.values().cloned().collect(),
            certificates: self.names.values().cloned().collect(),
            ..Snapshot::default()
        }
    }

    fn take(&mut self, change: &Change) {
        for host in &change.remove {
            self.routes.remove(host.as_str());
        }
        for route in &change.upsert {
            self.routes.insert(route.host.clone(), route.clone());
        }
        for name in &change.certificates_removed {
            self.names.remove(name);
        }
        for certificate in &change.certificates {
            self.names.insert(certificate.name.clone(), certificate.clone());
        }
        self.version += 1;
    }
}

impl Feed {
    /// Listens, and tells whoever asks.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let this = Self {
            addr: listener.local_addr()?,
            state: Arc::default(),
            messages: broadcast::channel(LAG).0,
            applied: watch::channel(0).0,
            stop: CancellationToken::new(),
        };
        let app = axum::Router::new()
            .route("/internal/v1/routes", get(follow))
            .route("/internal/v1/certificates/{id}", get(certificate))
            .with_state(this.clone());
        let stop = this.stop.clone();
        tokio::spawn(async move {
            let serve = axum::serve(listener, app).into_future();
            tokio::select! {
                () = stop.cancelled() => {}
                ended = serve => if let Err(e) = ended { eprintln!("the feed ended: {e}") },
            }
        });
        Ok(this)
    }

    /// Ends it, with every connection: as when a control plane dies.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Changes what is served; returns the version that says so.
    pub fn change(&self, change: Change) -> u64 {
        let mut told = self.told();
        told.take(&change);
        // Nobody may be connected.
        let _ = self.messages.send(FeedMessage::Delta { version: told.version, change });
        told.version
    }

    /// Adds or replaces routes.
    pub fn upsert(&self, upsert: Vec<Route>) -> u64 {
        self.change(Change { upsert, ..Change::default() })
    }

    /// Makes a certificate the one of a name.
    pub fn certify(&self, name: &str, certificate: Certificate) -> u64 {
        let named = CertificateRef { name: name.to_owned(), id: certificate.id.clone() };
        self.told().certificates.insert(certificate.id.clone(), certificate);
        self.change(Change { certificates: vec![named], ..Change::default() })
    }

    /// Waits until an edge has applied a version, or a later one.
    pub async fn applied(&self, version: u64) -> anyhow::Result<()> {
        let mut applied = self.applied.subscribe();
        let wait = applied.wait_for(|highest| *highest >= version);
        tokio::time::timeout(PATIENCE, wait).await.context("the edge does not apply the routes")??;
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get("authorization").is_some_and(|a| a == &format!("Bearer {TOKEN}"))
}

async fn certificate(State(feed): State<Feed>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_allowed(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match feed.told().certificates.get(&id) {
        Some(certificate) => Json(certificate).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn follow(State(feed): State<Feed>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !is_allowed(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    upgrade.on_upgrade(|socket| async move {
        if let Err(e) = tell(&feed, socket).await {
            eprintln!("an edge left the feed: {e}");
        }
    })
}

async fn tell(feed: &Feed, mut socket: WebSocket) -> anyhow::Result<()> {
    let whole = || {
        let told = feed.told();
        (feed.messages.subscribe(), told.snapshot())
    };
    let (mut messages, snapshot) = whole();
    send_all(&mut socket, snapshot).await?;
    loop {
        tokio::select! {
            () = feed.stop.cancelled() => return Ok(()),
            message = messages.recv() => match message {
                Ok(message) => send(&mut socket, &message).await?,
                Err(_) => {
                    let (newer, snapshot) = whole();
                    messages = newer;
                    send_all(&mut socket, snapshot).await?;
                }
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Text(text))) => {
                    if let EdgeMessage::Applied { version } = serde_json::from_str(&text)? {
                        feed.applied.send_modify(|highest| *highest = version.max(*highest));
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

async fn send_all(socket: &mut WebSocket, snapshot: Snapshot) -> anyhow::Result<()> {
    for message in snapshot.into_messages() {
        send(socket, &message).await?;
    }
    Ok(())
}

async fn send(socket: &mut WebSocket, message: &FeedMessage) -> anyhow::Result<()> {
    Ok(socket.send(Message::Text(serde_json::to_string(message)?.into())).await?)
}

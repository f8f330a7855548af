//! The route feed's client: follows the control plane for as long as the edge lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::id::{DeploymentId, EdgeId};
use common::route::{EdgeMessage, FeedMessage};
use futures::{SinkExt as _, StreamExt as _};
use observe::{Observer, Pending};
use reqwest::Upgraded;
use response_cache::Cache;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use crate::control_plane::{ControlPlane, OpenError};
use crate::routes::{Building, Gap, Routes};

const PATH: &str = "internal/v1/routes";
/// Longest time to connect, handshake included.
const CONNECT: Duration = Duration::from_secs(10);
/// Time between two pings.
const PING: Duration = Duration::from_secs(10);
/// Longest silence, pongs included, before the connection is given up: three pings.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time in which a message leaves.
const SEND: Duration = Duration::from_secs(10);
/// Wait before the first reconnection; doubled at each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait before a reconnection, so that an edge is back soon after the control plane is.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Time between two reports of what projects are served: charts move, and the control plane writes seldom.
pub(crate) const USAGE: Duration = Duration::from_secs(10);
/// Projects in one such report: some hundred kilobytes.
const USAGE_BATCH: usize = 1000;
/// Largest message in bytes: snapshots come in parts, so this is a change of some hundred thousand hosts.
const MAX_MESSAGE: usize = 64 << 20;

/// How it stands with the control plane.
#[derive(Debug)]
pub(crate) struct Status {
    began: Instant,
    connected: AtomicBool,
    /// Milliseconds from the begin until the control plane was heard last; zero before it was.
    heard: AtomicU64,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), connected: AtomicBool::new(false), heard: AtomicU64::new(0) }
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Time since the control plane was heard last.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed);
        (heard > 0).then(|| self.began.elapsed().saturating_sub(Duration::from_millis(heard)))
    }

    fn hears(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now.max(1), Ordering::Relaxed);
        self.connected.store(true, Ordering::Relaxed);
    }
}

/// What the control plane is told beside what it asks for.
pub(crate) struct Told {
    /// Which edge this is.
    pub(crate) edge: EdgeId,
    pub(crate) wished: mpsc::Receiver<DeploymentId>,
    /// Counts what projects are served.
    pub(crate) observer: Arc<Observer>,
    pub(crate) status: Arc<Status>,
    /// No app is asked for any more: the edge drains.
    pub(crate) drains: CancellationToken,
    /// The last request has ended.
    pub(crate) ended: CancellationToken,
    /// Another process goes on as this edge.
    pub(crate) succeeded: CancellationToken,
}

/// Why a connection to the feed ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("no connection within {} s", CONNECT.as_secs())]
    NotConnected,
    #[error(transparent)]
    NotOpened(#[from] OpenError),
    #[error("nothing was heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the control plane took nothing for {} s", SEND.as_secs())]
    NotTaken,
    #[error("the control plane closed it")]
    Closed,
    #[error(transparent)]
    WebSocket(#[from] Box<tungstenite::Error>),
    #[error("a message can't be read: {0}")]
    Message(#[from] serde_json::Error),
    #[error("routes came out of order: {0}")]
    Order(#[from] Gap),
    #[error("a change came before the routes themselves")]
    NoSnapshot,
    #[error("the edge ends")]
    Stopped,
}

impl From<tungstenite::Error> for End {
    fn from(e: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(e))
    }
}

/// Follows the feed until the edge has drained, tells it visitors' wishes and what projects are served, and announces when the first
/// snapshot is in use.
pub(crate) async fn follow(
    source: ControlPlane,
    routes: Arc<Routes>,
    kept: Cache,
    mut told: Told,
    announce: watch::Sender<bool>,
) {
    let drains = told.drains.clone();
    let mut wait = FIRST_WAIT;
    let mut pending = Pending::default();
    loop {
        let mut is_followed = false;
        let end = Box::pin(session(&source, &routes, &kept, &mut told, &mut pending, || {
            is_followed = true;
            announce.send_replace(true);
        }))
        .await;
        told.status.connected.store(false, Ordering::Relaxed);
        if drains.is_cancelled() {
            return;
        }
        if is_followed {
            wait = FIRST_WAIT;
        }
        // A random part, so that many edges do not come back at the same moment.
        let pause = wait.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(reason = %end, retry_ms = pause.as_millis() as u64, "the route feed ended");
        tokio::select! {
            () = drains.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection; returns why it ended.
async fn session(
    source: &ControlPlane,
    routes: &Routes,
    kept: &Cache,
    told: &mut Told,
    pending: &mut Pending,
    on_snapshot: impl FnMut(),
) -> End {
    match try_session(source, routes, kept, told, pending, on_snapshot).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn try_session(
    source: &ControlPlane,
    routes: &Routes,
    kept: &Cache,
    told: &mut Told,
    pending: &mut Pending,
    mut on_snapshot: impl FnMut(),
) -> Result<std::convert::Infallible, End> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let connect = source.open(PATH, &told.edge, config);
    let mut socket = tokio::select! {
        () = told.drains.cancelled() => return Err(End::Stopped),
        connected = tokio::time::timeout(CONNECT, connect) => connected.map_err(|_| End::NotConnected)??,
    };
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counts = tokio::time::interval_at(Instant::now() + USAGE, USAGE);
    counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut snapshot_seen = false;
    // A snapshot whose parts are arriving.
    let mut building = None;
    loop {
        let message = tokio::select! {
            message = socket.next() => message.ok_or(End::Closed)??,
            _ = pings.tick() => {
                if heard.elapsed() > SILENCE {
                    return Err(End::Silent);
                }
                in_time(socket.send(Message::Ping(bytes::Bytes::new()))).await?;
                continue;
            }
            _ = counts.tick() => {
                tell_usage(&mut socket, &told.observer, pending).await?;
                continue;
            }
            () = told.drains.cancelled(), if !told.wished.is_closed() => {
                // Requests that wait for an app are told so.
                told.wished.close();
                continue;
            }
            () = told.ended.cancelled() => {
                tell_usage(&mut socket, &told.observer, pending).await?;
                // With a successor that is not connected yet, this edge is only away.
                let goodbye = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::default() };
                in_time(socket.close((!told.succeeded.is_cancelled()).then_some(goodbye))).await?;
                return Err(End::Stopped);
            }
            Some(deployment) = told.wished.recv() => {
                let wanted = serde_json::to_string(&EdgeMessage::Wanted { deployment })?;
                in_time(socket.send(Message::Text(wanted.into()))).await?;
                continue;
            }
        };
        heard = Instant::now();
        told.status.hears();
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(End::Closed),
            _ => continue,
        };
        let mut purges = Vec::new();
        let table = match serde_json::from_str(&text)? {
            FeedMessage::Part(part) => {
                building.get_or_insert_with(|| Building::after(Arc::clone(&routes.now()))).add(part);
                continue;
            }
            FeedMessage::Snapshot(snapshot) => {
                snapshot_seen = true;
                if snapshot.version != routes.now().version() {
                    // Purges among the changes that were missed are not told again.
                    kept.clear();
                }
                let building = building.take();
                let table = building.unwrap_or_else(|| Building::after(Arc::clone(&routes.now()))).finish(snapshot);
                tracing::info!(version = table.version(), routes = table.len(), "routes arrived");
                table
            }
            FeedMessage::Delta { .. } if !snapshot_seen || building.is_some() => return Err(End::NoSnapshot),
            FeedMessage::Delta { version, mut change } => {
                purges = std::mem::take(&mut change.purges);
                routes.now().next(version, change)?
            }
        };
        let version = table.version();
        routes.replace(table);
        purges.iter().for_each(|purge| kept.purge(purge));
        // The answer says what requests see, so it leaves after they do.
        let applied = serde_json::to_string(&EdgeMessage::Applied { version })?;
        in_time(socket.send(Message::Text(applied.into()))).await?;
        on_snapshot();
        tracing::debug!(version, "routes are in use");
    }
}

/// Tells what projects were served since it was told last.
async fn tell_usage(
    socket: &mut WebSocketStream<Upgraded>,
    observer: &Observer,
    pending: &mut Pending,
) -> Result<(), End> {
    pending.add(observer.drain_usage());
    while !pending.is_empty() {
        let projects = pending.take(USAGE_BATCH);
        let message = serde_json::to_string(&EdgeMessage::Usage { projects: projects.clone() })?;
        if let Err(end) = in_time(socket.send(Message::Text(message.into()))).await {
            // Told when the control plane is back.
            pending.add(projects);
            return Err(end);
        }
    }
    Ok(())
}

async fn in_time(send: impl Future<Output = Result<(), tungstenite::Error>>) -> Result<(), End> {
    Ok(tokio::time::timeout(SEND, send).await.map_err(|_| End::NotTaken)??)
}

//! The route feed's client: follows the control plane for as long as the edge lives.

use std::sync::Arc;
use std::time::Duration;

use common::id::DeploymentId;
use common::route::{EdgeMessage, FeedMessage};
use common::secret::Secret;
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, header};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::listener::StartError;
use crate::routes::{Gap, Routes, Table};

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
/// Largest message in bytes: a snapshot of half a million routes.
const MAX_MESSAGE: usize = 256 << 20;

/// Where the feed is, and what opens it.
pub(crate) struct Source {
    request: Request,
}

impl Source {
    pub(crate) fn new(api: &Url, token: &Secret) -> Result<Self, StartError> {
        let wrong = || StartError::Feed(api.clone());
        if api.scheme() != "http" || !api.has_host() {
            return Err(wrong());
        }
        let mut url = api.clone();
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", api.path()));
        }
        let mut url = url.join(PATH).map_err(|_| wrong())?;
        url.set_scheme("ws").map_err(|()| wrong())?;
        let mut request = url.as_str().into_client_request().map_err(|_| wrong())?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).map_err(|_| StartError::Token)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        Ok(Self { request })
    }
}

/// Why a connection to the feed ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("no connection within {} s", CONNECT.as_secs())]
    NotConnected,
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
}

impl From<tungstenite::Error> for End {
    fn from(e: tungstenite::Error) -> Self {
        Self::WebSocket(Box::new(e))
    }
}

/// Follows the feed until `stop`, tells it visitors' wishes, and announces when the first snapshot is in use.
pub(crate) async fn follow(
    source: Source,
    routes: Arc<Routes>,
    mut wished: mpsc::Receiver<DeploymentId>,
    announce: watch::Sender<bool>,
    stop: CancellationToken,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut told = false;
        let end = tokio::select! {
            () = stop.cancelled() => return,
            end = Box::pin(session(&source, &routes, &mut wished, || {
                told = true;
                announce.send_replace(true);
            })) => end,
        };
        if told {
            wait = FIRST_WAIT;
        }
        // A random part, so that many edges do not come back at the same moment.
        let pause = wait.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(reason = %end, retry_ms = pause.as_millis() as u64, "the route feed ended");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// One connection; returns why it ended.
async fn session(
    source: &Source,
    routes: &Routes,
    wished: &mut mpsc::Receiver<DeploymentId>,
    on_snapshot: impl FnMut(),
) -> End {
    match try_session(source, routes, wished, on_snapshot).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn try_session(
    source: &Source,
    routes: &Routes,
    wished: &mut mpsc::Receiver<DeploymentId>,
    mut on_snapshot: impl FnMut(),
) -> Result<std::convert::Infallible, End> {
    let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let connect = tokio_tungstenite::connect_async_with_config(source.request.clone(), Some(config), true);
    let (mut socket, _) = tokio::time::timeout(CONNECT, connect).await.map_err(|_| End::NotConnected)??;
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut snapshot_seen = false;
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
            Some(deployment) = wished.recv() => {
                let wanted = serde_json::to_string(&EdgeMessage::Wanted { deployment })?;
                in_time(socket.send(Message::Text(wanted.into()))).await?;
                continue;
            }
        };
        heard = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(End::Closed),
            _ => continue,
        };
        let table = match serde_json::from_str(&text)? {
            FeedMessage::Snapshot(snapshot) => {
                tracing::info!(version = snapshot.version, routes = snapshot.routes.len(), "routes arrived");
                snapshot_seen = true;
                Table::from(snapshot)
            }
            FeedMessage::Delta { .. } if !snapshot_seen => return Err(End::NoSnapshot),
            FeedMessage::Delta { version, change } => routes.now().next(version, change)?,
        };
        let version = table.version();
        routes.replace(table);
        // The answer says what requests see, so it leaves after they do.
        let applied = serde_json::to_string(&EdgeMessage::Applied { version })?;
        in_time(socket.send(Message::Text(applied.into()))).await?;
        on_snapshot();
        tracing::debug!(version, "routes are in use");
    }
}

async fn in_time(send: impl Future<Output = Result<(), tungstenite::Error>>) -> Result<(), End> {
    Ok(tokio::time::timeout(SEND, send).await.map_err(|_| End::NotTaken)??)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_feed_lies_below_the_api_and_needs_http() {
        let token = Secret::new("t0ken");
        for (api, feed) in [
            ("http://127.0.0.1:8081", "ws://127.0.0.1:8081/internal/v1/routes"),
            ("http://cp.local/base?x#y", "ws://cp.local/base/internal/v1/routes"),
        ] {
            let request = Source::new(&api.parse().unwrap(), &token).unwrap().request;
            assert_eq!(request.uri().to_string(), feed);
            assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer t0ken");
            assert!(!format!("{request:?}").contains("t0ken"));
        }
        let message = Source::new(&"ftp://x/".parse().unwrap(), &token).err().unwrap().to_string();
        assert!(message.contains("http://host:port"), "{message}");
        assert!(Source::new(&"http://x/".parse().unwrap(), &Secret::new("a\nb")).is_err());
    }
}

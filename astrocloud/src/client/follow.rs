//! Follows a log live over a WebSocket: each record once, also over broken connections.

use std::time::Duration;

use common::api::{Deployment, LogKind, LogMessage};
use common::bus::Record;
use common::id::DeploymentId;
use futures::{SinkExt as _, StreamExt as _};
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Client, ClientError, kind_word};

/// How often a broken connection is made anew without a message in between.
const TRIES: u32 = 7;
/// Pause before the second try; it doubles. All tries together take about 13 s, longer than a restart.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// A connection that is silent for so long is asked whether it is still there, and given up after as long again.
const SILENCE: Duration = Duration::from_secs(20);

/// What a follower hears.
#[derive(Debug)]
pub enum News {
    /// New records, in order.
    Records(Vec<Record>),
    /// The deployment, as it is now.
    Deployment(Box<Deployment>),
}

/// Follows one log.
pub struct Follower {
    client: Client,
    deployment: DeploymentId,
    kind: LogKind,
    after: u64,
    socket: Option<WebSocketStream<Upgraded>>,
    failed: u32,
}

/// Why a connection brought nothing.
enum Lost {
    /// Trying again may help.
    Connection(ClientError),
    /// It won't.
    Refused(ClientError),
}

impl Follower {
    /// A follower of the records after number `after`.
    pub const fn new(client: Client, deployment: DeploymentId, kind: LogKind, after: u64) -> Self {
        Self { client, deployment, kind, after, socket: None, failed: 0 }
    }

    /// The next news; `None` once no record will follow.
    ///
    /// # Errors
    /// When the platform refused, or could not be reached again and again.
    pub async fn next(&mut self) -> Result<Option<News>, ClientError> {
        loop {
            match self.attempt().await {
                Ok(LogMessage::Records { mut records }) => {
                    self.failed = 0;
                    records.retain(|record| record.seq > self.after);
                    if let Some(last) = records.last() {
                        self.after = last.seq;
                        return Ok(Some(News::Records(records)));
                    }
                }
                Ok(LogMessage::Deployment { deployment }) => {
                    self.failed = 0;
                    return Ok(Some(News::Deployment(deployment)));
                }
                Ok(LogMessage::End) => return Ok(None),
                Err(Lost::Refused(e)) => return Err(e),
                Err(Lost::Connection(e)) => {
                    self.socket = None;
                    self.failed += 1;
                    if self.failed == TRIES {
                        return Err(e);
                    }
                    tokio::time::sleep(FIRST_PAUSE * (1 << (self.failed - 1))).await;
                }
            }
        }
    }

    /// The next message of the connection, which is made when there is none.
    async fn attempt(&mut self) -> Result<LogMessage, Lost> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(connect(&self.client, &self.deployment, self.kind, self.after).await?),
        };
        let broken = |what: &str| Lost::Connection(ClientError::Follow(what.to_owned()));
        let mut asked = false;
        loop {
            match tokio::time::timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    return serde_json::from_str(&text)
                        .map_err(|e| Lost::Refused(ClientError::Follow(format!("a message makes no sense: {e}"))));
                }
                Ok(Some(Ok(Message::Close(_))) | None) => return Err(broken("the platform closed the connection")),
                Ok(Some(Ok(_))) => asked = false,
                Ok(Some(Err(e))) => return Err(broken(&e.to_string())),
                Err(_) if asked => return Err(broken("the platform is silent")),
                Err(_) => {
                    asked = true;
                    socket.send(Message::Ping(Default::default())).await.map_err(|e| broken(&e.to_string()))?;
                }
            }
        }
    }
}

/// Opens the WebSocket through the same HTTP client as every call, so that TLS and proxies are the same too.
async fn connect(
    client: &Client,
    deployment: &DeploymentId,
    kind: LogKind,
    after: u64,
) -> Result<WebSocketStream<Upgraded>, Lost> {
    let key = generate_key();
    let request = client
        .request(Method::GET, &["deployments", deployment.as_str(), "logs"])
        .query(&[("kind", kind_word(kind)), ("after", &after.to_string())])
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key);
    let response = client.send(request).await.map_err(|e| match e {
        ClientError::Refused(ref problem) if problem.status < 500 => Lost::Refused(e),
        e => Lost::Connection(e),
    })?;
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(|v| v.as_bytes());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS
        || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
    {
        let what = "a proxy on the way does not let WebSockets through";
        return Err(Lost::Refused(ClientError::Follow(what.to_owned())));
    }
    let upgraded = response.upgrade().await.map_err(|e| Lost::Connection(client.failed(e)))?;
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

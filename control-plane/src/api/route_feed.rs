//! The route feed's WebSocket, for edges.

use axum::extract::State as Extract;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::Response;
use common::id::{EdgeId, InvalidId};
use common::route::{EDGE_HEADER, EDGE_ID_HEADER, EdgeMessage, FeedMessage, Snapshot};
use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};

use super::State;
use super::error::ApiError;
use crate::auth;

/// Longest name of an edge's process, in bytes.
const MAX_NAME: usize = 64;

/// Tells an edge every route, then every change.
pub(super) async fn follow(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    if !auth::shows(&headers, &state.0.config.feed_token) {
        return Err(ApiError::new(401, "unauthorized", "The route feed needs the edges' token."));
    }
    let name = headers.get(EDGE_HEADER).and_then(|name| name.to_str().ok()).filter(|name| name.len() <= MAX_NAME);
    let name = name.map(str::to_owned);
    let edge = match headers.get(EDGE_ID_HEADER) {
        Some(id) => {
            let id = id.to_str().unwrap_or_default().parse();
            Some(id.map_err(|error: InvalidId| ApiError::invalid(format!("`{EDGE_ID_HEADER}`: {error}")))?)
        }
        None => None,
    };
    Ok(upgrade.on_upgrade(|socket| serve(socket, state, name, edge)))
}

async fn serve(socket: WebSocket, state: State, name: Option<String>, edge: Option<EdgeId>) {
    let (mut sender, mut receiver) = socket.split();
    let mut connection = state.0.hub.connect(name, edge).await;
    loop {
        tokio::select! {
            () = state.0.stop.cancelled() => break,
            message = connection.messages.recv() => {
                let Some(message) = message else { break };
                if tell(&mut sender, message).await.is_err() {
                    break;
                }
            }
            message = receiver.next() => match message {
                Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                    Ok(EdgeMessage::Applied { version }) => connection.applied(version),
                    Ok(EdgeMessage::Wanted { deployment }) => {
                        if let Err(e) = state.0.lifecycle.wake(&deployment).await {
                            tracing::warn!(%deployment, error = %e, "an app can't be started for a visitor");
                        }
                    }
                    Ok(EdgeMessage::Usage { projects }) => state.0.counts.report(projects),
                    Err(e) => tracing::warn!(error = %e, "an edge sent what is no message of the feed"),
                },
                Some(Ok(Message::Close(frame))) => {
                    connection.left(frame.is_some_and(|frame| frame.code == close_code::AWAY)).await;
                    break;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    // The edge reconnects by itself; how this connection ends does not matter.
    let _ = sender.close().await;
}

/// Sends a message, a snapshot in parts.
async fn tell(sender: &mut SplitSink<WebSocket, Message>, message: FeedMessage) -> Result<(), axum::Error> {
    let (snapshot, other) = match message {
        FeedMessage::Snapshot(snapshot) => (Some(snapshot), None),
        other => (None, Some(other)),
    };
    for message in snapshot.into_iter().flat_map(Snapshot::into_messages).chain(other) {
        let text = serde_json::to_string(&message).map_err(axum::Error::new).inspect_err(|error| {
            tracing::error!(%error, "routes can't be written as JSON");
        })?;
        sender.send(Message::Text(Utf8Bytes::from(text))).await?;
    }
    Ok(())
}

//! Logs: a page as JSON, or everything live over a WebSocket.

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse as _, Response};
use common::api::{LogKind, LogMessage, LogPage};
use common::bus::{Topic, follow};
use common::id::DeploymentId;
use common::problem::Problem;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;

use super::State;
use crate::lifecycle::LifecycleError;

use super::error::{ApiError, Path, Query};

/// Which records.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// `build` (the default) or `runtime`.
    #[serde(default)]
    #[param(inline)]
    kind: LogKind,
    /// Only records after this number.
    #[serde(default)]
    after: u64,
}

/// Reads up to 1000 records. As a WebSocket: history, then live records, each once, as `LogMessage`s.
#[utoipa::path(get, path = "/deployments/{deployment}/logs", tag = "deployments", operation_id = "logs",
    params(("deployment" = String, Path), Which),
    responses((status = 200, body = LogPage), (status = 101, body = common::api::LogMessage, description = "The WebSocket's messages"),
        (status = 404, body = Problem)))]
pub(super) async fn read(
    Extract(state): Extract<State>,
    Path(deployment): Path<String>,
    Query(which): Query<Which>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let row = state.0.lifecycle.row(&deployment.parse()?).await?;
    if which.kind == LogKind::Build {
        state.0.lifecycle.settle_log(&row).await;
    }
    let topic = Topic { deployment: row.id, kind: which.kind };
    match upgrade {
        Ok(upgrade) => Ok(upgrade.on_upgrade(move |socket| async move {
            if let Err(e) = stream(socket, state, topic, which.after).await {
                tracing::debug!(error = %e, "a log follower is gone");
            }
        })),
        Err(_) => {
            let batch = state.0.ports.bus.read(&topic, which.after).await?;
            Ok(Json(LogPage { records: batch.records, finished: batch.finished }).into_response())
        }
    }
}

type Gone = Box<dyn std::error::Error + Send + Sync>;

async fn stream(socket: WebSocket, state: State, topic: Topic, after: u64) -> Result<(), Gone> {
    let (mut sender, mut receiver) = socket.split();
    let mut changes = state.0.lifecycle.changes();
    let id = topic.deployment.clone();
    let mut records = Box::pin(follow(state.0.ports.bus.clone(), topic, after));
    send(&mut sender, &current(&state, &id).await?).await?;
    loop {
        tokio::select! {
            () = state.0.stop.cancelled() => break,
            batch = records.next() => match batch {
                Some(batch) => send(&mut sender, &LogMessage::Records { records: batch? }).await?,
                None => {
                    match state.0.lifecycle.row(&id).await {
                        // It was deleted, and its log with it.
                        Err(LifecycleError::NoSuchDeployment(_)) => {}
                        _ => send(&mut sender, &current(&state, &id).await?).await?,
                    }
                    send(&mut sender, &LogMessage::End).await?;
                    break;
                }
            },
            change = changes.recv() => match change {
                Ok(changed) if changed != id => {}
                Ok(_) | Err(RecvError::Lagged(_)) => send(&mut sender, &current(&state, &id).await?).await?,
                Err(RecvError::Closed) => break,
            },
            // Nothing is expected of the client but its going away.
            message = receiver.next() => if !matches!(message, Some(Ok(_))) { return Ok(()) },
        }
    }
    sender.close().await?;
    Ok(())
}

async fn current(state: &State, id: &DeploymentId) -> Result<LogMessage, Gone> {
    let row = state.0.lifecycle.row(id).await?;
    Ok(LogMessage::Deployment { deployment: Box::new(state.0.lifecycle.show(row).await?) })
}

async fn send<S>(sender: &mut S, message: &LogMessage) -> Result<(), Gone>
where
    S: futures::Sink<Message, Error = axum::Error> + Unpin,
{
    let text = serde_json::to_string(message)?;
    Ok(sender.send(Message::Text(Utf8Bytes::from(text))).await?)
}

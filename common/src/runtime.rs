//! The app runtime port: starts the apps of dynamic deployments, keeps them running, and ends them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::id::DeploymentId;
use crate::ledger::App;
use crate::registry::RegistryError;
use crate::revision::Endpoints;

mod conformance;
mod reporter;

pub use conformance::{AtShutdown, conformance};
pub use reporter::Reporter;

/// The port.
pub type DynRuntime = Arc<dyn AppRuntime>;

/// Why an app did not start. The messages are for the developer whose app it is.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing answered on the port that the app was given.
    #[error(
        "The app did not listen on port {port} within {}. Listen on the port that the variable PORT names, \
         on 0.0.0.0 or 127.0.0.1.{}", span(*within), hint.as_ref().map(|h| format!(" {h}")).unwrap_or_default()
    )]
    NeverListened {
        /// The port.
        port: u16,
        /// How long it was waited for.
        within: Duration,
        /// What was seen instead, a sentence.
        hint: Option<String>,
    },
    /// The app listens, but its health check did not pass.
    #[error(
        "The app listens, but its health check did not pass within {}: GET {path} {last}. \
         Answer it with a status below 500, or change the project's health path.", span(*within)
    )]
    Unhealthy {
        /// Path of the health check.
        path: String,
        /// How the last try ended, for example `was answered with status 503`.
        last: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The app ended before it was healthy.
    #[error("The app ended before it was healthy: {how}.{}", quoted(last_lines))]
    Exited {
        /// How, for example `it ended with exit code 1`.
        how: String,
        /// What it said last, oldest first.
        last_lines: Vec<String>,
    },
    /// Its image can't be had.
    #[error("The app's image can't be unpacked: {0}.")]
    Image(#[from] RegistryError),
    /// Its image can't be pulled, for another reason than that it is not there.
    #[error("The app's image can't be pulled: {0}. Deploy again; if that does not help, tell the platform's operator.")]
    ImagePull(String),
    /// No machine of the cluster has room for it.
    #[error(
        "The cluster has had no room for the app for {}: {detail}. Deploy again later; if that does not help, tell the \
         platform's operator.", span(*within)
    )]
    NoRoom {
        /// What the scheduler says.
        detail: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// Its account uses all that it may.
    #[error("The account's quota is used up: {0}. Stop or delete another of its apps, then deploy again.")]
    Quota(String),
    /// The cluster does not do what it is asked for.
    #[error("The cluster can't run the app: {0}. Deploy again; if that does not help, tell the platform's operator.")]
    Cluster(String),
    /// The sandbox failed.
    #[error("The app's sandbox can't be made: {0}. Deploy again; if that does not help, tell the platform's operator.")]
    Sandbox(String),
    /// The Node version that it was built with can't be had.
    #[error("The app's Node can't be had: {0}.")]
    ToolUnavailable(String),
    /// It was told to stop, or the platform is shutting down.
    #[error("The app was stopped before it was healthy.")]
    Stopped,
}

impl StartError {
    /// Stable word for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NeverListened { .. } => "app_never_listened",
            Self::Unhealthy { .. } => "app_unhealthy",
            Self::Exited { .. } => "app_exited",
            Self::Image(RegistryError::NotFound(_)) => "image_missing",
            Self::ImagePull(_) => "image_not_pulled",
            Self::NoRoom { .. } => "no_room",
            Self::Quota(_) => "quota_exceeded",
            Self::Cluster(_) => "cluster_failed",
            Self::Image(_) | Self::Sandbox(_) => "internal",
            Self::ToolUnavailable(_) => "tool_unavailable",
            Self::Stopped => "app_stopped",
        }
    }
}

/// A length of time for people: `60 s`, `500 ms`.
fn span(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
        ms => format!("{ms} ms"),
    }
}

/// The last lines of a log, each on a line of its own.
fn quoted(lines: &[String]) -> String {
    if lines.is_empty() {
        return " It said nothing.".to_owned();
    }
    lines.iter().fold(" It said last:".to_owned(), |text, line| text + "\n  " + line)
}

/// The port's operations.
///
/// Who tells the ledger what: **the caller of [`start`](Self::start) reports its outcome**, because only the
/// caller knows what it means (`succeeded` or `failed` for a new deployment, a running or restarting revision
/// for a ready one); the runtime reports nothing while it starts. From a successful start on the runtime
/// reports every change by itself, in order and until the ledger takes it: `restarting` when the app ends or
/// hangs, `running` when it is healthy again, `stopped` when it was told to stop. An app that the ledger does
/// not want any more (`NotYours`) is stopped.
#[async_trait]
pub trait AppRuntime: Send + Sync {
    /// Starts an app and returns where its instances answer, once its health check has passed. A deployment that runs
    /// already is told at once; one that is being stopped and still answers is kept, otherwise it is started
    /// anew once it is gone.
    ///
    /// Dropping the future does not end the app: call [`stop`](Self::stop).
    async fn start(&self, app: &App) -> Result<Endpoints, StartError>;
    /// Ends an app in an orderly way: traffic has moved away already. Returns at once; the app is told to end
    /// after a pause for requests in flight, and killed when it does not. Stopping what does not run is no error.
    async fn stop(&self, deployment: &DeploymentId);
    /// Whether apps are this machine's, and so end with their deployer. A cluster's do not: they need not be started
    /// elsewhere before it ends.
    fn is_of_this_machine(&self) -> bool {
        true
    }
    /// What runs, or is being started or restarted now.
    async fn running(&self) -> Vec<DeploymentId>;
    /// Starts nothing any more, and reports nothing. Apps that are processes of this one end within the deadline; a
    /// cluster's go on, and the next adapter for this cluster takes them over.
    async fn shutdown(&self, deadline: Duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_to_do_and_have_stable_words() {
        let silent = StartError::NeverListened {
            port: 41234,
            within: Duration::from_secs(60),
            hint: Some("It listens on port 3000 instead.".to_owned()),
        };
        assert_eq!(
            silent.to_string(),
            "The app did not listen on port 41234 within 60 s. Listen on the port that the variable PORT names, \
             on 0.0.0.0 or 127.0.0.1. It listens on port 3000 instead."
        );
        assert_eq!(silent.code(), "app_never_listened");
        let exited = StartError::Exited {
            how: "it ended with exit code 1".to_owned(),
            last_lines: vec!["Error: no database".to_owned(), "    at main".to_owned()],
        };
        assert_eq!(
            exited.to_string(),
            "The app ended before it was healthy: it ended with exit code 1. It said last:\n  Error: no database\n      at main"
        );
        let sick = StartError::Unhealthy {
            path: "/health".to_owned(),
            last: "was answered with status 503".to_owned(),
            within: Duration::from_millis(500),
        };
        assert!(sick.to_string().contains("within 500 ms: GET /health was answered with status 503."), "{sick}");
        assert_eq!(StartError::Image(RegistryError::NotFound("shop@x".to_owned())).code(), "image_missing");
    }
}

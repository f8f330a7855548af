//! What a deployer and the control plane tell each other about a deployment. The control plane owns
//! the rows; a deployer only reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::deployment::{Failure, Kind};
use crate::id::{DeploymentId, ProjectId};
use crate::name::ProjectName;
use crate::project::Settings;
use crate::revision::{Endpoints, RevisionStatus};
use crate::secret::Secret;
use crate::source::Source;

/// The port.
pub type DynLedger = Arc<dyn Ledger>;

/// All that a deployer needs to build a deployment.
#[derive(Clone, Debug)]
pub struct Work {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Its project.
    pub project: ProjectId,
    /// Whose the project is.
    pub account: String,
    /// Its project's name.
    pub project_name: ProjectName,
    /// What to build.
    pub source: Source,
    /// How.
    pub settings: Settings,
    /// Environment of build and app; every value is masked in logs.
    pub env: BTreeMap<String, Secret>,
    /// The project's newest published static deployment: files it has are not stored again.
    pub previous: Option<DeploymentId>,
}

/// All that a deployer needs to run a deployment's app.
#[derive(Clone, Debug)]
pub struct App {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Whose its project is: apps of different accounts do not reach each other.
    pub account: String,
    /// Its project's name.
    pub project_name: ProjectName,
    /// Reference of its image in the registry.
    pub image: String,
    /// Path of the health check; TCP connect when absent.
    pub health_path: Option<String>,
    /// Environment of the app; every value is masked in logs.
    pub env: BTreeMap<String, Secret>,
}

/// An app that should be running.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The app.
    pub app: App,
    /// Whether a start that does not work ends the wish, because a person waits for it (a rollback). Else it is tried
    /// again.
    pub once: bool,
}

/// What was found out about a deployment while it is built.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What it is.
    pub kind: Option<Kind>,
    /// What was detected, for people.
    pub framework: Option<String>,
    /// The exact commit.
    pub commit: Option<String>,
}

/// The result of a deployment.
#[derive(Clone, Debug)]
pub enum Output {
    /// Its manifest is stored.
    Static,
    /// Its image is stored and its app is healthy.
    App {
        /// Reference of its image.
        image: String,
        /// Where it listens.
        endpoints: Endpoints,
    },
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The deployment was canceled, or is another deployer's by now: stop.
    #[error("deployment {0} is no longer this deployer's: stop working on it")]
    NotYours(DeploymentId),
    /// There is no room to record anything.
    #[error("the control plane's disk is full")]
    DiskFull,
    /// The control plane can't be reached or failed.
    #[error("the control plane failed: {0}")]
    Failed(String),
}

/// The port's operations.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Takes a queued deployment: it is `building` from now on. `None` when there is nothing to do (it
    /// was canceled or is done).
    async fn claim(&self, deployment: &DeploymentId, isolation: &str) -> Result<Option<Work>, LedgerError>;
    /// Records what was found out.
    async fn facts(&self, deployment: &DeploymentId, facts: Facts) -> Result<(), LedgerError>;
    /// The build ended well: it is `publishing`.
    async fn built(&self, deployment: &DeploymentId) -> Result<(), LedgerError>;
    /// Its image is stored and its app was started: it is `starting`.
    async fn started(&self, deployment: &DeploymentId, image: &str) -> Result<(), LedgerError>;
    /// It is `ready`; returns once it is live on the edges, or `false` when a newer one is.
    async fn succeeded(&self, deployment: &DeploymentId, output: Output) -> Result<bool, LedgerError>;
    /// It is `failed`.
    async fn failed(&self, deployment: &DeploymentId, why: Failure) -> Result<(), LedgerError>;
    /// The app of a ready deployment; `None` when nobody wants it to run any more.
    async fn wanted_app(&self, deployment: &DeploymentId) -> Result<Option<Wanted>, LedgerError>;
    /// Every deployment whose app should be running now.
    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError>;
    /// What a running app does now.
    async fn revision(&self, deployment: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError>;
    /// A start that is wanted [`once`](Wanted::once) did not work; the live deployment stays.
    async fn start_failed(&self, deployment: &DeploymentId, why: Failure) -> Result<(), LedgerError>;
    /// Returns when [`Self::wanted_apps`] may have changed.
    async fn apps_changed(&self);
}

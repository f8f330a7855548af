//! What a deployer and the control plane tell each other about a deployment. The control plane owns
//! the rows; a deployer only reports.
//!
//! A ledger belongs to one deployer. What that works on it holds by a [`Claim`], which it keeps up by saying so again and
//! again ([`Ledger::keep`]). One that falls silent for [`HOLD`] loses what it held to another, and what it says of it
//! afterwards is refused, so that nothing is built by two at once. Every call may be made again, when its answer was
//! lost on the way, and then has the same result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::deployment::{Failure, Kind};
use crate::id::{ClaimId, DeploymentId, ProjectId};
use crate::name::ProjectName;
use crate::project::Settings;
use crate::revision::{Endpoints, RevisionStatus};
use crate::secret::Secret;
use crate::source::Source;

pub mod call;
mod conformance;

pub use conformance::{World, conformance};

/// The port.
pub type DynLedger = Arc<dyn Ledger>;

/// How long a deployer that says nothing is believed to work on what it holds: long enough for a restart of a control
/// plane, and short enough that a developer whose deployer died hardly notices.
pub const HOLD: Duration = Duration::from_secs(15);
/// Pause in which a deployer says what it holds: two that are lost cost nothing.
pub const KEEP_EVERY: Duration = Duration::from_secs(4);

/// A deployer's hold on a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Tells it from other holds on the same deployment.
    pub id: ClaimId,
    /// The deployment.
    pub deployment: DeploymentId,
}

impl Claim {
    /// A claim that is to be made.
    #[must_use]
    pub fn new(deployment: DeploymentId) -> Self {
        Self { id: ClaimId::new(), deployment }
    }
}

/// All that a deployer needs to build a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// The deployment, and the deployer's hold on it.
    pub claim: Claim,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// The app.
    pub app: App,
    /// Whether a start that does not work ends the wish, because a person waits for it (a rollback). Else it is tried
    /// again.
    pub once: bool,
}

/// What was found out about a deployment while it is built.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Facts {
    /// What it is.
    pub kind: Option<Kind>,
    /// What was detected, for people.
    pub framework: Option<String>,
    /// The exact commit.
    pub commit: Option<String>,
}

/// The result of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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
    /// The image is being deleted just now, because no deployment needed it: push it again.
    #[error("the image {0} is being deleted from the registry")]
    ImageGoing(String),
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
    /// Takes a queued deployment, or one whose deployer fell silent: it is `building` from now on. `None` when there is
    /// nothing to do: it was canceled, is done, or another deployer works on it.
    async fn claim(&self, claim: &Claim, isolation: &str) -> Result<Option<Work>, LedgerError>;
    /// Says that this deployer is there and works on these. Gives those that are no longer its own: it must stop working
    /// on them. What succeeded stays its own, because it may wait for the edges yet.
    async fn keep(&self, claims: &[Claim]) -> Result<Vec<Claim>, LedgerError>;
    /// Says that this deployer is about to end: its apps are started elsewhere, and then it is to run none. Gives whether
    /// there is another deployer for them.
    async fn leave(&self) -> Result<bool, LedgerError>;
    /// Gives a deployment back unfinished, through no fault of its own: it is `queued` again.
    async fn give_back(&self, claim: &Claim) -> Result<(), LedgerError>;
    /// Records what was found out.
    async fn facts(&self, claim: &Claim, facts: Facts) -> Result<(), LedgerError>;
    /// The build ended well: it is `publishing`.
    async fn built(&self, claim: &Claim) -> Result<(), LedgerError>;
    /// Its image is stored and its app is about to be started: it is `starting`. From then on the image stays;
    /// [`LedgerError::ImageGoing`] when it is being deleted just then.
    async fn started(&self, claim: &Claim, image: &str) -> Result<(), LedgerError>;
    /// It is `ready`; returns once it is live on the edges, or `false` when a newer one is.
    async fn succeeded(&self, claim: &Claim, output: Output) -> Result<bool, LedgerError>;
    /// It is `failed`.
    async fn failed(&self, claim: &Claim, why: Failure) -> Result<(), LedgerError>;
    /// The app of a ready deployment; `None` when nobody wants it to run any more.
    async fn wanted_app(&self, deployment: &DeploymentId) -> Result<Option<Wanted>, LedgerError>;
    /// Every deployment whose app this deployer should run now.
    async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError>;
    /// What a running app does now.
    async fn revision(&self, deployment: &DeploymentId, status: RevisionStatus) -> Result<(), LedgerError>;
    /// A start that is wanted [`once`](Wanted::once) did not work; the live deployment stays.
    async fn start_failed(&self, deployment: &DeploymentId, why: Failure) -> Result<(), LedgerError>;
    /// Returns when [`Self::wanted_apps`] may have changed since this was called last.
    async fn apps_changed(&self);
}

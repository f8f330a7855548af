//! The route feed: what the control plane tells every edge.
//!
//! On one WebSocket the control plane sends [`FeedMessage`]s (a whole snapshot first, then deltas in
//! order of version without gaps) and the edge answers with [`EdgeMessage`]s.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::certificate::{CertificateRef, Challenge, TicketKey};
use crate::id::DeploymentId;
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::usage::Usage;

/// Everything an edge needs to know, at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every change, across restarts of the control plane.
    pub version: u64,
    /// One route a host.
    pub routes: Vec<Route>,
    /// One certificate a name.
    #[serde(default)]
    pub certificates: Vec<CertificateRef>,
    /// Proofs of control that are asked for now.
    #[serde(default)]
    pub challenges: Vec<Challenge>,
    /// Keys of session tickets.
    #[serde(default)]
    pub ticket_keys: Vec<TicketKey>,
}

/// What changes from one version to the next. What is empty or absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// Routes added or replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upsert: Vec<Route>,
    /// Hosts no longer served.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Certificates of names that had none or another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateRef>,
    /// Names that have no certificate any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates_removed: Vec<String>,
    /// All proofs of control that are asked for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenges: Option<Vec<Challenge>>,
    /// All keys of session tickets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_keys: Option<Vec<TicketKey>>,
    /// Kept answers that are not to be used any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<Purge>,
}

/// Kept answers of apps that are not to be used any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// The project whose answers they are.
    pub project: String,
    /// Which of them.
    pub what: Purged,
}

/// Which of a project's kept answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purged {
    /// All of them.
    Everything,
    /// Those of one host.
    Host(String),
    /// Those of one address: host in lower case, path and query as they are asked for, as in `a.example/b?c`.
    Url(String),
    /// Those whose `Cache-Tag` names this tag.
    Tag(String),
}

/// What a host name answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Lower-case host name without port.
    pub host: String,
    /// Project's name, for the access log.
    pub project: String,
    /// The deployment from which every answer comes.
    pub deployment: DeploymentId,
    /// Whether this is the project's own address, not a single deployment's; others are kept out of
    /// search engines.
    pub production: bool,
    /// How it is served.
    pub target: Target,
    /// How its visitors are treated.
    #[serde(default = "default_policy", skip_serializing_if = "is_default_policy")]
    #[serde(serialize_with = "write_policy", deserialize_with = "read_policy")]
    pub policy: Arc<Policy>,
}

/// The policy of all routes that have none of their own: one for all, because there are many.
static DEFAULT_POLICY: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);

/// The policy of routes that have none of their own.
#[must_use]
pub fn default_policy() -> Arc<Policy> {
    Arc::clone(&DEFAULT_POLICY)
}

fn is_default_policy(policy: &Policy) -> bool {
    policy.is_default()
}

fn write_policy<S: Serializer>(policy: &Policy, serializer: S) -> Result<S::Ok, S::Error> {
    policy.serialize(serializer)
}

fn read_policy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Policy>, D::Error> {
    Policy::deserialize(deserializer).map(Arc::new)
}

/// How a route is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Target {
    /// Files of a manifest.
    Static {
        /// Deployments that were live before, whose fingerprinted files stay reachable; newest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        earlier: Vec<Earlier>,
    },
    /// A running app.
    App {
        /// Where it listens; empty while none is healthy.
        upstreams: Vec<SocketAddr>,
        /// Why none is healthy, in a sentence a visitor may read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unavailable: Option<String>,
        /// Whether a request is worth keeping for a while: [`EdgeMessage::Wanted`] starts the app, or it starts already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wakes: bool,
    },
}

/// An earlier deployment whose fingerprinted files stay reachable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Until when.
    pub until: Timestamp,
}

/// From the control plane to an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedMessage {
    /// Replaces everything known.
    Snapshot(Snapshot),
    /// Changes the version before `version` into `version`.
    Delta {
        /// The version after it.
        version: u64,
        /// What changes.
        #[serde(flatten)]
        change: Change,
    },
}

/// From an edge to the control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EdgeMessage {
    /// Requests that arrive from now on are answered by this version.
    Applied {
        /// The version.
        version: u64,
    },
    /// Visitors ask for a deployment whose app runs only on request. Sent again while they do.
    Wanted {
        /// The deployment.
        deployment: DeploymentId,
    },
    /// What projects were served since the last such message.
    Usage {
        /// One record a project.
        projects: Vec<Usage>,
    },
}

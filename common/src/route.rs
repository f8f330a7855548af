//! The route feed: what the control plane tells every edge.
//!
//! On one WebSocket the control plane sends [`FeedMessage`]s (a whole snapshot first, then deltas in
//! order of version without gaps) and the edge answers with [`EdgeMessage`]s.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::DeploymentId;
use crate::time::Timestamp;

/// Every route at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Grows with every change, across restarts of the control plane.
    pub version: u64,
    /// One route a host.
    pub routes: Vec<Route>,
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
        /// Routes added or replaced.
        upsert: Vec<Route>,
        /// Hosts no longer served.
        remove: Vec<String>,
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
}

//! The route feed: what the control plane tells every edge.
//!
//! On one WebSocket the control plane sends [`FeedMessage`]s (a whole snapshot first, large ones in parts, then deltas in
//! order of version without gaps) and the edge answers with [`EdgeMessage`]s.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::certificate::{CertificateRef, Challenge, TicketKey};
use crate::id::DeploymentId;
use crate::policy::Policy;
use crate::time::Timestamp;
use crate::usage::Usage;

/// Header in which an edge says which one it is, by its [`crate::id::EdgeId`], whichever process runs it. The control plane
/// remembers an edge that lost its connection, because it goes on serving; one that serves nobody any more says so by
/// closing the WebSocket with the code 1001 (RFC 6455 section 7.4.1).
pub const EDGE_ID_HEADER: &str = "astrocloud-edge-id";

/// Routes in one part of a snapshot, and as many certificates: some hundred kilobytes as JSON, so that neither side
/// ever holds the whole of a large snapshot as text.
pub const PART: usize = 250;

/// Header in which an edge names its process to the control plane, with a text that is another one for each: so the
/// control plane knows whether an edge that was there is back.
pub const EDGE_HEADER: &str = "astrocloud-edge";

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

impl Snapshot {
    /// The messages that tell it: itself when it is small, else parts, and the rest in the end.
    pub fn into_messages(mut self) -> impl Iterator<Item = FeedMessage> + Send {
        let is_small = self.routes.len() <= PART && self.certificates.len() <= PART;
        let (routes, certificates) = match is_small {
            true => Default::default(),
            false => (std::mem::take(&mut self.routes), std::mem::take(&mut self.certificates)),
        };
        parts(routes.into_iter(), certificates.into_iter()).chain(std::iter::once(FeedMessage::Snapshot(self)))
    }
}

/// Routes and certificates of a snapshot in parts.
pub fn parts(
    mut routes: impl Iterator<Item = Route> + Send,
    mut certificates: impl Iterator<Item = CertificateRef> + Send,
) -> impl Iterator<Item = FeedMessage> + Send {
    std::iter::from_fn(move || {
        let part = Part {
            routes: routes.by_ref().take(PART).collect(),
            certificates: certificates.by_ref().take(PART).collect(),
        };
        (part != Part::default()).then_some(FeedMessage::Part(part))
    })
}

/// Part of the snapshot that follows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// Some of its routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Some of its certificates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateRef>,
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
    /// Lower-case host name without port; `*.` and a domain for every host one label below that has no route of its own.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub host: Arc<str>,
    /// Project's name, for the access log.
    #[serde(serialize_with = "write_text", deserialize_with = "read_text")]
    pub project: Arc<str>,
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

fn write_text<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn read_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<str>, D::Error> {
    String::deserialize(deserializer).map(Into::into)
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
    /// The same path and query of another host.
    Redirect {
        /// The other host, in lower case.
        to: String,
        /// The answer's status, 301 or 308.
        status: u16,
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
    /// Part of the snapshot that follows. A large one comes in parts, with nothing between them, and its own message has
    /// what is left.
    Part(Part),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(hosts: usize, names: usize) -> Snapshot {
        let route = |number| Route {
            host: format!("{number}.example").into(),
            project: "p".into(),
            deployment: DeploymentId::new(),
            production: true,
            target: Target::Static { earlier: Vec::new() },
            policy: default_policy(),
        };
        let certificate = |number| CertificateRef { name: format!("{number}.example"), id: "c".to_owned() };
        Snapshot {
            version: 7,
            routes: (0..hosts).map(route).collect(),
            certificates: (0..names).map(certificate).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_large_snapshot_comes_in_parts_that_make_it_again() {
        for (hosts, names, messages) in [(0, 0, 1), (PART, 3, 1), (PART + 1, 0, 3), (1, 3 * PART, 4), (600, 600, 4)] {
            let whole = snapshot(hosts, names);
            let mut again = Snapshot::default();
            let mut count = 0;
            for message in whole.clone().into_messages() {
                count += 1;
                match message {
                    FeedMessage::Part(part) => {
                        assert!(part.routes.len() <= PART && part.certificates.len() <= PART);
                        again.routes.extend(part.routes);
                        again.certificates.extend(part.certificates);
                    }
                    FeedMessage::Snapshot(rest) => {
                        again.routes.extend(rest.routes);
                        again.certificates.extend(rest.certificates);
                        again.version = rest.version;
                    }
                    FeedMessage::Delta { .. } => unreachable!("a snapshot is no change"),
                }
            }
            assert_eq!((again == whole, count), (true, messages), "{hosts} hosts, {names} names");
        }
    }
}

//! The image registry port: OCI images of dynamic deployments.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::id::DeploymentId;
use crate::time::Timestamp;

mod conformance;
pub mod layout;
pub mod oci;

pub use conformance::conformance;

/// The port.
pub type Registry = Arc<dyn ImageRegistry>;

/// How an image's app is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Shell command.
    pub command: String,
    /// Folder below the image's root where it runs, for example `app`.
    pub working_dir: String,
    /// Node version it was built with, for example `20.20.2`.
    pub node: String,
}

/// What becomes an image.
#[derive(Clone, Copy, Debug)]
pub struct NewImage<'a> {
    /// Whose it is: the project's name.
    pub name: &'a str,
    /// Holds the tree, the app in its folder `app`.
    pub root: &'a Path,
    /// How the app is started.
    pub start: &'a Start,
    /// How it came about.
    pub origin: &'a Origin,
}

/// How an image came about; told in its labels and its provenance.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The deployment that it is built for.
    pub deployment: DeploymentId,
    /// Address of its repository, without a login; none for an upload.
    pub source: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// What was detected.
    pub framework: Option<String>,
    /// How its build was isolated.
    pub isolation: Option<String>,
    /// When its build began.
    pub begun: Timestamp,
}

impl Origin {
    /// A build that began now, and of which nothing else is known.
    #[must_use]
    pub fn new(deployment: DeploymentId) -> Self {
        let begun = Timestamp::now();
        Self { deployment, source: None, commit: None, framework: None, isolation: None, begun }
    }
}

/// A stored image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What pulls it. The same tree of the same commit has the same reference.
    pub reference: String,
    /// Bytes of its own layers, compressed.
    pub size: u64,
    /// Bytes of those layers that the registry did not have yet.
    pub sent: u64,
    /// Files of the tree that were left out because such files hold secrets.
    pub left_out: Vec<String>,
}

/// Why the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such image.
    #[error("there is no image `{0}`: deploy the project again")]
    NotFound(String),
    /// Reading or writing failed.
    #[error("the image registry failed: {0}")]
    Io(#[from] std::io::Error),
    /// An image is not readable.
    #[error("image `{reference}` is damaged: {detail}")]
    Damaged {
        /// Which.
        reference: String,
        /// What is wrong.
        detail: String,
    },
    /// A file can't be in an image.
    #[error("`{path}` can't be in an image: {why}")]
    Unpackable {
        /// Which, below the image's root.
        path: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// The registry can't be reached, or answers with errors for longer than it is waited for.
    #[error("the image registry is away: {0}")]
    Away(String),
    /// The registry, or the settings, do not allow it.
    #[error("the image registry refuses: {0}")]
    Refused(String),
}

/// The port's operations.
#[async_trait]
pub trait ImageRegistry: Send + Sync {
    /// Stores a tree as an image, with a list of its packages and its provenance as artifacts that refer to it.
    async fn push(&self, image: NewImage<'_>) -> Result<Pushed, RegistryError>;
    /// Unpacks an image's own layers into the empty folder `into` and tells how it is started.
    async fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError>;
    /// Deletes an image and what refers to it; one that does not exist is no error. Layers that no other image names
    /// go too, at once or when the registry collects them. Not to be called while the same image is being pushed:
    /// `control-plane/src/images.rs` sees to that.
    async fn remove(&self, reference: &str) -> Result<(), RegistryError>;
}

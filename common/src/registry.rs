//! The image registry port: OCI images of dynamic deployments.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub mod layout;

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
}

/// The port's operations.
#[async_trait]
pub trait ImageRegistry: Send + Sync {
    /// Stores the tree below `root` as an image named `name`; returns the reference that pulls it.
    async fn push(&self, name: &str, root: &Path, start: &Start) -> Result<String, RegistryError>;
    /// Unpacks an image into the empty folder `into` and tells how it is started.
    async fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError>;
    /// Deletes an image; one that does not exist is no error.
    async fn remove(&self, reference: &str) -> Result<(), RegistryError>;
}

/// What every adapter must do; called by each adapter's tests.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(registry: &Registry) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let ensure = |held: bool, what: &str| if held { Ok(()) } else { Err(what.to_owned()) };
    let text = |e: RegistryError| e.to_string();
    let io = |e: std::io::Error| e.to_string();
    let (from, into) = (tempfile::tempdir().map_err(io)?, tempfile::tempdir().map_err(io)?);
    std::fs::create_dir_all(from.path().join("app/bin")).map_err(io)?;
    std::fs::write(from.path().join("app/server.js"), "listen()").map_err(io)?;
    std::fs::write(from.path().join("app/bin/run"), "#!/bin/sh").map_err(io)?;
    std::fs::set_permissions(from.path().join("app/bin/run"), std::fs::Permissions::from_mode(0o755)).map_err(io)?;
    std::os::unix::fs::symlink("bin/run", from.path().join("app/link")).map_err(io)?;
    let start =
        Start { command: "node server.js".to_owned(), working_dir: "app".to_owned(), node: "20.1.0".to_owned() };

    let reference = registry.push("shop", from.path(), &start).await.map_err(text)?;
    let same = registry.push("shop", from.path(), &start).await.map_err(text)?;
    ensure(reference == same, "the same tree has the same reference")?;
    let pulled = registry.pull(&reference, into.path()).await.map_err(text)?;
    ensure(pulled == start, "an image tells how it is started")?;
    let server = std::fs::read_to_string(into.path().join("app/server.js")).map_err(io)?;
    ensure(server == "listen()", "files come back")?;
    let mode = std::fs::metadata(into.path().join("app/bin/run")).map_err(io)?.permissions().mode();
    ensure(mode & 0o111 == 0o111, "executable files stay executable")?;
    let link = std::fs::read_link(into.path().join("app/link")).map_err(io)?;
    ensure(link == Path::new("bin/run"), "links stay links")?;
    registry.remove(&reference).await.map_err(text)?;
    registry.remove(&reference).await.map_err(text)?;
    let again = tempfile::tempdir().map_err(io)?;
    let gone = registry.pull(&reference, again.path()).await;
    ensure(matches!(gone, Err(RegistryError::NotFound(_))), "a removed image is told as not found")
}

//! Fetches a deployment's source: ZIP archives and git repositories.
//!
//! What comes in: a [`Source`] and an empty folder. What goes out: that folder with the source in it, and the exact
//! commit where there is one; or a [`FetchError`], a sentence that tells the developer what to do.
//!
//! A ZIP is judged as a whole before anything is written: its directory, every name, every kind of entry. Then it is
//! unpacked here, by this process, within limits that hold for what is really written, whatever the archive claims.
//! A repository is fetched by the host's git inside the sandbox, and moved into place whole.
//!
//! What it must never do: write outside the folder, follow a link that came with a source, lose a file silently, run
//! anything that came with a source, or show the credentials of a repository's address to anybody but its host.

use std::path::Path;
use std::time::Duration;

use common::blob::ObjectStore;
use common::source::Source;
use logs::Log;
use sandbox::Sandbox;

mod error;
mod work;

mod archive;
mod upload;

mod git;
mod tree;

pub use archive::ArchiveError;
pub use error::FetchError;
pub use git::GitError;

/// Where fetching ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and links of a source, in all. 50,000 is far above any source that people write, and little
    /// enough to be checked in a second; what is installed by the build does not count.
    pub entries: u64,
    /// Bytes of a source, unpacked. 2 GiB: a build's disk has to hold the source, its dependencies and its output.
    pub bytes: u64,
    /// Bytes of one file. 512 MiB: above this a file is a video or a data set, which belongs into a store of its own.
    pub file_bytes: u64,
    /// Time for one fetch. 10 minutes: enough for [`bytes`](Self::bytes) over a slow line, and short enough that a
    /// host that has stopped answering does not hold up the deployments behind it.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 50_000, bytes: 2 << 30, file_bytes: 512 << 20, wall: Duration::from_secs(600) }
    }
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The exact commit; none for an upload.
    pub commit: Option<String>,
}

/// Fetches sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    store: ObjectStore,
    sandbox: Sandbox,
    limits: Limits,
    host: git::Host,
}

impl Fetcher {
    /// A fetcher that takes uploads from `store` and runs git in `sandbox`.
    ///
    /// Of this process's environment, git gets the bundle of certificate authorities (`GIT_SSL_CAINFO`, else
    /// `SSL_CERT_FILE`) and the proxy; nothing else.
    #[must_use]
    pub fn new(store: ObjectStore, sandbox: Sandbox, limits: Limits) -> Self {
        Self { store, sandbox, limits, host: git::Host::from_env() }
    }

    /// Puts a source into `into`, an existing empty folder with room beside it for temporary files. A repository's
    /// `branch` is the one to take where the source itself names none; without any it is the repository's default.
    ///
    /// Dropping the future stops everything. After that, and after an error, `into` and the folder that it lies in may
    /// hold leftovers: they are to be removed together.
    ///
    /// # Errors
    /// When the source is missing, unreachable, refused, or beyond a limit.
    pub async fn fetch(
        &self,
        source: &Source,
        branch: Option<&str>,
        into: &Path,
        log: &Log,
    ) -> Result<Fetched, FetchError> {
        let fetched = match source {
            Source::Upload { upload, .. } => self.upload(upload, into, log).await,
            Source::Git { url, branch: own, commit } => {
                Box::pin(self.git(url, own.as_deref().or(branch), commit.as_deref(), into, log)).await
            }
        };
        if let Err(FetchError::Internal(error)) = &fetched {
            tracing::error!(%error, "a source can't be fetched");
        }
        fetched
    }
}

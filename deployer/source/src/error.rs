//! Why a source can't be had.

use std::io;
use std::time::Duration;

use sandbox::SpawnError;

use crate::{ArchiveError, GitError};

/// Why a source can't be had, as a sentence for the developer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The uploaded archive is refused.
    #[error(transparent)]
    Archive(ArchiveError),
    /// The repository can't be fetched.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The upload was announced, and nothing has arrived.
    #[error("The uploaded archive is not there: it was never uploaded in full, or it has expired. Upload it again.")]
    UploadMissing,
    /// The object store did not answer as it should.
    #[error("The uploaded archive can't be read from the store now. Deploy again in a minute.")]
    StoreAway(#[source] object_store::Error),
    /// The upload took too long to be read and unpacked.
    #[error("The uploaded archive was not unpacked within {} s. Upload a smaller one, or deploy again.", .0.as_secs())]
    Timeout(Duration),
    /// This host failed; the developer can only try again. What exactly went wrong is for the platform's own log.
    #[error("AstroCloud could not fetch the source: {}. Deploy again; if it stays so, tell the operator.", .0.kind())]
    Internal(#[from] io::Error),
}

impl FetchError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Archive(error) => error.code(),
            Self::Git(error) => error.code(),
            Self::UploadMissing => "upload_missing",
            Self::StoreAway(_) => "store_unreachable",
            Self::Timeout(_) => "source_timeout",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the same source may well be there a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::StoreAway(_) => true,
            Self::Git(error) => error.is_transient(),
            Self::Archive(_) | Self::UploadMissing | Self::Timeout(_) | Self::Internal(_) => false,
        }
    }
}

impl From<ArchiveError> for FetchError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Io(error) => Self::Internal(error),
            error => Self::Archive(error),
        }
    }
}

impl From<SpawnError> for FetchError {
    fn from(error: SpawnError) -> Self {
        Self::Internal(io::Error::other(error))
    }
}

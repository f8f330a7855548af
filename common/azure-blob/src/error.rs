//! Why the store can't be used or set up.

use std::path::PathBuf;

use crate::redacted;

/// Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AzureBlobError {
    /// The file of certificates.
    #[error("the certificates in {path} can't be used: {detail}")]
    Certificates {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The key, the SAS or another part of the credential is none.
    #[error("the object store can't be used as it is set: {0}")]
    Config(String),
    /// No answer, after some tries.
    #[error("Azure Blob Storage does not answer at {endpoint}: {detail}")]
    Unreachable {
        /// Where it was asked.
        endpoint: String,
        /// The last cause.
        detail: String,
    },
    /// Not with this credential.
    #[error("this identity may not {what} ({said}): {remedy}")]
    Forbidden {
        /// What was tried.
        what: &'static str,
        /// What Azure said.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The container is to be made first.
    #[error("there is no container `{0}`: `astrocloud setup` makes it")]
    NoContainer(String),
    /// Five rules at most, says Azure.
    #[error(
        "the account has {0} rules for browsers (CORS) already, the most that Azure keeps: remove one of them, then run \
         `astrocloud setup` again"
    )]
    TooManyRules(usize),
    /// An answer that is not understood.
    #[error("Azure Blob Storage answered {what} with {said}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// Something does not work as it must.
    #[error("the object store does not do what it must: {0}")]
    Check(String),
    /// Too much is asked of it at present, or it fails.
    #[error("the object store failed: {}", redacted(&.0.to_string()))]
    Store(#[from] object_store::Error),
}

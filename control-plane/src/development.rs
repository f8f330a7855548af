//! The development authority of an installation with several control planes: one for all, kept sealed in the database,
//! because visitors of any edge meet its certificates.

use std::path::{Path, PathBuf};

use acme::development::{Authority, AuthorityError, SEALED_FILE};
use common::secret::KeyRing;
use common::time::Timestamp;

use crate::store::{Store, StoreError};

/// What it is called among what control planes have in common.
const NAME: &str = "development_authority";
/// Tries to agree with control planes that start at the same time: each ends with what one of them kept.
const TRIES: usize = 4;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Its file can't be used.
    #[error("the development certificate authority's file {path} can't be used: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others replace it again and again.
    #[error("control planes do not agree on a development authority: start them again")]
    Disagreement,
}

/// The installation's authority, made when there is none. Its files lie in `folder`, which is this control plane's own.
///
/// # Errors
/// When the database or the folder can't be used, or it was sealed with another key.
pub async fn authority(
    database_url: &str,
    folder: &Path,
    keys: &KeyRing,
    now: Timestamp,
) -> Result<Authority, DevelopmentError> {
    let store = Store::open(database_url).await?;
    let agreed = agree(&store, folder, keys, now).await;
    store.close().await;
    agreed
}

async fn agree(store: &Store, folder: &Path, keys: &KeyRing, now: Timestamp) -> Result<Authority, DevelopmentError> {
    let path = folder.join(SEALED_FILE);
    let failed = |source| DevelopmentError::File { path: path.clone(), source };
    for _ in 0..TRIES {
        let kept = store.common(NAME).await?;
        if let Some(kept) = &kept {
            std::fs::write(&path, kept).map_err(failed)?;
        }
        let authority = Authority::load_or_create(folder, keys, now)?;
        let sealed = std::fs::read_to_string(&path).map_err(failed)?;
        if kept.as_ref() == Some(&sealed) {
            return Ok(authority);
        }
        // It is new, was replaced because its end is near, or is sealed with a newer key.
        store.set_common(NAME, kept.as_deref(), &sealed).await?;
    }
    Err(DevelopmentError::Disagreement)
}

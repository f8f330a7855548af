//! The object store port. The trait is `object_store`'s own; this module opens the embedded adapter, a folder, and adds
//! what every caller needs. Azure Blob Storage is a crate of its own (`common/azure-blob`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use url::Url;

mod conformance;

pub use conformance::conformance;

/// The port.
pub type ObjectStore = Arc<dyn object_store::ObjectStore>;

/// A request that stores one object, ready to be sent by somebody without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedPut {
    /// Where to PUT it. It is a secret for as long as it works.
    pub url: Url,
    /// Header fields that the request must have, by name.
    pub headers: Vec<(String, String)>,
}

/// Lets others store objects straight in the store. Stores that can't do this take uploads through the control plane.
#[async_trait]
pub trait DirectUploads: std::fmt::Debug + Send + Sync {
    /// A request that creates or writes the object `key`, and nothing else, within `lifetime`. How large the object gets
    /// is checked by nobody.
    ///
    /// # Errors
    /// When the store can't sign now.
    async fn sign_put(&self, key: &str, lifetime: Duration) -> Result<SignedPut, BlobError>;

    /// Scheme, host and port of every signed URL.
    fn origin(&self) -> String;
}

/// Why an object store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The URL names no adapter.
    #[error("`{0}` names no object store: use `file:///absolute/folder`")]
    UnknownScheme(Url),
    /// The folder can't be made.
    #[error("can't create the object store's folder {path}: {source}")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
}

impl BlobError {
    /// Whether the object does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

/// Opens the store that `url` names: `file:///folder`, which is created when absent.
///
/// # Errors
/// When the URL's scheme is unknown or the folder can't be made.
pub fn open(url: &Url) -> Result<ObjectStore, BlobError> {
    match (url.scheme(), url.to_file_path()) {
        ("file", Ok(path)) => {
            std::fs::create_dir_all(&path).map_err(|source| BlobError::Folder { path: path.clone(), source })?;
            Ok(Arc::new(object_store::local::LocalFileSystem::new_with_prefix(path)?))
        }
        _ => Err(BlobError::UnknownScheme(url.clone())),
    }
}

/// Stores an object whole; it appears at once or not at all.
///
/// # Errors
/// When the store failed.
pub async fn put(store: &ObjectStore, key: &str, bytes: Bytes) -> Result<(), BlobError> {
    store.put(&Path::from(key), PutPayload::from_bytes(bytes)).await?;
    Ok(())
}

/// Reads an object whole. For objects of bounded size.
///
/// # Errors
/// When it does not exist or the store failed.
pub async fn get(store: &ObjectStore, key: &str) -> Result<Bytes, BlobError> {
    Ok(store.get(&Path::from(key)).await?.bytes().await?)
}

/// Size of an object in bytes; `None` when it does not exist.
///
/// # Errors
/// When the store failed.
pub async fn size(store: &ObjectStore, key: &str) -> Result<Option<u64>, BlobError> {
    match store.head(&Path::from(key)).await {
        Ok(meta) => Ok(Some(meta.size)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Copies an object within the store, without its bytes passing through here. One that is at `to` already stays.
///
/// # Errors
/// When there is nothing at `from` or the store failed.
pub async fn copy(store: &ObjectStore, from: &str, to: &str) -> Result<(), BlobError> {
    match store.copy_if_not_exists(&Path::from(from), &Path::from(to)).await {
        Ok(()) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Deletes an object; one that does not exist is no error.
///
/// # Errors
/// When the store failed.
pub async fn delete(store: &ObjectStore, key: &str) -> Result<(), BlobError> {
    match store.delete(&Path::from(key)).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_local_folder_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&Url::from_directory_path(folder.path()).unwrap()).unwrap();
        conformance(&store).await.unwrap();
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_the_known_ones() {
        let message = open(&Url::parse("ftp://x/").unwrap()).unwrap_err().to_string();
        assert!(message.contains("file:///"), "{message}");
    }
}

//! The object store port. The trait is `object_store`'s own, which has adapters for local folders and
//! for Azure Blob Storage; this module chooses one by URL and adds what every caller needs.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use url::Url;

/// The port.
pub type ObjectStore = Arc<dyn object_store::ObjectStore>;

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

/// What every adapter must do; called by each adapter's tests.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(store: &ObjectStore) -> Result<(), String> {
    use futures::TryStreamExt as _;
    let text = |e: BlobError| e.to_string();
    let ensure = |held: bool, what: &str| if held { Ok(()) } else { Err(what.to_owned()) };

    put(store, "conformance/a b/ä.txt", Bytes::from_static(b"0123456789")).await.map_err(text)?;
    ensure(get(store, "conformance/a b/ä.txt").await.map_err(text)? == "0123456789", "a stored object reads back")?;
    ensure(size(store, "conformance/a b/ä.txt").await.map_err(text)? == Some(10), "its size is told")?;
    let key = Path::from("conformance/a b/ä.txt");
    let part = store.get_range(&key, 3..6).await.map_err(|e| e.to_string())?;
    ensure(part == "345", "a range reads its bytes only")?;
    put(store, "conformance/a b/ä.txt", Bytes::from_static(b"new")).await.map_err(text)?;
    ensure(get(store, "conformance/a b/ä.txt").await.map_err(text)? == "new", "an object can be replaced")?;
    let listed: Vec<_> = store.list(Some(&Path::from("conformance"))).try_collect().await.map_err(|e| e.to_string())?;
    ensure(listed.len() == 1, "a prefix lists its objects")?;
    let missing = get(store, "conformance/missing").await;
    ensure(missing.is_err_and(|e| e.is_not_found()), "a missing object is told as not found")?;
    ensure(size(store, "conformance/missing").await.map_err(text)?.is_none(), "a missing object has no size")?;
    delete(store, "conformance/a b/ä.txt").await.map_err(text)?;
    delete(store, "conformance/a b/ä.txt").await.map_err(text)?;
    ensure(size(store, "conformance/a b/ä.txt").await.map_err(text)?.is_none(), "a deleted object is gone")
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

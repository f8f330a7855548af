//! Stores contents: variants first, the blob itself last, so that a blob that exists has all its variants.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use common::blob::{self, ObjectStore};
use common::manifest::{Encoding, Variant, blob_key};
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{ObjectStoreExt as _, WriteMultipart};
use tokio::sync::Semaphore;

use crate::compress::Compressed;
use crate::tree::Tree;
use crate::{PublishError, blocking, compress};

/// Contents under way at once: enough to keep all cores busy while files are opened and written. Each occupies a
/// blocking thread for a while, and the allocator keeps about a megabyte for each thread.
const AT_ONCE: usize = 16;
/// Bytes in memory at once, over all contents on their way.
const MEMORY: u32 = 96 << 20;
/// How often content that is compressed lies in memory: itself and three variants, none larger.
const COPIES: u64 = 4;
/// Content larger than this is stored in parts as it is read, bytes. Not below [`compress::LARGEST`].
const WHOLE: u64 = compress::LARGEST;
/// Bytes of a part; object stores want at least 5 MiB.
const PART: u32 = 8 << 20;
/// Parts on their way to the store, besides the one that is read.
const PARTS: u32 = 2;

/// A content that may have to be stored.
#[derive(Debug)]
pub struct Content {
    /// BLAKE3, 64 hex digits.
    pub hash: String,
    pub size: u64,
    /// Of one of the files that have it.
    pub path: String,
    /// Where to read it.
    pub source: PathBuf,
    /// Whether variants are worth a try.
    pub compressible: bool,
}

impl Content {
    fn is_compressed(&self) -> bool {
        self.compressible && compress::fits(self.size)
    }
}

/// A content that is in the store.
#[derive(Debug)]
pub struct Kept {
    pub hash: String,
    pub size: u64,
    pub variants: Vec<Variant>,
    /// Whether it was not there before.
    pub stored: bool,
}

/// Where contents go.
pub struct Blobs {
    store: ObjectStore,
    tree: Arc<Tree>,
    memory: Semaphore,
}

impl Blobs {
    pub fn new(store: ObjectStore, tree: Arc<Tree>) -> Self {
        Self { store, tree, memory: Semaphore::new(MEMORY as usize) }
    }

    /// Sees to it that all contents are in the store, the largest first, so that no core is left with a
    /// long piece of work at the end.
    pub async fn keep_all(self, mut contents: Vec<Content>) -> Result<Vec<Kept>, PublishError> {
        contents.sort_by_key(|c| std::cmp::Reverse(c.size));
        let this = Arc::new(self);
        let kept = contents.into_iter().map(|content| this.clone().keep(content));
        stream::iter(kept).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn keep(self: Arc<Self>, content: Content) -> Result<Kept, PublishError> {
        let existing = blob::size(&self.store, &blob_key(&content.hash, None)).await?;
        let stored = existing != Some(content.size);
        let variants = if !stored {
            self.existing_variants(&content).await?
        } else if content.size > WHOLE {
            self.store_in_parts(&content).await?;
            Vec::new()
        } else {
            self.store_whole(&content).await?
        };
        Ok(Kept { hash: content.hash, size: content.size, variants, stored })
    }

    async fn existing_variants(&self, content: &Content) -> Result<Vec<Variant>, PublishError> {
        if !content.is_compressed() {
            return Ok(Vec::new());
        }
        let sizes = try_join_all(Encoding::ALL.map(|encoding| async move {
            let size = blob::size(&self.store, &blob_key(&content.hash, Some(encoding))).await?;
            Ok::<_, PublishError>(size.map(|size| Variant { encoding, size }))
        }));
        Ok(sizes.await?.into_iter().flatten().collect())
    }

    async fn store_whole(&self, content: &Content) -> Result<Vec<Variant>, PublishError> {
        let compressed = content.is_compressed();
        let apart = compressed && compress::takes_long(content.size);
        let weight = if compressed { content.size * COPIES } else { content.size };
        let _memory = take(&self.memory, weight).await?;
        let (bytes, mut variants) = self.read(content, compressed && !apart).await?;
        if apart {
            let groups = compress::APART.map(|group| self.compress(bytes.clone(), group));
            variants = try_join_all(groups).await?.concat();
        }
        let put = |(encoding, bytes): (Encoding, Bytes)| async move {
            let variant = Variant { encoding, size: bytes.len() as u64 };
            blob::put(&self.store, &blob_key(&content.hash, Some(encoding)), bytes).await?;
            Ok::<_, PublishError>(variant)
        };
        let variants = try_join_all(variants.into_iter().map(put)).await?;
        blob::put(&self.store, &blob_key(&content.hash, None), bytes).await?;
        Ok(variants)
    }

    /// The whole content, and its variants with it if wanted: for small contents, each hop to another
    /// thread costs as much as compressing. Fails when it is no longer the content that was hashed.
    async fn read(&self, content: &Content, compressed: bool) -> Result<(Bytes, Vec<Compressed>), PublishError> {
        let (tree, source, size) = (self.tree.clone(), content.source.clone(), content.size);
        let (path, hash) = (content.path.clone(), content.hash.clone());
        blocking::compute(move || {
            let unreadable = |e| PublishError::unreadable(&path, e);
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            // One byte more shows a file that has grown.
            let file = tree.file(&source).map_err(unreadable)?;
            file.take(size + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if blake3::hash(&bytes).to_hex().as_str() != hash {
                return Err(PublishError::changed(&path));
            }
            let variants = if compressed { compress::variants(&Encoding::ALL, &bytes)? } else { Vec::new() };
            Ok((bytes.into(), variants))
        })
        .await
    }

    async fn compress(&self, bytes: Bytes, group: &'static [Encoding]) -> Result<Vec<Compressed>, PublishError> {
        blocking::compute(move || compress::variants(group, &bytes)).await
    }

    /// Stores the content as it is read. It appears under its hash only if that is what was read.
    async fn store_in_parts(&self, content: &Content) -> Result<(), PublishError> {
        let _memory = take(&self.memory, u64::from(PART * (PARTS + 1))).await?;
        let key = object_store::path::Path::from(blob_key(&content.hash, None));
        let mut upload = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&key).await?, PART as usize);
        match self.send_parts(content, &mut upload).await {
            Ok(()) => {
                upload.finish().await?;
                Ok(())
            }
            Err(e) => {
                if let Err(abort) = upload.abort().await {
                    tracing::warn!(key = %key, error = %abort, "upload not aborted");
                }
                Err(e)
            }
        }
    }

    async fn send_parts(&self, content: &Content, upload: &mut WriteMultipart) -> Result<(), PublishError> {
        let (tree, source, path) = (self.tree.clone(), content.source.clone(), content.path.clone());
        let mut file =
            blocking::run(move || tree.file(&source).map_err(|e| PublishError::unreadable(&path, e))).await?;
        let (mut hasher, mut left) = (blake3::Hasher::new(), content.size);
        while left > 0 {
            let (length, path) = (left.min(u64::from(PART)), content.path.clone());
            let part: Bytes;
            (file, hasher, part) = blocking::run(move || {
                let mut part = Vec::with_capacity(PART as usize);
                file.by_ref().take(length).read_to_end(&mut part).map_err(|e| PublishError::unreadable(&path, e))?;
                hasher.update(&part);
                Ok((file, hasher, part.into()))
            })
            .await?;
            if (part.len() as u64) < length {
                return Err(PublishError::changed(&content.path));
            }
            left -= length;
            upload.wait_for_capacity(PARTS as usize).await?;
            upload.put(part);
        }
        if hasher.finalize().to_hex().as_str() != content.hash {
            return Err(PublishError::changed(&content.path));
        }
        Ok(())
    }
}

/// Waits for `weight` of what `semaphore` hands out.
async fn take(semaphore: &Semaphore, weight: u64) -> Result<tokio::sync::SemaphorePermit<'_>, PublishError> {
    let weight = u32::try_from(weight).unwrap_or(MEMORY).min(MEMORY);
    semaphore.acquire_many(weight).await.map_err(|e| PublishError::Internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The content that was hashed, and a folder in which a file of `size` bytes is another one by now.
    async fn keep_changed(size: u64) -> (tempfile::TempDir, ObjectStore, Content, PublishError) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("a")).unwrap().set_len(size).unwrap();
        let store: ObjectStore = Arc::new(object_store::memory::InMemory::new());
        let tree = Arc::new(Tree::open(folder.path()).unwrap());
        let content = |hash: &str| Content {
            hash: hash.to_owned(),
            size,
            path: "/a".to_owned(),
            source: PathBuf::from("a"),
            compressible: true,
        };
        let hash = blake3::hash(b"what was hashed").to_hex();
        let error = Blobs::new(store.clone(), tree).keep_all(vec![content(&hash)]).await.unwrap_err();
        (folder, store, content(&hash), error)
    }

    #[tokio::test]
    async fn a_file_that_changed_since_it_was_hashed_is_not_stored_under_the_hash() {
        for size in [1000, WHOLE + 1] {
            let (_folder, store, content, error) = keep_changed(size).await;
            assert_eq!(error.code(), "site_changed", "{size}");
            assert_eq!(blob::size(&store, &blob_key(&content.hash, None)).await.unwrap(), None, "{size}");
        }
    }
}

//! An uploaded archive: from the store to a temporary file, and unpacked from there.

use std::path::Path;

use common::id::UploadId;
use common::source::{source_key, upload_key};
use futures::TryStreamExt as _;
use logs::Log;
use object_store::ObjectStoreExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::work::{blocking, parent};
use crate::{ArchiveError, FetchError, Fetched, Fetcher, archive};

impl Fetcher {
    pub(crate) async fn upload(&self, upload: &UploadId, into: &Path, log: &Log) -> Result<Fetched, FetchError> {
        let all = async {
            let file = self.download(upload, into).await?;
            let (into, limits) = (into.to_owned(), self.limits);
            blocking(move |canceled| archive::unpack(file, &into, &limits, canceled)).await
        };
        let unpacked =
            tokio::time::timeout(self.limits.wall, all).await.map_err(|_| FetchError::Timeout(self.limits.wall))??;
        log.say(format!("Unpacked {unpacked}.")).await;
        Ok(Fetched { commit: None })
    }

    /// Copies the archive into a file without a name, which is gone as soon as it is closed, whatever happens.
    async fn download(&self, upload: &UploadId, into: &Path) -> Result<std::fs::File, FetchError> {
        let mut archive = self.store.get(&source_key(upload).into()).await;
        if matches!(archive, Err(object_store::Error::NotFound { .. })) {
            // Where the versions before this one left it.
            archive = self.store.get(&upload_key(upload).into()).await;
        }
        let archive = archive.map_err(|error| match error {
            object_store::Error::NotFound { .. } => FetchError::UploadMissing,
            error => FetchError::StoreAway(error),
        })?;
        // What does not fit when packed does not fit when unpacked.
        let limit = self.limits.bytes;
        if archive.meta.size > limit {
            return Err(ArchiveError::TooLarge { limit }.into());
        }
        let beside = parent(into)?.to_owned();
        let mut file = tokio::fs::File::from_std(blocking(move |_| tempfile::tempfile_in(beside)).await?);
        let mut room = archive.meta.size;
        let mut chunks = archive.into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(FetchError::StoreAway)? {
            room = room.checked_sub(chunk.len() as u64).ok_or(ArchiveError::TooLarge { limit })?;
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        Ok(file.into_std().await)
    }
}

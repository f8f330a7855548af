//! Source archives on their way: a place to put one, and its acceptance as the source of a deployment.
//!
//! Where the store can sign, archives go straight to it; else to the control plane's own address. A signed URL bounds
//! neither the archive's size nor how often it is written, so an archive that is deployed is copied within the store
//! first, to where no URL leads, and the copy is judged.

use std::sync::Arc;
use std::time::Duration;

use common::api::Upload;
use common::blob::{self, BlobError, DirectUploads, ObjectStore};
use common::id::UploadId;
use common::source::{source_key, upload_key};
use common::time::Timestamp;
use object_store::ObjectStoreExt as _;
use url::Url;

use crate::store::{Store, StoreError};

mod signer;

pub use signer::Signer;

/// How long an upload URL works: an upload has to begin within this time.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// For an upload that began in time to end, and to be deployed. What is not deployed then is removed.
const DEPLOY_WITHIN: Duration = Duration::from_secs(60 * 60);
/// Abandoned uploads that are removed in one go.
const REMOVED_AT_ONCE: u32 = 100;

/// Where archives go. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    rows: Store,
    objects: ObjectStore,
    direct: Option<Arc<dyn DirectUploads>>,
    signer: Signer,
    max_bytes: u64,
    most_pending: u32,
}

/// Why an upload is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Others are to be deployed first.
    #[error(
        "{most} uploads wait to be deployed already, the most that may. Deploy one of them, or try again after \
         {again_at}, when the first of them is removed."
    )]
    TooManyPending {
        /// How many may wait.
        most: u32,
        /// When the first is removed.
        again_at: Timestamp,
    },
    /// Nothing was put there, or it is gone again.
    #[error(
        "The upload {0} holds no archive: PUT the ZIP to its URL first, and deploy it within an hour. An older one has \
         to be uploaded again."
    )]
    Missing(UploadId),
    /// More than is accepted.
    #[error("The archive is larger than {} MiB, the most that is accepted. Leave out what is not source.", .0 >> 20)]
    TooLarge(u64),
    /// The database failed.
    #[error(transparent)]
    Rows(#[from] StoreError),
    /// The object store failed.
    #[error(transparent)]
    Objects(#[from] BlobError),
}

impl Uploads {
    pub fn new(rows: Store, ports: &crate::Ports, config: &crate::Config) -> Self {
        Self {
            rows,
            objects: ports.store.clone(),
            direct: ports.uploads.clone(),
            signer: Signer::new(config.keys.newest()),
            max_bytes: config.max_upload_bytes,
            most_pending: config.max_pending_uploads,
        }
    }

    /// Largest archive accepted, bytes.
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Where archives go straight to, for pages that may connect to nothing else.
    pub fn origin(&self) -> Option<String> {
        self.direct.as_ref().map(|direct| direct.origin())
    }

    /// Makes a place for an archive, below `api` where the store signs none.
    ///
    /// # Errors
    /// When too many wait already, or a part is away.
    pub async fn create(&self, api: &Url) -> Result<Upload, UploadError> {
        let id = UploadId::new();
        let expires_at = Timestamp::now().after(LIFETIME);
        if !self.rows.add_pending_upload(&id, expires_at, self.most_pending).await? {
            self.remove_abandoned(Timestamp::now()).await?;
            if !self.rows.add_pending_upload(&id, expires_at, self.most_pending).await? {
                let first = self.rows.first_pending_upload().await?.unwrap_or(expires_at);
                let again_at = first.after(DEPLOY_WITHIN);
                return Err(UploadError::TooManyPending { most: self.most_pending, again_at });
            }
        }
        let (url, headers, direct) = match &self.direct {
            Some(direct) => {
                let signed = direct.sign_put(&upload_key(&id), LIFETIME).await?;
                (signed.url, signed.headers.into_iter().collect(), true)
            }
            None => (self.signer.sign(api, &id, expires_at), Default::default(), false),
        };
        let (method, max_bytes) = ("PUT".to_owned(), self.max_bytes);
        Ok(Upload { id, method, url, headers, direct, expires_at, max_bytes })
    }

    /// Whether a URL of the control plane's own is good for an upload now.
    pub fn check(&self, id: &UploadId, expires: i64, signature: &str) -> bool {
        self.signer.check(id, expires, signature)
    }

    /// Makes an upload a source that nobody can change any more. One that became so a short while ago stays.
    ///
    /// # Errors
    /// When there is no archive, it is too large, or a part is away.
    pub async fn accept(&self, id: &UploadId) -> Result<(), UploadError> {
        match self.accepted_at(id).await? {
            None => self.copy(id).await?,
            // It may be garbage by now: only deployments that have it already keep it.
            Some(at) if at.after(LIFETIME + DEPLOY_WITHIN) < Timestamp::now() => {
                return Err(UploadError::Missing(id.clone()));
            }
            Some(_) => {}
        }
        blob::delete(&self.objects, &upload_key(id)).await?;
        Ok(self.rows.remove_pending_upload(id).await?)
    }

    /// When an upload became a source, or was uploaded; nothing when it is none.
    async fn accepted_at(&self, id: &UploadId) -> Result<Option<Timestamp>, UploadError> {
        match self.objects.head(&source_key(id).into()).await {
            Ok(meta) => Ok(Some(Timestamp::from_millis(meta.last_modified.timestamp_millis()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(BlobError::from(e).into()),
        }
    }

    async fn copy(&self, id: &UploadId) -> Result<(), UploadError> {
        let (upload, source) = (upload_key(id), source_key(id));
        match blob::size(&self.objects, &upload).await? {
            None => return Err(UploadError::Missing(id.clone())),
            Some(size) if size > self.max_bytes => return self.refuse(id).await,
            Some(_) => {}
        }
        match blob::copy(&self.objects, &upload, &source).await {
            Ok(()) => {}
            Err(e) if e.is_not_found() => return Err(UploadError::Missing(id.clone())),
            Err(e) => return Err(e.into()),
        }
        // Its URL may have been used again since.
        if blob::size(&self.objects, &source).await?.is_none_or(|size| size > self.max_bytes) {
            blob::delete(&self.objects, &source).await?;
            return self.refuse(id).await;
        }
        Ok(())
    }

    async fn refuse(&self, id: &UploadId) -> Result<(), UploadError> {
        blob::delete(&self.objects, &upload_key(id)).await?;
        Err(UploadError::TooLarge(self.max_bytes))
    }

    /// Removes uploads that nobody deployed in time.
    ///
    /// # Errors
    /// When a part is away.
    pub async fn remove_abandoned(&self, now: Timestamp) -> Result<(), UploadError> {
        loop {
            let old = self.rows.pending_uploads_before(now.before(DEPLOY_WITHIN), REMOVED_AT_ONCE).await?;
            for id in &old {
                blob::delete(&self.objects, &upload_key(id)).await?;
                self.rows.remove_pending_upload(id).await?;
            }
            if old.is_empty() {
                return Ok(());
            }
            tracing::info!(uploads = old.len(), "abandoned uploads were removed");
        }
    }
}

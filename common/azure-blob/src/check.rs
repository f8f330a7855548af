//! Whether this identity may do what the platform does.

use std::time::Duration;

use bytes::Bytes;
use common::blob::{self, BlobError, DirectUploads as _};
use http::Method;
use http::header::CONTENT_LENGTH;
use object_store::client::HttpRequestBody;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutPayload};

use crate::{AzureBlob, AzureBlobError, redacted};

/// Where the check writes; nothing of the platform's lies there.
const FOLDER: &str = "setup-check";
/// Long enough for the one request that it is for.
const LIFETIME: Duration = Duration::from_secs(60);

impl AzureBlob {
    /// Writes, reads, copies and deletes small objects as the platform does.
    ///
    /// # Errors
    /// What this identity may not, or what does not work.
    pub async fn check(&self) -> Result<(), AzureBlobError> {
        let store = self.port();
        let name = format!("{FOLDER}/{}", common::id::UploadId::new());
        let (one, two) = (format!("{name}-a"), format!("{name}-b"));
        let (from, to) = (Path::from(one.as_str()), Path::from(two.as_str()));
        let denied = |what: &'static str| {
            let container = self.service.address.container().to_owned();
            move |e: BlobError| told(e, what, &container)
        };
        blob::put(&store, &one, Bytes::from_static(b"0123456789")).await.map_err(denied("write objects"))?;
        let again = store.put_opts(&from, PutPayload::from_static(b"x"), PutMode::Create.into()).await;
        if !matches!(again, Err(Error::AlreadyExists { .. })) {
            return Err(AzureBlobError::Check("an object that is there was made a second time".to_owned()));
        }
        let part = store.get_range(&from, 3..6).await.map_err(|e| denied("read objects")(e.into()))?;
        if part != "345" {
            return Err(AzureBlobError::Check("a part of an object is not what was asked for".to_owned()));
        }
        store.copy(&from, &to).await.map_err(|e| denied("copy objects")(e.into()))?;
        for key in [&one, &two] {
            blob::delete(&store, key).await.map_err(denied("delete objects"))?;
        }
        Ok(())
    }

    /// Signs a URL and PUTs to it as a browser would.
    ///
    /// # Errors
    /// When URLs can't be signed, or are not good for an upload.
    pub async fn check_upload(&self) -> Result<(), AzureBlobError> {
        let key = format!("{FOLDER}/{}", common::id::UploadId::new());
        let signed = self.sign_put(&key, LIFETIME).await.map_err(|e| AzureBlobError::Forbidden {
            what: "sign upload URLs",
            said: redacted(&e.to_string()),
            remedy: "give it the role Storage Blob Data Contributor (or Storage Blob Delegator) on the account itself, \
                     not on the container alone",
        })?;
        let mut request = http::Request::builder().method(Method::PUT).uri(signed.url.as_str());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let body = HttpRequestBody::from(Bytes::from_static(b"0123456789"));
        let request = request
            .header(CONTENT_LENGTH, body.content_length())
            .body(body)
            .map_err(|e| AzureBlobError::Check(redacted(&e.to_string())))?;
        let unreachable = |e: object_store::client::HttpError| AzureBlobError::Unreachable {
            endpoint: self.service.address.endpoint().to_owned(),
            detail: redacted(&e.to_string()),
        };
        let status = self.service.http.execute(request).await.map_err(unreachable)?.status();
        if !status.is_success() {
            return Err(AzureBlobError::Check(format!("a signed upload URL was answered with HTTP {status}")));
        }
        blob::delete(&self.port(), &key).await.map_err(|e| AzureBlobError::Check(redacted(&e.to_string())))
    }
}

fn told(error: BlobError, what: &'static str, container: &str) -> AzureBlobError {
    match error {
        BlobError::Store(Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. }) => {
            AzureBlobError::Forbidden {
                what,
                said: redacted(source.to_string().lines().next().unwrap_or_default()),
                remedy: "give it the role Storage Blob Data Contributor, or a SAS with the permissions racwdl",
            }
        }
        BlobError::Store(Error::NotFound { .. }) => AzureBlobError::NoContainer(container.to_owned()),
        BlobError::Store(e) => e.into(),
        other => AzureBlobError::Check(other.to_string()),
    }
}

//! The port: `object_store`'s adapter, which shows its credential to whoever prints it, behind a type that does not.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use object_store::azure::MicrosoftAzure;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use crate::service::Service;

/// Objects that are deleted at one time, where each takes a request.
const DELETES: usize = 16;
/// What errors of `object_store` call the store.
const STORE: &str = "MicrosoftAzure";

/// A container as an object store.
#[derive(Clone)]
pub struct Container {
    pub azure: MicrosoftAzure,
    /// Deletes each object by a request of its own, for a SAS: its batches need a signature in each part, which
    /// emulators refuse, and a permission more.
    pub one_by_one: Option<Service>,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.azure.fmt(f)
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for Container {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.azure.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.azure.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.azure.get_opts(from, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let Some(service) = self.one_by_one.clone() else { return self.azure.delete_stream(paths) };
        let deleted = paths.map(move |path| {
            let service = service.clone();
            async move { delete(&service, path?).await }
        });
        deleted.buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.azure.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.azure.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.azure.copy_opts(from, to, options).await
    }
}

/// <https://learn.microsoft.com/rest/api/storageservices/delete-blob>
async fn delete(service: &Service, path: Path) -> Result<Path> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic { store: STORE, source };
    let mut url = Url::parse(service.address.endpoint()).map_err(|e| failed(e.into()))?;
    url.path_segments_mut()
        .map_err(|()| failed("the endpoint is no base of addresses".into()))?
        .push(service.address.container())
        .extend(path.parts());
    let target = url.as_str().strip_prefix(service.address.endpoint()).unwrap_or_default();
    let answer = service.ask(Method::DELETE, target, String::new()).await.map_err(|e| failed(e.into()))?;
    match answer.status {
        StatusCode::ACCEPTED => Ok(path),
        StatusCode::NOT_FOUND => Err(Error::NotFound { path: path.to_string(), source: answer.said().into() }),
        StatusCode::FORBIDDEN => Err(Error::PermissionDenied { path: path.to_string(), source: answer.said().into() }),
        _ => Err(failed(answer.said().into())),
    }
}

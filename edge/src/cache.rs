//! What the edge keeps in memory of the object store: manifests and small bodies. Each is read once,
//! however many requests ask for it at the same moment.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::blob::ObjectStore;
use common::id::DeploymentId;
use common::manifest::{self, Manifest};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::HeaderValue;
use moka::future::Cache as Moka;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};

use crate::site::{Form, Site};

/// Largest body that is kept whole, in bytes. Larger ones are few, would push out many small ones, and cost
/// little per byte to stream.
pub(crate) const MAX_WHOLE: u64 = 1 << 20;
/// Largest manifest in bytes: some hundred thousand files.
const MAX_MANIFEST: u64 = 128 << 20;
/// Part of the memory that manifests may take; the rest is for bodies.
const MANIFESTS_SHARE: u64 = 4;
/// Memory that an entry takes beside its bytes, roughly.
const ENTRY_OVERHEAD: usize = 256;
/// Bytes read from a file at once: large enough that the hop to a blocking thread is cheap beside it.
const PIECE: u64 = 256 << 10;

/// Why an object can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("it does not exist")]
    Missing,
    #[error("{0}")]
    Store(object_store::Error),
    #[error("the store did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("it has {actual} bytes instead of {expected}")]
    Size { expected: u64, actual: u64 },
    #[error("it is larger than {MAX_MANIFEST} bytes")]
    TooLarge,
    #[error("it is no manifest: {0}")]
    Manifest(String),
    #[error("it can't be read: {0}")]
    Read(#[from] std::io::Error),
}

impl LoadError {
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl From<object_store::Error> for LoadError {
    fn from(e: object_store::Error) -> Self {
        match e {
            object_store::Error::NotFound { .. } => Self::Missing,
            e => Self::Store(e),
        }
    }
}

/// A whole body, with the header fields that depend on nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) length: HeaderValue,
    pub(crate) tag: HeaderValue,
}

/// The caches before the object store.
#[derive(Clone)]
pub(crate) struct Cache {
    store: ObjectStore,
    sites: Moka<DeploymentId, Arc<Site>>,
    bodies: Moka<Form, Body>,
    timeout: Duration,
}

impl Cache {
    pub(crate) fn new(store: ObjectStore, bytes: u64, timeout: Duration) -> Self {
        let weight = |len: usize| u32::try_from(len.saturating_add(ENTRY_OVERHEAD)).unwrap_or(u32::MAX);
        let manifests = bytes / MANIFESTS_SHARE;
        Self {
            store,
            sites: Moka::builder()
                .max_capacity(manifests)
                .weigher(move |_, site: &Arc<Site>| weight(site.memory()))
                .build(),
            bodies: Moka::builder()
                .max_capacity(bytes - manifests)
                .weigher(move |_, body: &Body| weight(body.bytes.len()))
                .build(),
            timeout,
        }
    }

    /// The files of a deployment.
    pub(crate) async fn site(&self, deployment: &DeploymentId) -> Result<Arc<Site>, Arc<LoadError>> {
        match self.sites.get(deployment).await {
            Some(site) => Ok(site),
            None => Box::pin(self.sites.try_get_with_by_ref(deployment, self.load_site(deployment))).await,
        }
    }

    async fn load_site(&self, deployment: &DeploymentId) -> Result<Arc<Site>, LoadError> {
        let found = self.get(&manifest::manifest_key(deployment), None).await?;
        if found.meta.size > MAX_MANIFEST {
            return Err(LoadError::TooLarge);
        }
        let bytes = self.in_time(found.bytes()).await?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| LoadError::Manifest(e.to_string()))?;
        Site::new(manifest).map(Arc::new).map_err(|e| LoadError::Manifest(e.to_string()))
    }

    /// A body of at most [`MAX_WHOLE`] bytes.
    pub(crate) async fn body(&self, form: Form, size: u64) -> Result<Body, Arc<LoadError>> {
        match self.bodies.get(&form).await {
            Some(body) => Ok(body),
            None => Box::pin(self.bodies.try_get_with(form, self.load_body(form, size))).await,
        }
    }

    async fn load_body(&self, form: Form, size: u64) -> Result<Body, LoadError> {
        let found = self.get(&form.key(), None).await?;
        sized(size, found.meta.size)?;
        let bytes = self.in_time(found.bytes()).await?;
        sized(size, bytes.len() as u64)?;
        Ok(Body { length: bytes.len().into(), tag: form.tag().value(), bytes })
    }

    /// Part of a body of any size, in pieces.
    pub(crate) async fn open(&self, form: Form, size: u64, range: Range<u64>) -> Result<Pieces, LoadError> {
        let found = self.get(&form.key(), Some(range.clone())).await?;
        sized(size, found.meta.size)?;
        let source = match found.payload {
            GetResultPayload::File(mut file, _) => {
                let start = range.start;
                let seek = move || std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).map(|_| file);
                PieceSource::File(Some(blocking(seek).await?))
            }
            GetResultPayload::Stream(stream) => PieceSource::Stream(stream),
        };
        Ok(Pieces { source, left: range.end - range.start, timeout: self.timeout })
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<GetResult, LoadError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        self.in_time(self.store.get_opts(&Path::from(key), options)).await
    }

    async fn in_time<T, E: Into<LoadError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, LoadError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(LoadError::Timeout(self.timeout)),
        }
    }
}

fn sized(expected: u64, actual: u64) -> Result<(), LoadError> {
    if expected == actual { Ok(()) } else { Err(LoadError::Size { expected, actual }) }
}

/// A body that is read as it is sent.
pub(crate) struct Pieces {
    source: PieceSource,
    left: u64,
    timeout: Duration,
}

enum PieceSource {
    /// Lent to the thread that reads; absent only after a read failed.
    File(Option<std::fs::File>),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
}

impl Pieces {
    /// The next piece; `None` when all was read.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LoadError> {
        if self.left == 0 {
            return Ok(None);
        }
        let (left, limit) = (self.left, self.timeout);
        let read = tokio::time::timeout(limit, self.source.read(left));
        let piece = read.await.map_err(|_| LoadError::Timeout(limit))??;
        let len = piece.len() as u64;
        if len == 0 || len > left {
            return Err(LoadError::Size { expected: left, actual: len });
        }
        self.left -= len;
        Ok(Some(piece))
    }
}

impl PieceSource {
    async fn read(&mut self, left: u64) -> Result<Bytes, LoadError> {
        match self {
            Self::Stream(stream) => Ok(stream.next().await.transpose()?.unwrap_or_default()),
            Self::File(file) => {
                let mut source = file.take().ok_or(LoadError::Missing)?;
                let read = move || {
                    let wanted = left.min(PIECE);
                    let mut bytes = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
                    std::io::Read::read_to_end(&mut std::io::Read::take(&mut source, wanted), &mut bytes)?;
                    Ok((source, bytes))
                };
                let (source, bytes) = blocking(read).await?;
                *file = Some(source);
                Ok(bytes.into())
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

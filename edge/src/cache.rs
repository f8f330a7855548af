//! What the edge keeps in memory of the object store: manifests and small bodies. Each is read once,
//! however many requests ask for it at the same moment.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::blob::ObjectStore;
use common::id::DeploymentId;
use common::manifest::{self, Manifest};
use http::HeaderValue;
use moka::future::Cache as Moka;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult};

use crate::site::{Form, Site};

mod gate;
mod pieces;

use gate::{Full, Gate, Pass};
use pieces::Reader;
pub(crate) use pieces::{FilePart, Pieces};

/// Largest body that is kept whole, in bytes. Larger ones are few, would push out many small ones, and cost
/// little per byte to stream.
pub(crate) const MAX_WHOLE: u64 = 1 << 20;
/// Largest manifest in bytes: some hundred thousand files.
const MAX_MANIFEST: u64 = 128 << 20;
/// Part of the memory that manifests may take; the rest is for bodies.
const MANIFESTS_SHARE: u64 = 4;
/// Memory that an entry takes beside its bytes, roughly.
const ENTRY_OVERHEAD: usize = 256;
/// Why an object can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("it does not exist")]
    Missing,
    #[error("{0}")]
    Store(object_store::Error),
    #[error("the store did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("too much of the project's is being read already")]
    Full,
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

impl From<Full> for LoadError {
    fn from(Full: Full) -> Self {
        Self::Full
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
    gate: Gate,
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
            gate: Gate::new(),
            timeout,
        }
    }

    /// The files of a project's deployment.
    pub(crate) async fn site(
        &self,
        project: &Arc<str>,
        deployment: &DeploymentId,
    ) -> Result<Arc<Site>, Arc<LoadError>> {
        match self.sites.get(deployment).await {
            Some(site) => Ok(site),
            None => Box::pin(self.sites.try_get_with_by_ref(deployment, self.load_site(project, deployment))).await,
        }
    }

    async fn load_site(&self, project: &Arc<str>, deployment: &DeploymentId) -> Result<Arc<Site>, LoadError> {
        let pass = self.enter(project).await?;
        let found = self.get(&pass, &manifest::manifest_key(deployment), None).await?;
        if found.meta.size > MAX_MANIFEST {
            return Err(LoadError::TooLarge);
        }
        let bytes = self.read(&pass, found.bytes()).await?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| LoadError::Manifest(e.to_string()))?;
        Site::new(manifest).map(Arc::new).map_err(|e| LoadError::Manifest(e.to_string()))
    }

    /// A body of at most [`MAX_WHOLE`] bytes, read for a project.
    pub(crate) async fn body(&self, project: &Arc<str>, form: Form, size: u64) -> Result<Body, Arc<LoadError>> {
        match self.bodies.get(&form).await {
            Some(body) => Ok(body),
            None => Box::pin(self.bodies.try_get_with(form, self.load_body(project, form, size))).await,
        }
    }

    async fn load_body(&self, project: &Arc<str>, form: Form, size: u64) -> Result<Body, LoadError> {
        let pass = self.enter(project).await?;
        let found = self.get(&pass, &form.key(), None).await?;
        sized(size, found.meta.size)?;
        let bytes = self.read(&pass, found.bytes()).await?;
        sized(size, bytes.len() as u64)?;
        Ok(Body { length: bytes.len().into(), tag: form.tag().value(), bytes })
    }

    /// Part of a body of any size, in pieces, read for a project.
    pub(crate) async fn open(
        &self,
        project: &Arc<str>,
        form: Form,
        size: u64,
        range: Range<u64>,
    ) -> Result<Pieces, LoadError> {
        let pass = self.enter(project).await?;
        let found = self.get(&pass, &form.key(), Some(range.clone())).await?;
        sized(size, found.meta.size)?;
        let reader = Reader { gate: self.gate.clone(), project: Arc::clone(project) };
        Ok(Pieces::new(found.payload, range.start, range.end - range.start, self.timeout, reader))
    }

    /// A body of this size as a file, where the store is a folder of this machine.
    pub(crate) async fn file(&self, project: &Arc<str>, form: Form, size: u64) -> Result<Option<FilePart>, LoadError> {
        let pass = self.enter(project).await?;
        let found = self.get(&pass, &form.key(), None).await?;
        sized(size, found.meta.size)?;
        Ok(FilePart::whole(found.payload, size))
    }

    async fn enter(&self, project: &Arc<str>) -> Result<Arc<Pass>, LoadError> {
        self.in_time(self.gate.enter(project)).await.map(Arc::new)
    }

    async fn get(&self, pass: &Arc<Pass>, key: &str, range: Option<Range<u64>>) -> Result<GetResult, LoadError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let (store, key) = (Arc::clone(&self.store), Path::from(key));
        self.read(pass, async move { store.get_opts(&key, options).await }).await
    }

    /// Reads in a task of its own, which holds the pass to its end.
    async fn read<T: Send + 'static>(
        &self,
        pass: &Arc<Pass>,
        work: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> Result<T, LoadError> {
        let held = Arc::clone(pass);
        let task = tokio::spawn(async move {
            let result = work.await;
            drop(held);
            result
        });
        let done = self.in_time(async { task.await.map_err(std::io::Error::other) }).await;
        Ok(done.inspect_err(|_| pass.is_overdue())??)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fmt;
    use std::sync::Mutex;

    use async_trait::async_trait;
    use common::blob;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{
        CopyOptions, ListResult, MultipartUpload, ObjectMeta, ObjectStore as Port, PutMultipartOptions, PutOptions,
        PutPayload, PutResult,
    };
    use tokio::sync::Semaphore;

    use super::*;

    fn project() -> Arc<str> {
        "p".into()
    }

    const LIMIT: Duration = Duration::from_secs(1);

    /// A store in memory that notes what is read, and reads only what it is let.
    #[derive(Debug)]
    struct Gated {
        inner: InMemory,
        gate: Semaphore,
        reads: Mutex<Vec<String>>,
    }

    impl fmt::Display for Gated {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("gated")
        }
    }

    #[async_trait]
    impl Port for Gated {
        async fn put_opts(&self, to: &Path, p: PutPayload, o: PutOptions) -> object_store::Result<PutResult> {
            self.inner.put_opts(to, p, o).await
        }
        async fn put_multipart_opts(
            &self,
            to: &Path,
            o: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(to, o).await
        }
        async fn get_opts(&self, from: &Path, o: GetOptions) -> object_store::Result<GetResult> {
            self.reads.lock().unwrap().push(from.to_string());
            self.gate.acquire().await.unwrap().forget();
            self.inner.get_opts(from, o).await
        }
        fn delete_stream(
            &self,
            all: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.inner.delete_stream(all)
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.inner.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, o: CopyOptions) -> object_store::Result<()> {
            self.inner.copy_opts(from, to, o).await
        }
    }

    async fn gated(bytes: u64, hashes: Range<u8>, size: usize) -> (Arc<Gated>, Cache) {
        let store = Gated { inner: InMemory::new(), gate: Semaphore::new(0), reads: Mutex::default() };
        let store = Arc::new(store);
        let port: ObjectStore = store.clone();
        for hash in hashes {
            blob::put(&port, &Form::of(hash).key(), vec![hash; size].into()).await.unwrap();
        }
        (store, Cache::new(port, bytes, LIMIT))
    }

    #[tokio::test]
    async fn a_body_that_many_ask_for_at_once_is_read_once() {
        let (store, cache) = gated(1 << 20, 0..1, 10).await;
        let (bodies, ()) = tokio::join!(
            futures::future::join_all((0..50).map(async |_| cache.body(&project(), Form::of(0), 10).await)),
            async {
                store.gate.add_permits(50);
            }
        );
        assert!(bodies.into_iter().all(|b| b.unwrap().bytes == vec![0; 10]));
        assert_eq!(*store.reads.lock().unwrap(), [Form::of(0).key()]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_given_up_and_asked_again() {
        let (store, cache) = gated(1 << 20, 0..1, 10).await;
        let hung = cache.body(&project(), Form::of(0), 10).await.unwrap_err();
        assert!(matches!(*hung, LoadError::Timeout(LIMIT)));
        // One for the read that nobody waits for any more: it goes on in the background.
        store.gate.add_permits(2);
        assert!(cache.body(&project(), Form::of(0), 10).await.is_ok());
    }

    #[tokio::test]
    async fn bodies_take_no_more_memory_than_allowed() {
        let size = 10_000;
        let (store, cache) = gated(40 * size, 0..200, 10_000).await;
        store.gate.add_permits(200);
        for hash in 0..200 {
            cache.body(&project(), Form::of(hash), size).await.unwrap();
        }
        cache.bodies.run_pending_tasks().await;
        assert!(cache.bodies.weighted_size() <= 40 * size);
        assert!(cache.bodies.entry_count() > 0);
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_whole_or_an_error() {
        let (store, cache) = gated(1 << 20, 0..1, 1000).await;
        store.gate.add_permits(3);
        let mut all = Vec::new();
        let mut pieces = cache.open(&project(), Form::of(0), 1000, 10..1000).await.unwrap();
        while let Some(piece) = pieces.next().await.unwrap() {
            all.extend(piece);
        }
        assert_eq!(all.len(), 990);
        let wrong = cache.open(&project(), Form::of(0), 2000, 0..1000).await.err().unwrap();
        assert!(matches!(wrong, LoadError::Size { expected: 2000, actual: 1000 }));
        let missing = cache.open(&project(), Form::of(9), 1000, 0..1000).await.err().unwrap();
        assert!(missing.is_missing());
    }
}

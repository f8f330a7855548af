//! An object store that hangs or is gone.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::blob::ObjectStore;
use common::manifest;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore as Port,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::testkit::{World, field, file, hash, soon};

/// A store of which some objects hang when they are read.
#[derive(Debug)]
struct Hanging {
    inner: ObjectStore,
    hung: Mutex<Vec<Path>>,
}

impl fmt::Display for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hanging")
    }
}

#[async_trait]
impl Port for Hanging {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(to, payload, options).await
    }

    async fn put_multipart_opts(&self, to: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        if self.hung.lock().unwrap().contains(from) {
            std::future::pending::<()>().await;
        }
        self.inner.get_opts(from, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// More visitors than one project's reads and those that may wait for them.
const VISITORS: usize = 400;
/// Names of that many files.
static PATHS: std::sync::LazyLock<Vec<String>> =
    std::sync::LazyLock::new(|| (0..VISITORS).map(|number| format!("/{number}.txt")).collect());

#[tokio::test]
async fn a_project_whose_objects_hang_is_told_so_and_others_do_not_notice() {
    let mut hanging = None;
    let world = World::start_before(
        |config| config.timeouts.store = Duration::from_secs(3600),
        |inner| {
            let store = Arc::new(Hanging { inner, hung: Mutex::default() });
            hanging = Some(Arc::clone(&store));
            store
        },
    )
    .await;
    let files = PATHS.iter().map(|path| file(path, path.as_bytes())).collect();
    world.site("slow", files, false).await;
    world.site("blog", vec![file("/hot.txt", "hot"), file("/cold.txt", "cold")], false).await;
    assert_eq!(world.get("blog", "/hot.txt").send().await.unwrap().text().await.unwrap(), "hot");
    let key = |path: &String| Path::from(manifest::blob_key(&hash(path.as_bytes()), None));
    *hanging.unwrap().hung.lock().unwrap() = PATHS.iter().map(key).collect();

    // Those beyond the bound are told at once; the others wait as long as the store may take.
    let (told, mut refused) = tokio::sync::mpsc::unbounded_channel();
    let visitors: Vec<_> = PATHS
        .iter()
        .map(|path| {
            let (request, told) = (world.get("slow", path), told.clone());
            tokio::spawn(async move { told.send(request.send().await.unwrap()).unwrap() })
        })
        .collect();
    for _ in 0..50 {
        let answer = soon(refused.recv()).await.unwrap();
        assert_eq!((answer.status().as_u16(), field(&answer, "retry-after")), (503, "2"));
    }
    assert_eq!(soon(world.get("blog", "/hot.txt").send()).await.unwrap().text().await.unwrap(), "hot");
    assert_eq!(soon(world.get("blog", "/cold.txt").send()).await.unwrap().text().await.unwrap(), "cold");
    visitors.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn without_control_plane_and_store_what_is_in_memory_is_served_and_a_cold_file_is_told_at_once() {
    let world = World::start().await;
    world.site("blog", vec![file("/hot.txt", "hot"), file("/cold.txt", "cold")], false).await;
    assert_eq!(world.get("blog", "/hot.txt").send().await.unwrap().text().await.unwrap(), "hot");
    world.control_plane.stop();
    let store = world.folder.path().join("store");
    std::fs::rename(&store, world.folder.path().join("aside")).unwrap();
    // Not an absent folder, in which a file just would not exist, but one that can't be read.
    std::fs::write(&store, "").unwrap();
    for _ in 0..2 {
        assert_eq!(soon(world.get("blog", "/hot.txt").send()).await.unwrap().text().await.unwrap(), "hot");
        let cold = soon(world.get("blog", "/cold.txt").send()).await.unwrap();
        assert_eq!((cold.status().as_u16(), field(&cold, "retry-after")), (503, "2"));
    }
}

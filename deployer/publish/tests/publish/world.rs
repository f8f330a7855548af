//! A folder to publish and a store to publish it to.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::manifest::{Encoding, Manifest, blob_key, manifest_key};
use publish::{Limits, PublishError, Published, Site, publish};
use tempfile::TempDir;

pub struct World {
    temporary: TempDir,
    pub store: ObjectStore,
}

impl World {
    /// An empty folder and an empty store.
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        for name in ["site", "store", "outside"] {
            std::fs::create_dir(temporary.path().join(name)).unwrap();
        }
        let url = url::Url::from_directory_path(temporary.path().join("store")).unwrap();
        Self { store: blob::open(&url).unwrap(), temporary }
    }

    /// With these files in the folder.
    pub fn with<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let world = Self::new();
        for (path, content) in files {
            world.write(path, content);
        }
        world
    }

    /// The folder that is published, or a path below it.
    pub fn site(&self, path: &str) -> PathBuf {
        self.temporary.path().join("site").join(path)
    }

    /// A path below a folder beside the one that is published.
    pub fn outside(&self, path: &str) -> PathBuf {
        self.temporary.path().join("outside").join(path)
    }

    /// A path below the store's folder.
    pub fn stored(&self, path: &str) -> PathBuf {
        self.temporary.path().join("store").join(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.site(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.site(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub async fn publish(&self) -> (Manifest, Published) {
        let (_, manifest, published) = self.publish_after(None).await;
        (manifest, published)
    }

    pub async fn publish_after(&self, previous: Option<&DeploymentId>) -> (DeploymentId, Manifest, Published) {
        let deployment = DeploymentId::new();
        let site = Site { folder: &self.site(""), single_page: true, deployment: &deployment, previous };
        let published = publish(&self.store, site, &Limits::default()).await.unwrap();
        let manifest = self.manifest(&deployment).await.unwrap();
        (deployment, manifest, published)
    }

    /// Publishes what must be refused, and checks that no manifest is there.
    pub async fn refused(&self, limits: &Limits) -> PublishError {
        let deployment = DeploymentId::new();
        let site = Site { folder: &self.site(""), single_page: false, deployment: &deployment, previous: None };
        let error = publish(&self.store, site, limits).await.unwrap_err();
        assert_eq!(self.manifest(&deployment).await, None);
        error
    }

    pub async fn manifest(&self, deployment: &DeploymentId) -> Option<Manifest> {
        match blob::get(&self.store, &manifest_key(deployment)).await {
            Ok(json) => Some(serde_json::from_slice(&json).unwrap()),
            Err(e) => {
                assert!(e.is_not_found(), "{e}");
                None
            }
        }
    }

    pub async fn blob(&self, hash: &str, encoding: Option<Encoding>) -> Bytes {
        blob::get(&self.store, &blob_key(hash, encoding)).await.unwrap()
    }

    /// Every stored blob, with what changes when it is written again.
    pub fn blobs(&self) -> BTreeMap<PathBuf, (u64, i64, i64)> {
        let mut blobs = BTreeMap::new();
        let mut folders = vec![self.stored("blobs")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    blobs.insert(entry.path(), (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
                }
            }
        }
        blobs
    }
}

/// What a browser makes of a variant.
pub fn decoded(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    /// Log2 of the largest window that browsers accept for zstd.
    const BROWSERS_WINDOW: u32 = 23;
    let mut content = Vec::new();
    match encoding {
        Encoding::Br => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content).unwrap(),
        Encoding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content).unwrap(),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::new(bytes).unwrap();
            decoder.window_log_max(BROWSERS_WINDOW).unwrap();
            decoder.read_to_end(&mut content).unwrap()
        }
    };
    content
}

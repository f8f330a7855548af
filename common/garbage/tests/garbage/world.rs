//! A store, a clock, and a database of a few deployments.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::blob::{self, ObjectStore};
use common::id::{DeploymentId, UploadId};
use common::manifest::{Encoding, File, Manifest, blob_key, manifest_key};
use common::time::Timestamp;
use garbage::{GarbageError, Intent, Records, Report, Settings};
use object_store::path::Path;
use object_store::{Error, PutMode};

pub const GRACE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The clock of tokio, which tests pause. It is a little ahead of the system's, by which the store dates objects.
pub fn now() -> Timestamp {
    thread_local! {
        static ORIGIN: (Timestamp, tokio::time::Instant) =
            (Timestamp::now().after(Duration::from_secs(60)), tokio::time::Instant::now());
    }
    ORIGIN.with(|(start, origin)| start.after(origin.elapsed()))
}

pub fn settings(grace: Duration) -> Settings {
    Settings { now, ..Settings::new(grace) }
}

#[derive(Default)]
struct Rows {
    /// Whether each has ended.
    deployments: HashMap<DeploymentId, bool>,
    sources: HashSet<UploadId>,
    installation: String,
}

/// The database.
#[derive(Clone, Default)]
pub struct Database(Arc<Mutex<Rows>>);

impl Database {
    pub fn begin(&self) -> DeploymentId {
        let id = DeploymentId::new();
        self.0.lock().unwrap().deployments.insert(id.clone(), false);
        id
    }

    pub fn end(&self, id: &DeploymentId) {
        self.0.lock().unwrap().deployments.insert(id.clone(), true);
    }

    pub fn forget(&self, id: &DeploymentId) {
        self.0.lock().unwrap().deployments.remove(id);
    }

    pub fn name_source(&self, id: &UploadId) {
        self.0.lock().unwrap().sources.insert(id.clone());
    }

    pub fn is_called(&self, name: &str) {
        name.clone_into(&mut self.0.lock().unwrap().installation);
    }
}

#[async_trait]
impl Records for Database {
    async fn installation(&self) -> Result<String, GarbageError> {
        Ok(self.0.lock().unwrap().installation.clone())
    }

    async fn kept(&self, asked: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError> {
        let rows = self.0.lock().unwrap();
        Ok(asked.iter().filter(|id| rows.deployments.contains_key(*id)).cloned().collect())
    }

    async fn under_way(&self, asked: &[DeploymentId]) -> Result<HashSet<DeploymentId>, GarbageError> {
        let rows = self.0.lock().unwrap();
        Ok(asked.iter().filter(|id| rows.deployments.get(*id) == Some(&false)).cloned().collect())
    }

    async fn sources(&self) -> Result<HashSet<UploadId>, GarbageError> {
        Ok(self.0.lock().unwrap().sources.clone())
    }
}

#[derive(Clone)]
pub struct World {
    pub store: ObjectStore,
    pub database: Database,
    settings: fn(Duration) -> Settings,
}

impl World {
    pub fn new(store: ObjectStore) -> Self {
        Self { store, database: Database::default(), settings }
    }

    /// With the system's clock.
    pub fn in_real_time(store: ObjectStore) -> Self {
        Self { settings: Settings::new, ..Self::new(store) }
    }

    pub fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()))
    }

    /// Publishes as a deployer does: what the store has is not stored again.
    pub async fn publish(&self, id: &DeploymentId, contents: &[&str]) {
        let hashes: BTreeSet<String> = contents.iter().map(|content| hash(content)).collect();
        let intent = Intent::declare(&self.store, id, hashes, (self.settings)(GRACE).now).await.unwrap();
        let mut files = BTreeMap::new();
        for content in contents {
            let hash = hash(content);
            if blob::size(&self.store, &blob_key(&hash, None)).await.unwrap().is_none() {
                self.put(content).await;
            }
            let size = content.len() as u64;
            let file = File { hash, size, content_type: String::new(), variants: Vec::new(), fingerprinted: false };
            files.insert(format!("/{content}"), file);
        }
        let json = serde_json::to_vec(&Manifest::of(files)).unwrap();
        match self.store.put_opts(&Path::from(manifest_key(id)), json.into(), PutMode::Create.into()).await {
            // Another deployer that had it was faster.
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(e) => panic!("{e}"),
        }
        intent.end().await;
        self.database.end(id);
    }

    /// A new deployment that is published whole.
    pub async fn deploy(&self, contents: &[&str]) -> DeploymentId {
        let id = self.database.begin();
        self.publish(&id, contents).await;
        id
    }

    /// Stores a content, the variant first.
    pub async fn put(&self, content: &str) {
        for encoding in [Some(Encoding::Br), None] {
            blob::put(&self.store, &blob_key(&hash(content), encoding), content.to_owned().into()).await.unwrap();
        }
    }

    pub async fn has(&self, content: &str) -> bool {
        blob::size(&self.store, &blob_key(&hash(content), None)).await.unwrap().is_some()
    }

    pub async fn has_variant(&self, content: &str) -> bool {
        blob::size(&self.store, &blob_key(&hash(content), Some(Encoding::Br))).await.unwrap().is_some()
    }

    pub async fn collect(&self, grace: Duration) -> Report {
        garbage::collect(&self.store, &self.database, &(self.settings)(grace), false).await.unwrap()
    }

    /// Every content that a manifest of these deployments names.
    pub async fn named(&self, deployments: &[DeploymentId]) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for id in deployments {
            let Ok(json) = blob::get(&self.store, &manifest_key(id)).await else { continue };
            let manifest: Manifest = serde_json::from_slice(&json).unwrap();
            named.extend(manifest.files.into_values().map(|file| file.hash));
        }
        named
    }

    /// Those of them that the store does not have.
    pub async fn lost(&self, deployments: &[DeploymentId]) -> Vec<String> {
        let mut lost = Vec::new();
        for hash in self.named(deployments).await {
            if blob::size(&self.store, &blob_key(&hash, None)).await.unwrap().is_none() {
                lost.push(hash);
            }
        }
        lost
    }
}

pub fn hash(content: &str) -> String {
    blake3::hash(content.as_bytes()).to_hex().to_string()
}

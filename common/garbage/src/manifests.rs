//! What manifests name.

use std::collections::{BTreeMap, HashMap, HashSet};

use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use serde::Deserialize;

use crate::GarbageError;

/// Where they lie.
const FOLDER: &str = "manifests";
/// Manifests that are read at one time.
const AT_ONCE: usize = 8;

/// Contents that something names. Each is known by half of its hash, which is enough never to take a named one for
/// another, and at worst keeps garbage.
#[derive(Debug, Default)]
pub struct Names(HashSet<u128>);

/// Half of a hash; nothing for a text that is none.
fn half(hash: &str) -> Option<u128> {
    (hash.len() == 64).then(|| hash.get(..32))?.and_then(|half| u128::from_str_radix(half, 16).ok())
}

impl Names {
    pub fn add(&mut self, hash: &str) {
        self.0.extend(half(hash));
    }

    pub fn has(&self, hash: &str) -> bool {
        half(hash).is_some_and(|half| self.0.contains(&half))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Of a manifest, what matters here; all else may be of another version.
#[derive(Deserialize)]
struct Named {
    files: BTreeMap<String, File>,
}

#[derive(Deserialize)]
struct File {
    hash: String,
}

/// The manifests that were read.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The bytes of each.
    pub read: HashMap<DeploymentId, u64>,
}

impl Manifests {
    /// Reads those that are new since the last time, and adds what they name.
    pub async fn read_new(&mut self, store: &ObjectStore, names: &mut Names) -> Result<(), GarbageError> {
        let mut new = Vec::new();
        let mut listed = store.list(Some(&Path::from(FOLDER)));
        while let Some(meta) = listed.try_next().await? {
            let name = meta.location.filename().and_then(|name| name.strip_suffix(".json"));
            let Some(deployment) = name.and_then(|name| name.parse::<DeploymentId>().ok()) else { continue };
            if !self.read.contains_key(&deployment) {
                new.push((deployment, meta.location, meta.size));
            }
        }
        let reads = new.into_iter().map(|(deployment, path, size)| async move {
            match blob::get(store, path.as_ref()).await {
                Ok(bytes) => {
                    let unreadable = |detail| GarbageError::Unreadable { key: path.to_string(), detail };
                    let named: Named = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
                    Ok::<_, GarbageError>(Some((deployment, size, named)))
                }
                // Its project was deleted just now.
                Err(e) if e.is_not_found() => Ok(None),
                Err(e) => Err(e.into()),
            }
        });
        let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
        while let Some(read) = reads.try_next().await? {
            let Some((deployment, size, named)) = read else { continue };
            for file in named.files.values() {
                names.add(&file.hash);
            }
            self.read.insert(deployment, size);
        }
        Ok(())
    }
}

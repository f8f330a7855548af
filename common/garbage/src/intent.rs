//! What a publisher is about to name.

use std::collections::BTreeSet;
use std::time::Duration;

use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::time::Timestamp;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::GarbageError;
use crate::condemned::Condemned;

/// Below this lie intents: `publishing/<deployment>/<one of its publishers>.json`.
pub(crate) const FOLDER: &str = "publishing";
/// Pause between two looks whether a list of condemned contents is gone.
const LOOK: Duration = Duration::from_secs(1);
/// Intents that are read at one time.
const AT_ONCE: usize = 16;

/// Contents that a manifest will name. They are not deleted until [`end`](Self::end), or until the deployment has ended.
#[derive(Debug)]
pub struct Intent {
    store: ObjectStore,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Written {
    hashes: BTreeSet<String>,
}

impl Intent {
    /// Says that the deployment's manifest will name the contents with these hashes, and waits until those of them that
    /// are just being deleted are gone. What the store has afterwards stays. `now` is the clock.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn declare(
        store: &ObjectStore,
        deployment: &DeploymentId,
        hashes: BTreeSet<String>,
        now: fn() -> Timestamp,
    ) -> Result<Self, GarbageError> {
        // A deployment that was taken over may have two publishers for a while.
        let key = format!("{FOLDER}/{deployment}/{}.json", ulid::Ulid::generate());
        let written = Written { hashes };
        let json = serde_json::to_vec(&written)
            .map_err(|e| GarbageError::Unreadable { key: key.clone(), detail: e.to_string() })?;
        blob::put(store, &key, json.into()).await?;
        loop {
            match Condemned::read(store).await? {
                Some(condemned) if condemned.over() >= now() && !condemned.hashes.is_disjoint(&written.hashes) => {
                    tracing::info!(%deployment, until = %condemned.over(), "waits for contents that are just being deleted");
                    tokio::time::sleep(LOOK).await;
                }
                _ => return Ok(Self { store: store.clone(), key }),
            }
        }
    }

    /// Says that the manifest is there, or never will be.
    pub async fn end(self) {
        if let Err(e) = blob::delete(&self.store, &self.key).await {
            tracing::warn!(key = self.key, error = %e, "an intent stays until its deployment has ended");
        }
    }
}

/// All intents: whose they are, where they lie, and what they name.
pub(crate) async fn all(store: &ObjectStore) -> Result<Vec<(DeploymentId, Path, BTreeSet<String>)>, GarbageError> {
    let listed: Vec<Path> = store.list(Some(&Path::from(FOLDER))).map_ok(|meta| meta.location).try_collect().await?;
    let read = listed.into_iter().filter_map(|path| {
        let deployment: DeploymentId = path.parts().nth(1)?.as_ref().parse().ok()?;
        Some(async move {
            match blob::get(store, path.as_ref()).await {
                Ok(bytes) => {
                    let unreadable = |detail| GarbageError::Unreadable { key: path.to_string(), detail };
                    let written: Written = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
                    Ok::<_, GarbageError>(Some((deployment, path, written.hashes)))
                }
                // Its publisher is done: the manifest is there.
                Err(e) if e.is_not_found() => Ok(None),
                Err(e) => Err(e.into()),
            }
        })
    });
    let all: Vec<Option<_>> = stream::iter(read).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(all.into_iter().flatten().collect())
}

//! What the deployment before already stored.

use std::collections::HashMap;

use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::manifest::{Manifest, VERSION, Variant, manifest_key};

use crate::{PublishError, blocking};

/// Variants by hash.
pub type Known = HashMap<String, Vec<Variant>>;

/// Reads the manifest of the deployment before. It only saves work, so one that can't be read is none.
pub async fn read(store: &ObjectStore, previous: Option<&DeploymentId>) -> Known {
    let Some(previous) = previous else { return Known::new() };
    let bytes = match blob::get(store, &manifest_key(previous)).await {
        Ok(bytes) => bytes,
        Err(e) => {
            if !e.is_not_found() {
                tracing::warn!(deployment = %previous, error = %e, "previous manifest not read");
            }
            return Known::new();
        }
    };
    let parsed = blocking::run(move || {
        serde_json::from_slice::<Manifest>(&bytes).map_err(|e| PublishError::Internal(e.to_string()))
    });
    match parsed.await {
        Ok(manifest) if manifest.version == VERSION => {
            manifest.files.into_values().map(|file| (file.hash, file.variants)).collect()
        }
        Ok(manifest) => {
            tracing::warn!(deployment = %previous, version = manifest.version, "previous manifest of another version");
            Known::new()
        }
        Err(e) => {
            tracing::warn!(deployment = %previous, error = %e, "previous manifest not understood");
            Known::new()
        }
    }
}

//! Writes the manifest, once.

use common::blob::ObjectStore;
use common::id::DeploymentId;
use common::manifest::{Manifest, manifest_key};
use object_store::path::Path;
use object_store::{Error, PutMode, PutPayload};

use crate::{PublishError, blocking};

/// Makes the deployment complete. A manifest that is already there stays: an edge may have read it, and
/// it is as complete, from the same deployment, published by a worker that then lost its lease.
pub async fn write(store: &ObjectStore, deployment: &DeploymentId, manifest: Manifest) -> Result<(), PublishError> {
    let json = blocking::run(move || {
        serde_json::to_vec(&manifest).map_err(|e| PublishError::Internal(format!("the manifest can't be written: {e}")))
    })
    .await?;
    let key = Path::from(manifest_key(deployment));
    match store.put_opts(&key, PutPayload::from(json), PutMode::Create.into()).await {
        Ok(_) => Ok(()),
        Err(Error::AlreadyExists { .. }) => {
            tracing::info!(%deployment, "manifest was there already");
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

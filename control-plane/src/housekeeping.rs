//! What is due from time to time: renewed certificates, new ticket keys, and the end of what is kept for a while.

use std::time::Duration;

use common::secret::MasterKey;
use common::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::feed::Hub;
use crate::store::{Store, StoreError};
use crate::{ticket_keys, usage};

/// Time between two looks. Certificates are renewed weeks, and keys told hours before they are needed, so minutes
/// do not matter.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Does what is due, until `stop`.
pub async fn run(store: Store, hub: Hub, key: MasterKey, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    // The first tick is at once, and what is due at the start was done.
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = Timestamp::now();
        if let Err(e) = rotate(&store, &hub, &key, now).await {
            tracing::error!(error = %e, "keys of session tickets can't be rotated");
        }
        if let Err(e) = hub.renew_certificates(now).await {
            tracing::error!(error = %e, "renewed certificates can't be told to the edges");
        }
        if let Err(e) = forget(&store, now).await {
            tracing::error!(error = %e, "what is kept for a while can't be deleted");
        }
    }
}

async fn rotate(store: &Store, hub: &Hub, key: &MasterKey, now: Timestamp) -> Result<(), StoreError> {
    hub.set_ticket_keys(ticket_keys::rotate(store, key, now).await?).await.map(drop)
}

async fn forget(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    store.forget_usage(now.before(usage::RETENTION)).await?;
    store.forget_ended_certificates(now).await
}

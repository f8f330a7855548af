//! What is due from time to time: renewed certificates, new ticket keys, and the end of what is kept for a while.

use std::time::Duration;

use common::secret::KeyRing;
use common::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::feed::Hub;
use crate::store::{Store, StoreError};
use crate::uploads::Uploads;
use crate::zones::Zones;
use crate::{ticket_keys, usage};

/// Time between two looks. Certificates are renewed weeks, and keys told hours before they are needed, so minutes
/// do not matter.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Age of proofs of control whose orders are over: the engine gives one up after six hours.
const CHALLENGES: Duration = Duration::from_secs(12 * 60 * 60);
/// How long is known what edges were told to forget: control planes look every second.
const PURGES: Duration = Duration::from_secs(24 * 60 * 60);
/// How long is known that a name lost its certificate and that an edge was there: control planes look every second.
const GONE: Duration = Duration::from_secs(24 * 60 * 60);

/// Does what is due, until `stop`.
pub async fn run(store: Store, hub: Hub, zones: Zones, uploads: Uploads, keys: KeyRing, stop: CancellationToken) {
    let mut tick = tokio::time::interval(EVERY);
    // The first tick is at once, and what is due at the start was done.
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = Timestamp::now();
        if let Err(e) = rotate(&store, &hub, &keys, now).await {
            tracing::error!(error = %e, "keys of session tickets can't be rotated");
        }
        hub.renew_certificates(now).await;
        if let Err(e) = zones.keep_house(now).await {
            tracing::error!(error = %e, "what is due of the DNS zones can't be done");
        }
        if let Err(e) = uploads.remove_abandoned(now).await {
            tracing::error!(error = %e, "abandoned uploads can't be removed");
        }
        if let Err(e) = forget(&store, now).await {
            tracing::error!(error = %e, "what is kept for a while can't be deleted");
        }
    }
}

async fn rotate(store: &Store, hub: &Hub, keys: &KeyRing, now: Timestamp) -> Result<(), StoreError> {
    hub.set_ticket_keys(ticket_keys::rotate(store, keys, now).await?).await;
    Ok(())
}

async fn forget(store: &Store, now: Timestamp) -> Result<(), StoreError> {
    store.forget_usage(now.before(usage::RETENTION)).await?;
    store.forget_challenges(now.before(CHALLENGES)).await?;
    store.forget_names(now.before(GONE)).await?;
    store.forget_purges(now.before(PURGES)).await?;
    store.forget_edges(now.before(GONE)).await?;
    store.forget_ended_certificates(now).await
}

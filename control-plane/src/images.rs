//! Images that no deployment needs any more are deleted from the registry: noted first, deleted a while later, and
//! never while a deployment comes to need the same image (`store/images.rs`).

use std::time::Duration;

use common::registry::Registry;
use common::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Between an image being unneeded and its deletion: a rollback that was just asked for still finds it.
const WAIT: Duration = Duration::from_secs(60 * 60);
/// Longest time that one deletion may take; a control plane that died has given it up by then.
const LEASE: Duration = Duration::from_secs(15 * 60);
/// Pause after a first failure; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(10 * 60);
/// How often it doubles: half a day.
const DOUBLINGS: u32 = 6;
/// Images of one look: the others come with the next.
const MOST: i64 = 200;

/// Deletes images.
#[derive(Clone)]
pub struct Images {
    store: Store,
    registry: Registry,
    keep: u32,
}

impl Images {
    /// Keeps the images of `keep` deployments of each project, and of every one that runs.
    pub fn new(store: Store, registry: Registry, keep: u32) -> Self {
        Self { store, registry, keep }
    }

    /// Looks from time to time, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        // The first tick is at once, when there is more to do than to tidy up.
        tick.tick().await;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look(Timestamp::now()) => if let Err(e) = looked {
                    tracing::error!(error = %e, retry_in_s = EVERY.as_secs(), "unneeded images can't be looked for");
                }
            }
        }
    }

    /// Notes what is unneeded now, and deletes what was noted and is due.
    async fn look(&self, now: Timestamp) -> Result<(), StoreError> {
        let noted = self.store.note_unneeded_images(self.keep, now, now.after(WAIT)).await?;
        if noted > 0 {
            tracing::info!(images = noted, in_s = WAIT.as_secs(), "images that no deployment needs will be deleted");
        }
        for removal in self.store.due_images(now, MOST).await? {
            let reference = &removal.reference;
            if !self.store.take_image(reference, self.keep, now, now.after(LEASE)).await? {
                continue;
            }
            let removed = tokio::time::timeout(LEASE / 2, self.registry.remove(reference)).await;
            let why = match removed {
                Ok(Ok(())) => {
                    tracing::info!(image = reference, "an image was deleted");
                    self.store.image_removed(reference).await?;
                    continue;
                }
                Ok(Err(e)) => e.to_string(),
                Err(_) => "the registry did not answer in time".to_owned(),
            };
            let doublings = u32::try_from(removal.attempts).unwrap_or(DOUBLINGS).min(DOUBLINGS);
            let due = now.after(RETRY_FIRST * 2_u32.pow(doublings));
            tracing::warn!(image = reference, reason = why, retry_at = %due, "an image can't be deleted");
            self.store.image_not_removed(reference, &why, due).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

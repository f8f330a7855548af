//! What other control planes changed, told to those who listen here: edges, people and deployers.

use std::time::Duration;

use common::id::DeploymentId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Lifecycle;
use crate::store::StoreError;
use crate::store::changes::Numbers;

/// Pause between two looks: news reach everybody well within a second.
const EVERY: Duration = Duration::from_millis(250);
/// Pause after the database failed.
const RETRY: Duration = Duration::from_secs(2);

impl Lifecycle {
    /// Tells those who listen here, and other control planes if there are any, that a deployment has changed.
    pub(super) fn changed(&self, id: &DeploymentId) {
        // Nobody may be listening.
        let _ = self.0.changes.send(id.clone());
        if self.0.has_remote_deployers || self.0.hub.has_others() {
            let (store, id) = (self.0.store.clone(), id.clone());
            tokio::spawn(async move {
                if let Err(error) = store.note_deployment(&id).await {
                    tracing::warn!(deployment = %id, %error, "people on other control planes see a change late");
                }
            });
        }
    }

    /// Tells deployers, on whichever control plane they listen, that other apps may be wanted.
    pub(super) async fn apps_changed(&self) {
        match self.0.store.note_apps().await {
            Ok(change) => raise(&self.0.apps_changed, change),
            Err(error) => {
                tracing::warn!(%error, "deployers on other control planes hear late of the apps that are wanted");
                self.0.apps_changed.send_modify(|seen| *seen += 1);
            }
        }
    }

    /// Follows the database until `stop`. What it asks each time is cheap: three counters.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut told = None;
        loop {
            let pause = match self.look(&mut told).await {
                Ok(()) => EVERY,
                Err(error) => {
                    tracing::warn!(%error, "changes by other control planes are not heard until the database is back");
                    RETRY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.0.hub.leave_company().await;
    }

    async fn look(&self, told: &mut Option<Numbers>) -> Result<(), StoreError> {
        self.0.hub.keep_company().await?;
        // Read before what they are the numbers of, so that nothing is taken for told that is not.
        let now = self.0.store.numbers().await?;
        self.0.hub.catch_up(now.routes).await?;
        raise(&self.0.apps_changed, now.apps);
        let before = told.map_or(now.deployments, |before| before.deployments);
        if before != now.deployments {
            for id in self.0.store.changed_deployments(before).await? {
                let _ = self.0.changes.send(id);
            }
        }
        *told = Some(now);
        Ok(())
    }
}

/// Tells a number, if it is news.
fn raise(numbers: &watch::Sender<i64>, number: i64) {
    numbers.send_if_modified(|seen| {
        let is_news = number > *seen;
        *seen = number.max(*seen);
        is_news
    });
}

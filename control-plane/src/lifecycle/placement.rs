//! On which deployer each app runs. An app whose deployer ends is started on another first; one whose deployer died is
//! started anew.

use common::id::DeployerId;
use common::time::Timestamp;

use super::Lifecycle;
use crate::store::StoreError;

impl Lifecycle {
    /// Deployers that were seen since then are there. For as long as nobody could be heard, everybody is.
    fn there_since(&self) -> Timestamp {
        if self.hears() { Timestamp::now().before(self.0.hold) } else { Timestamp::from_millis(0) }
    }

    /// A deployer says that it is there.
    pub(super) async fn deployer_seen(&self, deployer: &DeployerId) -> Result<(), StoreError> {
        self.0.store.deployer_seen(deployer, Timestamp::now()).await
    }

    /// A deployer is about to end: its apps go elsewhere. Gives whether they can.
    pub(super) async fn deployer_leaves(&self, deployer: &DeployerId) -> Result<bool, StoreError> {
        let there_are_others = self.0.store.deployer_leaves(deployer, self.there_since()).await?;
        self.place().await?;
        Ok(there_are_others)
    }

    /// Places apps that have no deployer.
    pub(super) async fn place(&self) -> Result<(), StoreError> {
        if self.0.store.place_apps(self.there_since(), Timestamp::now()).await? {
            self.apps_changed().await;
        }
        Ok(())
    }

    /// Looks after the apps of deployers that died.
    pub(super) async fn replace_lost(&self) -> Result<(), StoreError> {
        let since = self.there_since();
        for (id, project) in self.0.store.orphan_apps(since).await? {
            tracing::warn!(deployment = %id, "an app's deployer is gone: it is started on another");
            self.0.hub.refresh(&project).await?;
            self.changed(&id);
        }
        self.0.store.forget_deployers(Some(since)).await?;
        self.place().await
    }
}

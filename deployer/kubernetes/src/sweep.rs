//! Tidies up, on one deployer at a time: what no deployer has in hand is stopped, and deleted when it has been stopped for
//! long. Only what bears the platform's label is looked at.

use std::collections::HashSet;
use std::sync::Arc;

use common::id::DeploymentId;
use common::time::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use crate::apps::Shared;
use crate::cluster::{ClusterError, ask};
use crate::names::{HELD_UNTIL, MANAGED, STOPPED_AT, object};
use crate::objects;

/// Who sweeps.
pub(crate) struct Sweep(Arc<Shared>);

impl Sweep {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Sweeps until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            if self.0.view.is_complete()
                && let Err(e) = self.once().await
            {
                tracing::warn!(error = %e, "tidying up the cluster broke off; it is tried again");
            }
            tokio::time::sleep(self.0.settings.resync).await;
        }
    }

    async fn once(&self) -> Result<(), ClusterError> {
        let shared = &self.0;
        let mut sets = shared.view.sets();
        // Another platform may be on the same cluster.
        sets.retain(|(_, set)| self.is_ours(set.namespace().as_deref()));
        for (id, set) in sets.iter().filter(|(id, _)| !shared.has(id)) {
            if set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1) > 0 {
                self.running(id, set).await?;
            } else {
                self.stopped(id, set).await?;
            }
        }
        self.namespaces(&sets).await
    }

    fn is_ours(&self, namespace: Option<&str>) -> bool {
        namespace.is_some_and(|namespace| namespace.starts_with(&self.0.settings.namespace_prefix))
    }

    /// Stops an app that no deployer has had in hand for long, unless it is this one's to start.
    async fn running(&self, id: &DeploymentId, set: &ReplicaSet) -> Result<(), ClusterError> {
        let held = set.annotations().get(HELD_UNTIL).and_then(|until| until.parse().ok()).map(Timestamp::from_millis);
        if held.is_none_or(|until| until > Timestamp::now()) {
            return Ok(());
        }
        match self.0.ledger.wanted_app(id).await {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(()),
            Err(e) => {
                tracing::warn!(deployment = %id, error = %e, "whether an app is wanted is not known");
                return Ok(());
            }
        }
        tracing::info!(deployment = %id, "an app that nobody has in hand is stopped");
        let namespace = set.namespace().unwrap_or_default();
        self.0.cluster.scale_to_zero(&namespace, &object(id), Timestamp::now().as_millis()).await
    }

    /// Deletes an app that was stopped long ago.
    async fn stopped(&self, id: &DeploymentId, set: &ReplicaSet) -> Result<(), ClusterError> {
        let at = set.annotations().get(STOPPED_AT).and_then(|at| at.parse().ok()).map(Timestamp::from_millis);
        // One without the annotation was stopped by hand: it counts from its creation.
        let since = at.or_else(|| created(set.creation_timestamp()));
        if since.is_none_or(|since| Timestamp::now().since(since) < self.0.settings.keep_stopped) {
            return Ok(());
        }
        tracing::info!(deployment = %id, "an app that was stopped long ago is deleted");
        objects::remove(&self.0.cluster, &set.namespace().unwrap_or_default(), id).await
    }

    /// Deletes the namespaces of accounts that have had no app for long.
    async fn namespaces(&self, sets: &[(DeploymentId, Arc<ReplicaSet>)]) -> Result<(), ClusterError> {
        let used: HashSet<String> = sets.iter().filter_map(|(_, set)| set.namespace()).collect();
        let api: Api<Namespace> = Api::all(self.0.cluster.client());
        let own = ask("namespaces", api.list(&ListParams::default().labels(MANAGED))).await?;
        let empty = |namespace: &Namespace| !used.contains(&namespace.name_any());
        for namespace in own.items.into_iter().filter(|n| empty(n) && self.is_ours(Some(&n.name_any()))) {
            let old = created(namespace.creation_timestamp())
                .is_some_and(|at| Timestamp::now().since(at) >= self.0.settings.keep_stopped);
            if old && namespace.metadata.deletion_timestamp.is_none() {
                tracing::info!(namespace = namespace.name_any(), "the namespace of an account without apps is deleted");
                self.0.cluster.delete(&api, &namespace.name_any(), namespace.uid()).await?;
            }
        }
        Ok(())
    }
}

fn created(time: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>) -> Option<Timestamp> {
    time.map(|time| Timestamp::from_millis(time.0.as_millisecond()))
}

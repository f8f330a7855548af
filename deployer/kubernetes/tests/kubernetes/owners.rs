//! What is the platform's, what is not, and what becomes of it.

use std::time::Duration;

use common::runtime::StartError;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kubernetes::Settings;
use serde_json::json;

use crate::kit::{SERVER, World, apply, run, run_alone, settings};
use crate::kubelet::within;

/// Looks until something is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    within(what, async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[test]
fn what_is_changed_or_deleted_by_hand_is_mended() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        world.runtime.start(&app).await.unwrap();
        let admin = world.cluster.admin.clone();
        let policies: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &world.namespace());
        policies.delete("astrocloud", &DeleteParams::default()).await.unwrap();
        until("the rules", || async { policies.get_opt("astrocloud").await.unwrap().is_some() }).await;
        let sets: Api<ReplicaSet> = Api::namespaced(admin, &world.namespace());
        let name = sets.list(&Default::default()).await.unwrap().items[0].name_any();
        let by_hand = PatchParams { field_manager: Some("kubectl-scale".to_owned()), ..PatchParams::default() };
        sets.patch(&name, &by_hand, &Patch::Merge(json!({ "spec": { "replicas": 3 } }))).await.unwrap();
        until("the number of instances", || async { sets.get(&name).await.unwrap().spec.unwrap().replicas == Some(1) })
            .await;
        sets.delete(&name, &DeleteParams::default()).await.unwrap();
        until("the ReplicaSet", || async {
            sets.get_opt(&name).await.unwrap().is_some_and(|s| s.metadata.deletion_timestamp.is_none())
        })
        .await;
    });
}

#[test]
fn a_field_that_somebody_else_applies_stays_theirs_and_is_told() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        world.runtime.start(&app).await.unwrap();
        world.runtime.stop(&app.deployment).await;
        let theirs = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "astrocloud", "namespace": world.namespace() },
            "spec": { "podSelector": { "matchLabels": { "theirs": "yes" } }, "policyTypes": ["Ingress"] },
        });
        apply(&world.cluster.admin, &theirs).await;
        let error = world.runtime.start(&world.app(SERVER).await).await.unwrap_err().to_string();
        assert!(error.contains("operator applies it too") && error.contains("NetworkPolicy"), "{error}");
        let policies: Api<NetworkPolicy> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let kept = policies.get("astrocloud").await.unwrap().spec.unwrap();
        assert_eq!(kept.policy_types.unwrap(), ["Ingress"]);
    });
}

#[test]
fn a_namespace_that_was_there_before_is_not_taken() {
    run(async {
        let world = World::new(settings()).await;
        apply(
            &world.cluster.admin,
            &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": world.namespace() } }),
        )
        .await;
        let error = world.runtime.start(&world.app(SERVER).await).await.unwrap_err();
        assert!(matches!(&error, StartError::Cluster(detail) if detail.contains("namespace_prefix")), "{error:?}");
        let namespaces: Api<Namespace> = Api::all(world.cluster.admin.clone());
        assert!(namespaces.get(&world.namespace()).await.unwrap().labels().is_empty());
    });
}

#[test]
fn what_was_stopped_long_ago_is_deleted_and_what_is_not_the_platforms_stays() {
    run_alone(async {
        let world = World::new(Settings { keep_stopped: Duration::from_secs(1), ..settings() }).await;
        let app = world.app(SERVER).await;
        let runs = world.app(SERVER).await;
        world.runtime.start(&app).await.unwrap();
        world.runtime.start(&runs).await.unwrap();
        let theirs = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": "theirs", "namespace": world.namespace() },
            "spec": { "replicas": 0, "selector": { "matchLabels": { "app": "theirs" } }, "template": {
                "metadata": { "labels": { "app": "theirs" } }, "spec": { "containers": [{ "name": "a", "image": "a" }] },
            } },
        });
        apply(&world.cluster.admin, &theirs).await;
        world.runtime.stop(&app.deployment).await;
        let sets: Api<ReplicaSet> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let gone = app.deployment.as_str().replace('_', "-");
        until("the stopped app's end", || async { sets.get_opt(&gone).await.unwrap().is_none() }).await;
        assert!(sets.get_opt("theirs").await.unwrap().is_some());
        assert!(sets.get_opt(&runs.deployment.as_str().replace('_', "-")).await.unwrap().is_some());
        let others: Api<ConfigMap> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        assert!(!others.list(&Default::default()).await.unwrap().items.is_empty(), "the cluster's own are there");
    });
}

#[test]
fn what_no_deployer_has_in_hand_for_long_is_stopped() {
    run_alone(async {
        let mut world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        world.runtime.start(&app).await.unwrap();
        world.runtime.shutdown(Duration::from_secs(10)).await;
        let sets: Api<ReplicaSet> = Api::namespaced(world.cluster.admin.clone(), &world.namespace());
        let name = app.deployment.as_str().replace('_', "-");
        let long_ago = json!({ "metadata": { "annotations": { "astrocloud.dev/held-until": "1" } } });
        sets.patch(&name, &PatchParams::default(), &Patch::Merge(long_ago)).await.unwrap();
        world.restart().await;
        until("its end", || async { sets.get(&name).await.unwrap().spec.unwrap().replicas == Some(0) }).await;
    });
}

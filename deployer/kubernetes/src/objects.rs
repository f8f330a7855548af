//! What a deployment has in a cluster beside its ReplicaSet: its variables, its Service, and its share of the
//! instances that may be away at one time.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::id::DeploymentId;
use common::ledger::App;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError, ask, resource};
use crate::connect::Versions;
use crate::names::{self, ACCOUNT, DEPLOYMENT, PORT};
use crate::{Settings, workload};

/// Where an app listens unless it knows better: its pod's address is its own.
const HOST: &str = "0.0.0.0";
/// The part of the memory limit that Node may fill with objects, in percent, before it collects harder: what is
/// beyond the limit is killed. The rest is for code, stacks and buffers.
const HEAP_PERCENT: u64 = 75;

/// An app and where it belongs.
pub(crate) struct Place<'a> {
    pub(crate) app: &'a App,
    pub(crate) namespace: &'a str,
    /// Name of all its objects but the Secret.
    pub(crate) name: String,
}

impl<'a> Place<'a> {
    pub(crate) fn new(app: &'a App, namespace: &'a str) -> Self {
        Self { app, namespace, name: names::object(&app.deployment) }
    }

    pub(crate) fn labels(&self) -> Value {
        names::labels(&self.app.deployment, self.app.project_name.as_str())
    }

    pub(crate) fn meta(&self, name: &str) -> Value {
        json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels(),
            "annotations": { ACCOUNT: self.app.account },
        })
    }

    pub(crate) fn selector(&self) -> Value {
        json!({ "matchLabels": { DEPLOYMENT: self.app.deployment.as_str() } })
    }
}

/// The objects, in the order in which they are applied: instances come last, because they need the others.
pub(crate) fn objects(settings: &Settings, versions: &Versions, place: &Place<'_>) -> Vec<Value> {
    let variables = variables(settings, place.app);
    let secret = secret_name(place, &variables);
    let data: BTreeMap<&str, String> = variables.iter().map(|(name, value)| (name.as_str(), base64(value))).collect();
    let mut objects = vec![
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": place.meta(&secret),
            "immutable": true,
            "data": data,
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": place.meta(&place.name),
            "spec": {
                // Edges ask instances themselves, so it needs no address of its own: it is there for the list of them.
                "clusterIP": "None",
                "selector": { DEPLOYMENT: place.app.deployment.as_str() },
                "ports": [{ "name": "http", "port": PORT, "targetPort": PORT, "protocol": "TCP" }],
            },
        }),
    ];
    if settings.replicas > 1 {
        objects.push(json!({
            "apiVersion": versions.disruption_budget(),
            "kind": "PodDisruptionBudget",
            "metadata": place.meta(&place.name),
            "spec": { "maxUnavailable": 1, "selector": place.selector() },
        }));
    }
    objects.push(workload::replica_set(settings, versions, place, &secret));
    objects
}

/// Deletes everything that a deployment has in the cluster; what is not there is no error.
pub(crate) async fn remove(cluster: &Cluster, namespace: &str, deployment: &DeploymentId) -> Result<(), ClusterError> {
    let name = names::object(deployment);
    let client = cluster.client();
    cluster.delete(&Api::<ReplicaSet>::namespaced(client.clone(), namespace), &name, None).await?;
    cluster.delete(&Api::<Service>::namespaced(client.clone(), namespace), &name, None).await?;
    let budgets = resource(cluster.versions().await?.disruption_budget(), "PodDisruptionBudget");
    let budgets: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &budgets);
    cluster.delete(&budgets, &name, None).await?;
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let own = ListParams::default().labels(&format!("{},{DEPLOYMENT}={deployment}", names::MANAGED));
    ask("its variables", secrets.delete_collection(&DeleteParams::default(), &own)).await.map(drop)
}

/// The Secret's name changes with what is in it: an instance that is there keeps the variables that it began with.
fn secret_name(place: &Place<'_>, variables: &BTreeMap<String, String>) -> String {
    let all: Vec<u8> = variables.iter().flat_map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect();
    format!("{}-{}", place.name, names::digest(&all))
}

/// The environment of an app but for `PORT`. The project's variables win over the platform's defaults.
fn variables(settings: &Settings, app: &App) -> BTreeMap<String, String> {
    let heap = (settings.limits.memory / 100 * HEAP_PERCENT) >> 20;
    let defaults = [
        ("HOME", "/tmp".to_owned()),
        ("HOST", HOST.to_owned()),
        // What Next listens on.
        ("HOSTNAME", HOST.to_owned()),
        ("NODE_ENV", "production".to_owned()),
        ("NODE_OPTIONS", format!("--max-old-space-size={heap}")),
    ];
    let mut all: BTreeMap<String, String> = defaults.map(|(name, value)| (name.to_owned(), value)).into();
    all.extend(app.env.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    all.remove("PORT");
    all
}

/// A value of a Secret, as the API takes it.
pub(crate) fn base64(value: &str) -> String {
    STANDARD.encode(value)
}

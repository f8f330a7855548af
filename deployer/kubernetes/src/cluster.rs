//! The cluster's API: objects applied, patched, read and deleted, and what it answers when it does not want to.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use common::runtime::StartError;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::connect::Versions;
use crate::names::{ACCOUNT, ASTROCLOUD, FIELD_MANAGER, HELD_BY, MANAGED_BY, STOPPED_AT};

/// Time for one answer of the API server.
const ANSWER: Duration = Duration::from_secs(15);
/// Pause before an API server that does not answer is asked again; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Why the cluster did not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// Nothing answers, or not in time, or what answers has trouble of its own: it is worth asking again.
    #[error("the cluster's API does not answer for {what}: {detail}")]
    Away { what: String, detail: String },
    /// Somebody else has this object, or a field of it.
    #[error("{what} is managed by somebody else: {detail}")]
    Foreign { what: String, detail: String },
    /// An account has all that it may.
    #[error("{0}")]
    Quota(String),
    /// It says no.
    #[error("the cluster refuses {what}: {detail}")]
    Refused { what: String, detail: String },
}

impl ClusterError {
    pub(crate) fn of(error: kube::Error, what: &str) -> Self {
        let what = what.to_owned();
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Foreign { what, detail: status.message },
            kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
                Self::Quota(status.message)
            }
            // 500 is also what some releases say of a field that they do not know, and of a quota that races.
            kube::Error::Api(status) if status.code == 429 || status.code >= 500 => {
                Self::Away { what, detail: status.message }
            }
            kube::Error::Api(status) => Self::Refused { what, detail: status.message },
            e => Self::Away { what, detail: causes(&e) },
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

impl From<ClusterError> for StartError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Quota(detail) => Self::Quota(detail),
            error => Self::Cluster(error.to_string()),
        }
    }
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The API of one cluster. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    versions: std::sync::Arc<OnceCell<Versions>>,
}

impl Cluster {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, versions: std::sync::Arc::default() }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// What its release knows; asked once.
    pub(crate) async fn versions(&self) -> Result<&Versions, ClusterError> {
        let ask = || async {
            let asked = timeout(ANSWER, Versions::discover(&self.client)).await;
            asked.map_err(|_| late("the versions of its API"))?
        };
        self.versions.get_or_try_init(ask).await
    }

    /// Applies an object of the platform's own. A field that somebody applies too is theirs, and told; a change that
    /// was made in passing (by `kubectl edit` or `scale`) is undone.
    /// Returns the object as it is then.
    pub(crate) async fn apply(&self, object: &Value) -> Result<DynamicObject, ClusterError> {
        let what = describe(object);
        let (api, name) = self.api_of(object)?;
        let params = PatchParams::apply(FIELD_MANAGER);
        match ask(&what, api.patch(&name, &params, &Patch::Apply(object))).await {
            // Secrets are never read, and their names change with what is in them.
            Err(conflict @ ClusterError::Foreign { .. }) if object["kind"] != "Secret" => {
                let found = ask(&what, api.get(&name)).await?;
                if let Some(other) = owner(&found) {
                    let detail = format!("{other} applies it too; remove it there, or give it another name");
                    return Err(ClusterError::Foreign { what, detail });
                }
                // Stopping an app is a change in passing too, of this deployer's own.
                if !conflict.to_string().contains(FIELD_MANAGER) {
                    tracing::warn!(object = what, %conflict, "a change by hand is undone");
                }
                ask(&what, api.patch(&name, &params.force(), &Patch::Apply(object))).await
            }
            other => other,
        }
    }

    /// Applies an account's namespace, unless there is one of this name that is not the platform's.
    pub(crate) async fn apply_namespace(&self, object: &Value) -> Result<(), ClusterError> {
        let what = describe(object);
        let (api, name) = self.api_of(object)?;
        let found: Option<DynamicObject> = ask(&what, api.get_opt(&name)).await?;
        if let Some(found) = &found {
            let account = found.annotations().get(ACCOUNT).map(String::as_str);
            let ours = found.labels().get(MANAGED_BY).is_some_and(|by| by == ASTROCLOUD);
            if !ours || account != object["metadata"]["annotations"][ACCOUNT].as_str() {
                let detail = "it was there before; set another runtime.namespace_prefix, or delete it".to_owned();
                return Err(ClusterError::Foreign { what, detail });
            }
            if found.metadata.deletion_timestamp.is_some() {
                // It is gone in a moment, and can be made anew then.
                return Err(ClusterError::Away { what, detail: "it is being deleted".to_owned() });
            }
        }
        self.apply(object).await.map(drop)
    }

    /// Ends all instances of a ReplicaSet and remembers when. One that is not there is no error.
    pub(crate) async fn scale_to_zero(&self, namespace: &str, name: &str, now: i64) -> Result<(), ClusterError> {
        let patch = json!({
            "metadata": { "annotations": { STOPPED_AT: now.to_string() } },
            "spec": { "replicas": 0 },
        });
        let api: Api<ReplicaSet> = Api::namespaced(self.client(), namespace);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let what = format!("ReplicaSet {namespace}/{name}");
        match timeout(ANSWER, api.patch(name, &params, &Patch::Merge(patch))).await.map_err(|_| late(&what))? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(e) => Err(ClusterError::of(e, &what)),
        }
    }

    /// Which deployer has a ReplicaSet in hand.
    pub(crate) async fn holder(&self, namespace: &str, name: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client(), namespace);
        let set = ask("an app's ReplicaSet", api.get_opt(name)).await?;
        Ok(set.and_then(|set| set.annotations().get(HELD_BY).cloned()))
    }

    /// Deletes an object and what belongs to it; with `uid`, not one that took its name since.
    pub(crate) async fn delete<K>(&self, api: &Api<K>, name: &str, uid: Option<String>) -> Result<(), ClusterError>
    where
        K: Clone + serde::de::DeserializeOwned + Debug,
    {
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::background() };
        match timeout(ANSWER, api.delete(name, &params)).await.map_err(|_| late(name))? {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
            Err(e) => Err(ClusterError::of(e, name)),
        }
    }

    /// The API of an object's kind in its namespace, and its name.
    fn api_of(&self, object: &Value) -> Result<(Api<DynamicObject>, String), ClusterError> {
        let unknown = || ClusterError::Refused { what: describe(object), detail: "it has no kind or name".to_owned() };
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let version = text(&object["apiVersion"]).ok_or_else(unknown)?;
        let kind = text(&object["kind"]).ok_or_else(unknown)?;
        let name = text(&object["metadata"]["name"]).ok_or_else(unknown)?;
        let resource = resource(&version, &kind);
        let api = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client(), namespace, &resource),
            None => Api::all_with(self.client(), &resource),
        };
        Ok((api, name))
    }
}

/// The resource of a kind.
pub(crate) fn resource(version: &str, kind: &str) -> ApiResource {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// Waits for an answer, for so long.
pub(crate) async fn ask<T>(what: &str, asked: impl Future<Output = kube::Result<T>>) -> Result<T, ClusterError> {
    timeout(ANSWER, asked).await.map_err(|_| late(what))?.map_err(|e| ClusterError::of(e, what))
}

/// Does something again while the cluster is away, until `deadline`.
pub(crate) async fn patiently<T, F>(deadline: Instant, mut what: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let mut pause = RETRY_FIRST;
    loop {
        match what().await {
            Err(e) if e.is_away() && Instant::now() + pause < deadline => {
                tracing::warn!(error = %e, retry_in_ms = pause.as_millis(), "the cluster is asked again");
            }
            other => return other,
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

fn late(what: &str) -> ClusterError {
    let detail = format!("there was no answer within {} s", ANSWER.as_secs());
    ClusterError::Away { what: what.to_owned(), detail }
}

fn describe(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let meta = &object["metadata"];
    match meta["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text(&object["kind"]), text(&meta["name"])),
        None => format!("{} {}", text(&object["kind"]), text(&meta["name"])),
    }
}

/// Who else applies this object.
fn owner(object: &DynamicObject) -> Option<String> {
    let others = object.managed_fields().iter().filter(|entry| entry.operation.as_deref() == Some("Apply"));
    others.filter_map(|entry| entry.manager.clone()).find(|manager| manager != FIELD_MANAGER)
}

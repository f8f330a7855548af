//! What the cluster's objects say of an app: whether it runs, what it waits for, and why it does not run.

use common::revision::Endpoints;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};

use crate::names::CONTAINER;
use crate::view::Seen;

/// What an app does now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Now {
    /// Its ReplicaSet is not there.
    Absent,
    /// It has no instances, and is to have none.
    Stopped,
    /// For a node, or for its image; what the cluster says of it.
    Waiting(Option<String>),
    /// An instance runs and is not healthy yet.
    Starting,
    /// All instances answer.
    Ready(Endpoints),
    /// An instance does not run.
    Broken(Fault),
}

/// Why an instance does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no such image.
    ImageMissing { pod: String, detail: String },
    /// The image can't be pulled.
    Image { pod: String, detail: String },
    /// The container can't be made, or no pod is taken.
    Refused(String),
    /// No pod is taken, because the account has all that it may.
    Quota(String),
    /// It ended.
    Ended { pod: String, how: String, restarted: bool },
}

/// What registries and container runtimes say of an image that is not there.
const MISSING: [&str; 4] = ["not found", "manifest unknown", "does not exist", "name unknown"];

/// What `seen` says. `memory` is the limit of an instance, bytes.
pub(crate) fn judge(seen: &Seen, memory: u64) -> Now {
    let Some(set) = &seen.set else { return Now::Absent };
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    if wanted == 0 {
        return Now::Stopped;
    }
    let enough = usize::try_from(wanted).is_ok_and(|wanted| seen.endpoints.len() >= wanted);
    if enough && let Some(endpoints) = Endpoints::of(seen.endpoints.iter().copied()) {
        return Now::Ready(endpoints);
    }
    let alive: Vec<&Pod> = seen.pods.iter().map(|pod| &**pod).filter(|pod| is_alive(pod)).collect();
    if let Some(fault) = alive.iter().find_map(|pod| fault(pod, memory)) {
        return Now::Broken(fault);
    }
    let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let failure =
        conditions.filter(|c| c.type_ == "ReplicaFailure" && c.status == "True").find_map(|c| c.message.clone());
    if let Some(message) = failure {
        let quota = message.contains("exceeded quota");
        return Now::Broken(if quota { Fault::Quota(message) } else { Fault::Refused(message) });
    }
    if alive.iter().any(|pod| container(pod).is_some_and(|status| runs(&status.state))) {
        return Now::Starting;
    }
    Now::Waiting(alive.iter().find_map(|pod| waits_for(pod)))
}

/// How often the containers of an app's instances were started again.
pub(crate) fn restarts(seen: &Seen) -> u32 {
    let counts = seen.pods.iter().filter_map(|pod| container(pod)).map(|status| status.restart_count);
    counts.filter_map(|count| u32::try_from(count).ok()).sum()
}

/// Whether a pod is neither ending nor thrown out, which its ReplicaSet mends by itself.
fn is_alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && phase != Some("Failed")
}

/// The state of a pod's app.
pub(crate) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.iter().flatten().find(|status| status.name == CONTAINER)
}

pub(crate) fn runs(state: &Option<ContainerState>) -> bool {
    state.as_ref().is_some_and(|state| state.running.is_some())
}

/// Why a pod's container does not run, if it should.
fn fault(pod: &Pod, memory: u64) -> Option<Fault> {
    let name = || pod.metadata.name.clone().unwrap_or_default();
    let status = container(pod)?;
    let state = status.state.as_ref();
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        return Some(Fault::Ended { pod: name(), how: how(ended, memory), restarted: false });
    }
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(ended) = last.filter(|_| !status.ready) {
        return Some(Fault::Ended { pod: name(), how: how(ended, memory), restarted: true });
    }
    let waiting = state.and_then(|state| state.waiting.as_ref())?;
    let detail = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" if MISSING.iter().any(|text| detail.contains(text)) => {
            Some(Fault::ImageMissing { pod: name(), detail })
        }
        // The first failure may pass by itself; with the second the node waits ever longer.
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "ImageInspectError" => {
            Some(Fault::Image { pod: name(), detail })
        }
        reason @ ("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "StartError") => {
            Some(Fault::Refused(format!("{reason}: {detail}")))
        }
        _ => None,
    }
}

/// How a container ended, in words for its developer.
pub(crate) fn how(ended: &ContainerStateTerminated, memory: u64) -> String {
    match (ended.reason.as_deref(), ended.exit_code) {
        (Some("OOMKilled"), _) => {
            format!("it was killed because it used more than its {} of memory", logs::size(memory))
        }
        // As shells count: 128 and the signal.
        (_, 137) => "it was killed".to_owned(),
        (_, code) if code > 128 => format!("it was ended by signal {}", code - 128),
        (_, code) => format!("it ended with exit code {code}"),
    }
}

/// What a pod waits for that does not run yet.
fn waits_for(pod: &Pod) -> Option<String> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut unscheduled = conditions.filter(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(message) = unscheduled.find_map(|c| c.message.clone()) {
        return Some(message);
    }
    let waiting = container(pod)?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone()?;
    Some(waiting.message.as_ref().map_or(reason.clone(), |message| format!("{reason}: {message}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    /// What is seen of an app of one instance with this status, as release 1.31 tells it.
    fn seen(status: Value) -> Seen {
        let set = json!({ "metadata": { "name": "dpl-1" }, "spec": { "replicas": 1, "selector": {} } });
        let pod = json!({ "metadata": { "name": "dpl-1-abcde" }, "status": status });
        Seen {
            set: Some(Arc::new(serde_json::from_value(set).unwrap())),
            pods: vec![Arc::new(serde_json::from_value(pod).unwrap())],
            endpoints: Vec::new(),
        }
    }

    fn container(state: Value, last: Value, restarts: u32) -> Value {
        json!({ "phase": "Running", "containerStatuses": [{
            "name": "app", "image": "shop", "imageID": "", "ready": false, "started": false,
            "restartCount": restarts, "state": state, "lastState": last,
        }] })
    }

    fn now(status: Value) -> Now {
        judge(&seen(status), 512 << 20)
    }

    #[test]
    fn an_image_that_is_not_there_is_told_at_once_and_other_trouble_with_the_second_try() {
        let waits = |reason: &str, message: &str| {
            now(container(json!({ "waiting": { "reason": reason, "message": message } }), json!({}), 0))
        };
        let missing = "failed to pull and unpack image \"r.example/shop@sha256:00\": not found";
        assert!(matches!(waits("ErrImagePull", missing), Now::Broken(Fault::ImageMissing { .. })));
        let newer = format!("Back-off pulling image \"r.example/shop\": ErrImagePull: {missing}");
        assert!(matches!(waits("ImagePullBackOff", &newer), Now::Broken(Fault::ImageMissing { .. })));
        let denied = "failed to authorize: 401 Unauthorized";
        assert!(matches!(waits("ErrImagePull", denied), Now::Waiting(Some(detail)) if detail.contains("401")));
        assert!(matches!(waits("ImagePullBackOff", denied), Now::Broken(Fault::Image { .. })));
        let refused = waits("CreateContainerConfigError", "secret \"dpl-1-x\" not found");
        assert!(matches!(refused, Now::Broken(Fault::Refused(detail)) if detail.contains("secret")));
    }

    #[test]
    fn how_an_app_ended_is_told_also_while_its_next_container_starts() {
        let ended = |reason: &str, code: i32| {
            let ended = json!({ "terminated": { "exitCode": code, "reason": reason } });
            match now(container(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), ended, 2)) {
                Now::Broken(Fault::Ended { how, restarted: true, .. }) => how,
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(ended("Error", 3), "it ended with exit code 3");
        assert_eq!(ended("Error", 143), "it was ended by signal 15");
        assert_eq!(ended("OOMKilled", 137), "it was killed because it used more than its 512 MiB of memory");
    }

    #[test]
    fn what_an_app_waits_for_is_what_the_scheduler_says() {
        let message = "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available.";
        let condition =
            json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message });
        let status = json!({ "phase": "Pending", "conditions": [condition] });
        assert_eq!(now(status), Now::Waiting(Some(message.to_owned())));
        let evicted =
            json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." });
        assert_eq!(now(evicted), Now::Waiting(None), "its ReplicaSet makes another");
    }

    #[test]
    fn pods_that_the_cluster_does_not_take_are_told_with_its_reason() {
        let refused = |message: &str| {
            let mut seen = seen(json!({ "phase": "Pending" }));
            seen.pods.clear();
            let condition =
                json!({ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message });
            let set = json!({
                "metadata": {}, "spec": { "replicas": 1, "selector": {} },
                "status": { "replicas": 0, "conditions": [condition] },
            });
            seen.set = Some(Arc::new(serde_json::from_value(set).unwrap()));
            judge(&seen, 0)
        };
        let quota = "pods \"dpl-1-x\" is forbidden: exceeded quota: astrocloud, requested: pods=1, used: pods=1, limited: pods=1";
        assert!(matches!(refused(quota), Now::Broken(Fault::Quota(_))));
        let class = "pods \"dpl-1-x\" is forbidden: pod rejected: RuntimeClass \"kata\" not found";
        assert!(matches!(refused(class), Now::Broken(Fault::Refused(_))));
    }
}

//! A deployment's ReplicaSet: how its instances run, how they are shut in, and how they end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Settings;
use crate::account::PULL_SECRET;
use crate::connect::Versions;
use crate::names::{CONTAINER, PORT};
use crate::objects::Place;

/// Whom apps run as: nobody, as their image says too.
const NOBODY: i64 = 65534;
/// Pause between two health checks while an app starts, in seconds: the shortest there is.
const STARTUP_EVERY: u64 = 1;
/// Pause between two checks whether an instance gets visitors, in seconds.
const READINESS_EVERY: u64 = 2;
/// Failed such checks in a row after which it gets none.
const READINESS_FAILURES: u64 = 3;

pub(crate) fn replica_set(settings: &Settings, versions: &Versions, place: &Place<'_>, secret: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": place.meta(&place.name),
        "spec": {
            "replicas": settings.replicas,
            "selector": place.selector(),
            "template": {
                "metadata": { "labels": place.labels() },
                "spec": pod(settings, versions, place, secret),
            },
        },
    })
}

fn pod(settings: &Settings, versions: &Versions, place: &Place<'_>, secret: &str) -> Value {
    let mut pod = json!({
        "containers": [container(settings, versions, place, secret)],
        // An app has no business with the cluster's API, and none with the names of other Services.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        // The pause before SIGTERM counts.
        "terminationGracePeriodSeconds": seconds(settings.drain_delay + settings.grace),
        "volumes": [{ "name": "tmp", "emptyDir": { "sizeLimit": settings.limits.disk.to_string() } }],
    });
    if let Some(class) = &settings.runtime_class {
        pod["runtimeClassName"] = json!(class);
    }
    if settings.pull_secret.is_some() {
        pod["imagePullSecrets"] = json!([{ "name": PULL_SECRET }]);
    }
    if settings.replicas > 1 {
        let spread = |over: &str| {
            json!({
                "maxSkew": 1,
                "topologyKey": over,
                // Better two on one node than one that does not run.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": place.selector(),
            })
        };
        pod["topologySpreadConstraints"] =
            json!([spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")]);
    }
    pod
}

fn container(settings: &Settings, versions: &Versions, place: &Place<'_>, secret: &str) -> Value {
    let limits = &settings.limits;
    let mut container = json!({
        "name": CONTAINER,
        "image": place.app.image,
        // Images are named by digest.
        "imagePullPolicy": "IfNotPresent",
        "ports": [{ "containerPort": PORT, "protocol": "TCP" }],
        "envFrom": [{ "secretRef": { "name": secret } }],
        // Wins over what the Secret says.
        "env": [{ "name": "PORT", "value": PORT.to_string() }],
        "resources": {
            "requests": {
                "cpu": format!("{}m", limits.cpu_request),
                "memory": limits.memory.to_string(),
                "ephemeral-storage": limits.disk.to_string(),
            },
            "limits": {
                "cpu": format!("{}m", limits.cpu),
                "memory": limits.memory.to_string(),
                "ephemeral-storage": limits.disk.to_string(),
            },
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
        },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
        "startupProbe": probe(settings, place, STARTUP_EVERY, seconds(settings.start_timeout) / STARTUP_EVERY),
        "readinessProbe": probe(settings, place, READINESS_EVERY, READINESS_FAILURES),
        "livenessProbe":
            probe(settings, place, seconds(settings.liveness_every), u64::from(settings.liveness_failures)),
    });
    if !settings.drain_delay.is_zero() {
        // Edges hear that it ends when this begins, and many servers die at once on SIGTERM.
        let pause = seconds(settings.drain_delay);
        let hook = match versions.sleeps() {
            true => json!({ "sleep": { "seconds": pause } }),
            false => json!({ "exec": { "command": ["sleep", pause.to_string()] } }),
        };
        container["lifecycle"] = json!({ "preStop": hook });
    }
    container
}

/// The project's health check, or whether it listens when there is none.
fn probe(settings: &Settings, place: &Place<'_>, every: u64, failures: u64) -> Value {
    let mut probe = json!({
        "periodSeconds": every.max(1),
        "timeoutSeconds": seconds(settings.health_timeout),
        "failureThreshold": failures.max(1),
    });
    match &place.app.health_path {
        Some(path) => probe["httpGet"] = json!({ "path": path, "port": PORT, "scheme": "HTTP" }),
        None => probe["tcpSocket"] = json!({ "port": PORT }),
    }
    probe
}

/// Whole seconds, as the API takes times: at least one.
fn seconds(time: Duration) -> u64 {
    (time.as_millis().div_ceil(1000) as u64).max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use common::id::DeploymentId;
    use common::ledger::App;
    use common::secret::Secret;

    use super::*;
    use crate::objects::objects;

    fn app() -> App {
        App {
            deployment: DeploymentId::new(),
            account: "owner".to_owned(),
            project_name: "shop".parse().unwrap(),
            image: "registry.example/shop@sha256:00".to_owned(),
            health_path: Some("/health".to_owned()),
            env: BTreeMap::from([
                ("KEY".to_owned(), Secret::new("hunter22")),
                ("PORT".to_owned(), Secret::new("80")),
                ("NODE_ENV".to_owned(), Secret::new("staging")),
            ]),
        }
    }

    fn made(settings: &Settings, minor: u32) -> Vec<Value> {
        let app = app();
        objects(settings, &Versions::of_release(minor), &Place::new(&app, "astrocloud-owner"))
    }

    fn of<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap()
    }

    #[test]
    fn an_instance_may_do_nothing_that_it_does_not_need() {
        let objects =
            made(&Settings { runtime_class: Some("kata-vm-isolation".to_owned()), ..Settings::default() }, 33);
        let pod = &of(&objects, "ReplicaSet")["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["runtimeClassName"], "kata-vm-isolation");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(container["securityContext"]["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(container["resources"]["limits"]["memory"], (512 << 20).to_string());
        for privilege in ["hostNetwork", "hostPID", "hostIPC", "serviceAccountName"] {
            assert!(pod.get(privilege).is_none(), "{privilege}");
        }
    }

    #[test]
    fn variables_are_in_the_secret_only_and_the_port_is_the_platforms() {
        let objects = made(&Settings::default(), 33);
        let secret = of(&objects, "Secret");
        assert_eq!(secret["data"]["KEY"], crate::objects::base64("hunter22"));
        assert_eq!(secret["data"]["NODE_ENV"], crate::objects::base64("staging"));
        assert_eq!(secret["data"].get("PORT"), None);
        let rest: String = objects.iter().filter(|o| o["kind"] != "Secret").map(ToString::to_string).collect();
        assert!(!rest.contains("hunter22") && !rest.contains(&crate::objects::base64("hunter22")));
        let container = &of(&objects, "ReplicaSet")["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{ "name": "PORT", "value": "8080" }]));
        assert_eq!(container["envFrom"][0]["secretRef"]["name"], secret["metadata"]["name"]);
    }

    #[test]
    fn an_instance_leaves_before_it_is_told_to_end() {
        let hook = |minor| {
            let objects = made(&Settings::default(), minor);
            let pod = of(&objects, "ReplicaSet")["spec"]["template"]["spec"].clone();
            assert_eq!(pod["terminationGracePeriodSeconds"], 13);
            pod["containers"][0]["lifecycle"]["preStop"].clone()
        };
        assert_eq!(hook(33), json!({ "sleep": { "seconds": 3 } }));
        assert_eq!(hook(20), json!({ "exec": { "command": ["sleep", "3"] } }));
    }

    #[test]
    fn several_instances_are_spread_and_leave_one_at_a_time() {
        let objects = made(&Settings { replicas: 3, ..Settings::default() }, 20);
        let budget = of(&objects, "PodDisruptionBudget");
        assert_eq!(budget["apiVersion"], "policy/v1beta1");
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        let pod = &of(&objects, "ReplicaSet")["spec"]["template"]["spec"];
        assert_eq!(pod["topologySpreadConstraints"].as_array().unwrap().len(), 2);
        assert!(made(&Settings::default(), 33).iter().all(|object| object["kind"] != "PodDisruptionBudget"));
    }
}

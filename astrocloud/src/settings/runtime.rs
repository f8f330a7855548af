//! Where apps run, and how a cluster runs them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use common::secret::Secret;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use kubernetes::Connection;
use serde::{Deserialize, Serialize};

use super::{Apps, Bytes, Maybe};
use crate::exit::Usage;

/// Where apps run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Runtime {
    pub kind: Kind,
    pub kubeconfig: Maybe<String>,
    pub context: Maybe<String>,
    pub namespace: String,
    pub namespace_prefix: String,
    pub runtime_class: Maybe<String>,
    pub replicas: u32,
    pub cpu_request: u32,
    pub cpu: u32,
    pub account_pods: u32,
    pub account_memory: Bytes,
    pub pull_secret_file: Maybe<String>,
    pub edge_networks: Vec<String>,
    pub denied_networks: Vec<String>,
    #[serde(with = "span")]
    pub schedule_timeout: Duration,
    #[serde(with = "span")]
    pub resync: Duration,
    #[serde(with = "span")]
    pub keep_stopped: Duration,
}

/// What runs apps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    #[default]
    Processes,
    Kubernetes,
}

impl Default for Runtime {
    fn default() -> Self {
        let own = kubernetes::Settings::default();
        Self {
            kind: Kind::default(),
            kubeconfig: Maybe(None),
            context: Maybe(None),
            namespace: own.namespace,
            namespace_prefix: own.namespace_prefix,
            runtime_class: Maybe(own.runtime_class),
            replicas: own.replicas,
            cpu_request: own.limits.cpu_request,
            cpu: own.limits.cpu,
            account_pods: own.quota.pods,
            account_memory: Bytes(own.quota.memory),
            pull_secret_file: Maybe(None),
            edge_networks: own.edge_networks,
            denied_networks: own.denied_networks,
            schedule_timeout: own.schedule_timeout,
            resync: own.resync,
            keep_stopped: own.keep_stopped,
        }
    }
}

impl Runtime {
    /// How the cluster is reached: by a kubeconfig, or from within.
    pub fn connection(&self) -> Connection {
        match (&self.kubeconfig.0, &self.context.0) {
            (None, None) => Connection::InCluster,
            (path, context) => Connection::Kubeconfig { path: path.as_ref().map(Into::into), context: context.clone() },
        }
    }

    /// The settings as the cluster's adapter takes them. What holds for every kind of runtime is said in `apps`.
    ///
    /// # Errors
    /// When something can't be meant so, or a file can't be read.
    pub fn on_kubernetes(&self, apps: &Apps) -> anyhow::Result<kubernetes::Settings> {
        if self.replicas == 0 {
            return Err(Usage::new("runtime.replicas: an app has one instance at least").into());
        }
        for (name, networks) in [("edge", &self.edge_networks), ("denied", &self.denied_networks)] {
            for network in networks {
                let wrong =
                    |e| Usage::new(format!("runtime.{name}_networks: `{network}` is no network as 10.1.0.0/16: {e}"));
                network.parse::<ipnet::IpNet>().map_err(wrong)?;
            }
        }
        let pull_secret = self.pull_secret_file.0.as_deref().map(|path| pull_secret(Path::new(path))).transpose()?;
        Ok(kubernetes::Settings {
            namespace: self.namespace.clone(),
            namespace_prefix: self.namespace_prefix.clone(),
            runtime_class: self.runtime_class.0.clone(),
            replicas: self.replicas,
            limits: kubernetes::AppLimits {
                memory: apps.memory.0,
                cpu_request: self.cpu_request,
                cpu: self.cpu,
                disk: apps.disk.0,
            },
            quota: kubernetes::Quota { pods: self.account_pods, memory: self.account_memory.0 },
            pull_secret,
            edge_networks: self.edge_networks.clone(),
            denied_networks: self.denied_networks.clone(),
            schedule_timeout: self.schedule_timeout,
            start_timeout: apps.start_timeout,
            health_timeout: apps.health_timeout,
            liveness_every: apps.liveness_every,
            liveness_failures: apps.liveness_failures,
            drain_delay: apps.drain_delay,
            grace: apps.grace,
            log_lines_per_second: apps.log_lines_per_second,
            resync: self.resync,
            keep_stopped: self.keep_stopped,
        })
    }
}

fn pull_secret(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} (runtime.pull_secret_file) can't be read", path.display()))?;
    let read: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("{} (runtime.pull_secret_file) is no .dockerconfigjson", path.display()))?;
    if !read["auths"].is_object() {
        let wrong = format!("{} (runtime.pull_secret_file) has no `auths`, as a .dockerconfigjson has", path.display());
        return Err(Usage::new(wrong).into());
    }
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> anyhow::Result<kubernetes::Settings> {
        toml::from_str::<Runtime>(text)?.on_kubernetes(&Apps::default())
    }

    #[test]
    fn what_is_not_said_is_as_the_adapter_has_it() {
        let settings = read("kind = 'kubernetes'\nruntime_class = 'kata-vm-isolation'").unwrap();
        let own = kubernetes::Settings::default();
        assert_eq!(settings.runtime_class.as_deref(), Some("kata-vm-isolation"));
        assert_eq!((settings.limits, settings.quota), (own.limits, own.quota));
        assert_eq!((settings.start_timeout, settings.drain_delay), (own.start_timeout, own.drain_delay));
        assert_eq!(Runtime::default().kind, Kind::Processes);
    }

    #[test]
    fn a_cluster_is_reached_from_within_unless_a_kubeconfig_is_named() {
        assert_eq!(Runtime::default().connection(), Connection::InCluster);
        let named: Runtime = toml::from_str("kubeconfig = '/k'\ncontext = 'staging'").unwrap();
        let expected = Connection::Kubeconfig { path: Some("/k".into()), context: Some("staging".to_owned()) };
        assert_eq!(named.connection(), expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("replicas = 0", "one instance"),
            ("denied_networks = ['10.0.0.0']", "10.1.0.0/16"),
            ("pull_secret_file = '/nowhere/x'", "/nowhere/x"),
            ("kind = 'docker'", "kubernetes"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}

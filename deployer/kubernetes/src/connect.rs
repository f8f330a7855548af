//! How a cluster is reached, and what its release knows.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::ClusterError;

/// Time for a connection to the API server.
const CONNECTING: Duration = Duration::from_secs(10);
/// First release with a pause as a hook's action (`PodLifecycleSleepAction`, on by default).
const SLEEP_SINCE: u32 = 30;

/// Where the cluster is, and as whom it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// By the ServiceAccount of the pod that this runs in.
    InCluster,
    /// By a kubeconfig.
    Kubeconfig {
        /// The file; what `kubectl` takes when absent.
        path: Option<PathBuf>,
        /// Context in it; its current one when absent.
        context: Option<String>,
    },
}

/// Why a cluster can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig can't be used.
    #[error("the kubeconfig {path} can't be used: {detail}")]
    Kubeconfig {
        /// Which.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// This process is in no pod of a cluster.
    #[error(
        "this process can't use the cluster that it is to run in: {0}; set runtime.kubeconfig when it runs elsewhere"
    )]
    NotInCluster(String),
    /// The client can't be made.
    #[error("the cluster's address or credentials can't be used: {0}")]
    Client(String),
}

impl Connection {
    /// A client; nothing is asked yet, so the cluster may be away.
    ///
    /// # Errors
    /// When what is known of the cluster can't be meant so.
    pub async fn client(&self) -> Result<Client, ConnectError> {
        let mut config = match self {
            Self::InCluster => Config::incluster().map_err(|e| ConnectError::NotInCluster(e.to_string()))?,
            Self::Kubeconfig { path, context } => {
                let shown = path.as_ref().map_or_else(|| "of kubectl".to_owned(), |path| path.display().to_string());
                let wrong = |e: kube::config::KubeconfigError| ConnectError::Kubeconfig {
                    path: shown.clone(),
                    detail: e.to_string(),
                };
                let file = path.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from).map_err(wrong)?;
                let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
                Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
            }
        };
        config.connect_timeout = Some(CONNECTING);
        Client::try_from(config).map_err(|e| ConnectError::Client(e.to_string()))
    }
}

/// What a cluster's release knows, as far as it makes a difference here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    minor: u32,
    slices_v1: bool,
    budget_v1: bool,
}

impl Versions {
    /// Asks the API server.
    pub(crate) async fn discover(client: &Client) -> Result<Self, ClusterError> {
        let failed = |e: kube::Error| ClusterError::of(e, "the versions of its API");
        let version = client.apiserver_version().await.map_err(failed)?;
        let groups = client.list_api_groups().await.map_err(failed)?;
        let has = |name: &str| {
            let group = groups.groups.iter().find(|group| group.name == name);
            group.is_some_and(|group| group.versions.iter().any(|version| version.version == "v1"))
        };
        // Managed clusters write `33+`.
        let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
        let minor = digits.parse().unwrap_or_else(|_| {
            // Built by hand, without a release: what every release knows is used, and nothing newer.
            tracing::info!(version = version.git_version, "the cluster does not tell its release");
            0
        });
        Ok(Self { minor, slices_v1: has("discovery.k8s.io"), budget_v1: has("policy") })
    }

    /// Those of release 1.`minor`.
    #[cfg(test)]
    pub(crate) fn of_release(minor: u32) -> Self {
        Self { minor, slices_v1: minor >= 21, budget_v1: minor >= 21 }
    }

    /// Version of EndpointSlices.
    pub(crate) fn slices(&self) -> &'static str {
        if self.slices_v1 { "v1" } else { "v1beta1" }
    }

    /// API version of PodDisruptionBudgets.
    pub(crate) fn disruption_budget(&self) -> &'static str {
        if self.budget_v1 { "policy/v1" } else { "policy/v1beta1" }
    }

    /// Whether a hook can be a pause.
    pub(crate) fn sleeps(&self) -> bool {
        self.minor >= SLEEP_SINCE
    }
}

//! What the runtime needs to know, with its defaults.

use std::time::Duration;

use common::secret::Secret;

/// How apps are run on a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the platform itself: its leases lie there, and its edges run there.
    pub namespace: String,
    /// What the names of accounts' namespaces begin with.
    pub namespace_prefix: String,
    /// RuntimeClass of apps' pods, for pods in virtual machines of their own (`kata-vm-isolation` on AKS); the
    /// cluster's default when absent.
    pub runtime_class: Option<String>,
    /// Instances of an app. 1: as many as an app needs that is not made for several.
    pub replicas: u32,
    /// What one instance may use.
    pub limits: AppLimits,
    /// What all apps of one account may use together.
    pub quota: Quota,
    /// Content of a `.dockerconfigjson` with which images are pulled; none when nodes can pull by themselves.
    pub pull_secret: Option<Secret>,
    /// Networks, in CIDR notation, from which edges reach apps when they do not run in the platform's namespace.
    pub edge_networks: Vec<String>,
    /// Networks, in CIDR notation, that apps may not reach, beside all private ones: a public address of the API server.
    pub denied_networks: Vec<String>,
    /// Time for a place on a node and for the image to be there. 5 min: a cluster that has to add a node needs some
    /// minutes.
    pub schedule_timeout: Duration,
    /// Time from the start of the container to its first passed health check. 60 s: frameworks that compile at their
    /// start and apps that migrate a database need some tens of seconds.
    pub start_timeout: Duration,
    /// Time for one try of a health check. 2 s: an app that is slower than that is of no use to visitors.
    pub health_timeout: Duration,
    /// Pause between two health checks of a running app. 10 s.
    pub liveness_every: Duration,
    /// Failed health checks in a row after which a running app is restarted. 3.
    pub liveness_failures: u32,
    /// Time between leaving the route table and SIGTERM, for requests in flight. 3 s: longer than nearly all last.
    pub drain_delay: Duration,
    /// Time between SIGTERM and SIGKILL. 10 s.
    pub grace: Duration,
    /// Lines that one instance may log in one second; what is more is dropped, and the log says how much.
    pub log_lines_per_second: u32,
    /// Time between two comparisons of everything in the cluster with what should be there. 1 min: watches tell of
    /// nearly everything at once, and this is for the rest.
    pub resync: Duration,
    /// How long objects of an app that was stopped are kept. 24 h: a rollback within it starts the soonest.
    pub keep_stopped: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: "astrocloud".to_owned(),
            namespace_prefix: "astrocloud-".to_owned(),
            runtime_class: None,
            replicas: 1,
            limits: AppLimits::default(),
            quota: Quota::default(),
            pull_secret: None,
            edge_networks: Vec::new(),
            denied_networks: Vec::new(),
            schedule_timeout: Duration::from_secs(300),
            start_timeout: Duration::from_secs(60),
            health_timeout: Duration::from_secs(2),
            liveness_every: Duration::from_secs(10),
            liveness_failures: 3,
            drain_delay: Duration::from_secs(3),
            grace: Duration::from_secs(10),
            log_lines_per_second: 500,
            resync: Duration::from_secs(60),
            keep_stopped: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Settings {
    /// How long a start may take at most.
    pub(crate) fn longest_start(&self) -> Duration {
        self.schedule_timeout + self.start_timeout
    }
}

/// What one instance may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppLimits {
    /// Memory, bytes. 512 MiB: a Node server of ordinary size needs 50 to 200 MiB.
    pub memory: u64,
    /// Thousandths of a core that it is sure of. 100: an idle server needs less, and what is free is everybody's.
    pub cpu_request: u32,
    /// Thousandths of a core that it may use. 1,000: Node runs on one core.
    pub cpu: u32,
    /// Bytes on disk, `/tmp` and logs together. 1 GiB.
    pub disk: u64,
}

impl Default for AppLimits {
    fn default() -> Self {
        Self { memory: 512 << 20, cpu_request: 100, cpu: 1000, disk: 1 << 30 }
    }
}

/// What all apps of one account may use together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Instances. 100: an account that has more is asked what for.
    pub pods: u32,
    /// Memory of all instances, bytes. 64 GiB.
    pub memory: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { pods: 100, memory: 64 << 30 }
    }
}

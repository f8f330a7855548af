//! The platform's settings: one typed tree with a default for everything. A file comes before the defaults, the
//! environment before the file, and flags before the environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};

mod acme;
mod azure;
mod bytes;
mod database;
mod dns;
mod domains;
mod edge;
mod help;
mod layers;
mod logs;
mod maybe;
mod objects;
mod parts;
mod queue;
mod registry;
mod roles;
mod runtime;

pub use acme::Acme;
pub use azure::Azure;
pub use bytes::Bytes;
pub use database::Database;
pub use dns::Dns;
pub use domains::{Domains, Limits};
pub use edge::Edge;
pub use help::print;
pub use logs::Logs;
pub use maybe::Maybe;
pub use objects::{Objects, StoreUrl};
pub use queue::Queue;
pub use registry::Registry;
pub use roles::{ControlPlane, Deployer};
pub use runtime::{Kind, Runtime};

/// The whole tree. Each field is described in [`help`], where `astrocloud config` takes it from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub shared_dir: Maybe<String>,
    pub base_domain: String,
    pub database: Database,
    pub queue: Queue,
    pub logs: Logs,
    pub registry: Registry,
    pub objects: Objects,
    pub listen: Listen,
    pub builds: Builds,
    pub sources: Sources,
    pub sites: Sites,
    pub apps: Apps,
    pub runtime: Runtime,
    pub edge: Edge,
    pub control_plane: ControlPlane,
    pub deployer: Deployer,
    pub dns: Dns,
    pub lookup: lookup::Settings,
    pub domains: Domains,
    pub doctor: doctor::Settings,
    pub limits: Limits,
    pub acme: Acme,
    pub sandbox: Sandbox,
    pub log: Log,
}

/// Where the platform listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Listen {
    pub http: SocketAddr,
    pub https: SocketAddr,
    pub api: SocketAddr,
}

/// What builds may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Builds {
    pub concurrency: NonZeroUsize,
    #[serde(with = "span")]
    pub wall: Duration,
    pub memory: Bytes,
    pub processes: u32,
    pub file_size: Bytes,
    pub disk: Bytes,
    pub open_files: u64,
    pub output_lines: u64,
    pub output_bytes: Bytes,
    pub downloads: Bytes,
}

/// What may be uploaded and fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Sources {
    pub upload: Bytes,
    pub pending_uploads: u32,
    pub entries: u64,
    pub bytes: Bytes,
    pub file_bytes: Bytes,
    #[serde(with = "span")]
    pub wall: Duration,
}

/// What a static site may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Sites {
    pub files: usize,
    pub bytes: Bytes,
    pub file_bytes: Bytes,
}

/// What an app may use, and how patiently it is treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Apps {
    pub memory: Bytes,
    pub processes: u32,
    pub open_files: u64,
    pub file_size: Bytes,
    pub disk: Bytes,
    pub log_lines_per_second: u32,
    #[serde(with = "span")]
    pub start_timeout: Duration,
    #[serde(with = "span")]
    pub health_timeout: Duration,
    #[serde(with = "span")]
    pub liveness_every: Duration,
    pub liveness_failures: u32,
    #[serde(with = "span")]
    pub drain_delay: Duration,
    #[serde(with = "span")]
    pub grace: Duration,
    #[serde(with = "span")]
    pub restart_first: Duration,
    #[serde(with = "span")]
    pub restart_max: Duration,
    #[serde(with = "span")]
    pub restart_reset: Duration,
}

/// How builds and apps are shut in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Sandbox {
    pub forbid: Vec<sandbox::Level>,
}

/// What the platform logs on stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
    pub access: bool,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// For whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            shared_dir: Maybe(None),
            base_domain: "localhost".to_owned(),
            database: Database::default(),
            queue: Queue::default(),
            logs: Logs::default(),
            registry: Registry::default(),
            objects: Objects::default(),
            listen: Listen::default(),
            builds: Builds::default(),
            sources: Sources::default(),
            sites: Sites::default(),
            apps: Apps::default(),
            runtime: Runtime::default(),
            edge: Edge::default(),
            control_plane: ControlPlane::default(),
            deployer: Deployer::default(),
            dns: Dns::default(),
            lookup: lookup::Settings::default(),
            domains: Domains::default(),
            doctor: doctor::Settings::default(),
            limits: Limits::default(),
            acme: Acme::default(),
            sandbox: Sandbox::default(),
            log: Log::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { http: local(8080), https: local(8443), api: local(8081) }
    }
}

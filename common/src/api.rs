//! Bodies of the REST API under `/api/v1`, shared by the control plane and its clients.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::bus::Record;
use crate::deployment::{Failure, Kind};
use crate::id::{DeploymentId, ProjectId, UploadId};
use crate::name::ProjectName;
use crate::policy::{
    Access, AppPolicy, CachePolicy, Compression, Credential, HttpsPolicy, Limits, Policy, ProtectedHosts, Protection,
    Rule, TrailingSlash,
};
use crate::project::Settings;
use crate::revision::RevisionStatus;
use crate::secret::Secret;
use crate::source::Source;
use crate::time::Timestamp;
use crate::usage::Usage;
use crate::zone::NameServer;

mod certificate;
mod queue;

pub use certificate::{CertificateState, HostCertificate, PassedOver};
pub use queue::{QueueAway, QueueJobs, QueueStatus};

/// Most rows of one page.
pub const MAX_PAGE: u32 = 100;

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the rows after these; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A project to create.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Its name, the first label of its host name.
    pub name: ProjectName,
    /// How it is built and run; what is absent is detected.
    #[serde(default)]
    pub settings: Settings,
}

/// A project.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// How it is built and run.
    pub settings: Settings,
    /// Where visitors reach it.
    #[schema(value_type = String)]
    pub url: Url,
    /// The deployment that visitors get; absent before the first one is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_deployment: Option<DeploymentId>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Where a deployment is, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentStatus {
    /// Waits for a deployer.
    Queued,
    /// Is fetched and built.
    Building,
    /// Its output is being stored.
    Publishing,
    /// Its app was started; its health check has not passed yet.
    Starting,
    /// It is made live: edges are being told; `reason` says which are waited for, and until when.
    Activating,
    /// Visitors of the project get it. `reason` names edges that may not serve it yet, because they were away or slow
    /// for too long.
    Live,
    /// Done, reachable under its own URL, not the live one.
    Ready,
    /// Ended without a result; `reason` says why.
    Failed,
    /// Ended on request; `reason` says why.
    Canceled,
}

impl DeploymentStatus {
    /// Whether the deployment will do no more work.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Failed | Self::Canceled)
    }

    /// The wire word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Publishing => "publishing",
            Self::Starting => "starting",
            Self::Activating => "activating",
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// One build of one source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Name of its project.
    pub project: ProjectName,
    /// Where it is.
    pub status: DeploymentStatus,
    /// Why, when it waits, failed, was canceled, is ready without being live, or is live but not at every edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Failure>,
    /// What it was built from.
    pub source: Source,
    /// What it is, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What was detected, for example `Vite (React)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// How its build was isolated: `bubblewrap`, `namespaces`, `landlock` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// The project's address.
    #[schema(value_type = String)]
    pub url: Url,
    /// This deployment's own address, which always answers from it.
    #[schema(value_type = String)]
    pub deployment_url: Url,
    /// What its app does, for `node` deployments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<RevisionStatus>,
    /// The later one of the same branch that made it unneeded while it waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<DeploymentId>,
    /// When what it waits for is tried again, where it waits for a part that is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When a deployer took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// A deployment to make.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployment {
    /// What to build.
    pub source: Source,
    /// Settings for this deployment alone: those given count in place of the project's.
    #[serde(default)]
    pub settings: Settings,
}

/// Which deployment to make live.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    /// The deployment; the one that was live before the present one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
}

/// A place to put a source archive.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Name it in a deployment's source.
    pub id: UploadId,
    /// Method of the request that stores the ZIP, which is its body.
    #[serde(default = "put")]
    pub method: String,
    /// Its URL. It needs no further credentials, so it is a secret.
    #[schema(value_type = String)]
    pub url: Url,
    /// Header fields that it must have.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub headers: std::collections::BTreeMap<String, String>,
    /// Whether the URL is the object store's own. Otherwise it is the API's.
    #[serde(default)]
    pub direct: bool,
    /// The URL is refused after this time.
    pub expires_at: Timestamp,
    /// Largest archive accepted, bytes.
    pub max_bytes: u64,
}

fn put() -> String {
    "PUT".to_owned()
}

/// What to do about the object store's garbage.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GarbageRequest {
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// Environment variables to set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetEnv {
    /// Values by name.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub variables: std::collections::BTreeMap<String, Secret>,
}

/// An environment variable; its value is not told.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EnvVariable {
    /// Its name.
    pub name: String,
    /// When it was last set.
    pub updated_at: Timestamp,
}

/// Which of a deployment's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// What the build said.
    #[default]
    Build,
    /// What the running app says.
    Runtime,
}

impl LogKind {
    /// Its word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Runtime => "runtime",
        }
    }
}

/// A page of log records.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// Records in order of their sequence numbers.
    pub records: Vec<Record>,
    /// Whether no record will follow, ever.
    pub finished: bool,
}

/// A message of the log WebSocket, from the control plane to the client.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LogMessage {
    /// Records in order; a client that reconnects passes the last `seq` as `after`.
    Records {
        /// The records.
        records: Vec<Record>,
    },
    /// The deployment as it is now; sent at first and whenever it changes.
    Deployment {
        /// The deployment.
        deployment: Box<Deployment>,
    },
    /// No record will follow; the connection closes.
    End,
}

/// A link that logs a browser in, once.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LoginLink {
    /// Open it in a browser.
    #[schema(value_type = String)]
    pub url: Url,
    /// It does nothing after this time.
    pub expires_at: Timestamp,
}

/// What this installation is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct System {
    /// Version of the control plane.
    pub version: String,
    /// Base domain of projects' hosts.
    pub base_domain: String,
    /// Isolation of builds and apps: `bubblewrap`, `namespaces`, `landlock` or `none`.
    pub isolation: String,
    /// Largest source archive accepted, bytes.
    pub max_upload_bytes: u64,
    /// Name servers that run; none when the DNS server is off.
    pub name_servers: Vec<NameServer>,
    /// Certificate authorities that are asked, in order. Without any, hosts have the development CA's certificates.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// The wildcard certificate of the base domain, where it is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<HostCertificate>,
    /// The control planes that run.
    #[serde(default)]
    pub control_planes: Vec<ControlPlane>,
}

/// A control plane of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlPlane {
    /// What it is called.
    pub name: String,
    /// Edges that hang on it.
    pub edges: usize,
    /// Edges that hang on it, or did last, and have not applied every change.
    pub behind: usize,
}

/// How the edge treats a project's visitors, as people set and read it: a [`Policy`] with logins in place of hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EdgePolicy {
    /// Whether visitors are led to HTTPS.
    pub https: HttpsPolicy,
    /// Static sites: one address per page.
    pub trailing_slash: TrailingSlash,
    /// Who may see what.
    pub protection: Vec<ProtectedPath>,
    /// How apps are asked.
    pub app: AppPolicy,
    /// Whether answers of apps are kept.
    pub cache: CachePolicy,
    /// Whether text that an app sends uncompressed is compressed on its way.
    pub compression: Compression,
    /// How much is served at once.
    pub limits: Limits,
    /// Who is served at all.
    pub access: Access,
    /// Rules, in order; the first that ends a request ends it.
    pub rules: Vec<Rule>,
}

/// A path below which visitors must log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProtectedPath {
    /// Path prefix, in whole segments; `/` is everything.
    pub path: String,
    /// Which of the project's addresses it covers.
    #[serde(default)]
    pub on: ProtectedHosts,
    /// Who may pass.
    pub users: Vec<PathUser>,
}

/// Who may pass a protected path. A user without `password` and `hash` keeps the password that this user has for the
/// same path already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PathUser {
    /// User name, without a colon.
    pub user: String,
    /// The password to set; only its hash is kept, and it is never told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, write_only)]
    pub password: Option<Secret>,
    /// The password's hash to set, a PHC string of Argon2id, in place of the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, write_only)]
    pub hash: Option<Secret>,
    /// Whether the user has a password; told, and not looked at when it is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub password_set: bool,
}

impl From<Credential> for PathUser {
    fn from(credential: Credential) -> Self {
        Self { user: credential.user, password_set: true, ..Self::default() }
    }
}

impl From<Protection> for ProtectedPath {
    fn from(protection: Protection) -> Self {
        let users = protection.users.into_iter().map(PathUser::from).collect();
        Self { path: protection.path, on: protection.on, users }
    }
}

impl From<Policy> for EdgePolicy {
    fn from(policy: Policy) -> Self {
        Self {
            https: policy.https,
            trailing_slash: policy.trailing_slash,
            protection: policy.protection.into_iter().map(ProtectedPath::from).collect(),
            app: policy.app,
            cache: policy.cache,
            compression: policy.compression,
            limits: policy.limits,
            access: policy.access,
            rules: policy.rules,
        }
    }
}

/// Kept answers that edges are to forget: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PurgeRequest {
    /// All of the project's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Those of one of the project's hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// That of one address, with its query.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub url: Option<Url>,
    /// Those whose `Cache-Tag` names this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What a purge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeResult {
    /// Edges that have forgotten the answers.
    pub edges: usize,
    /// Edges that did not say so in time; they will when they can.
    pub late: usize,
}

/// What a project was served.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// The project.
    pub project: ProjectName,
    /// Upper bounds of the latency histogram's buckets in milliseconds; the last bucket has what is slower.
    pub latency_bounds_ms: Vec<u32>,
    /// Hours in which there was something, in order.
    pub hours: Vec<UsageHour>,
}

/// What a project was served in one hour.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageHour {
    /// When the hour begins.
    pub hour: Timestamp,
    /// Counts.
    #[serde(flatten)]
    pub usage: Usage,
}

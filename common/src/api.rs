//! Bodies of the REST API under `/api/v1`, shared by the control plane and its clients.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::bus::Record;
use crate::deployment::{Failure, Kind};
use crate::id::{DeploymentId, ProjectId, UploadId};
use crate::name::ProjectName;
use crate::project::Settings;
use crate::revision::RevisionStatus;
use crate::secret::Secret;
use crate::source::Source;
use crate::time::Timestamp;

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
    /// Visitors of the project get it.
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
    /// Why, when it waits, failed, was canceled, or is ready without being live.
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
    /// PUT the ZIP here, without further credentials.
    #[schema(value_type = String)]
    pub url: Url,
    /// The URL is refused after this time.
    pub expires_at: Timestamp,
    /// Largest archive accepted, bytes.
    pub max_bytes: u64,
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
}

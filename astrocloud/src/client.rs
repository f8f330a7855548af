//! The platform's REST API, typed.

use std::fs::File;
use std::time::Duration;

use common::api::{
    Deployment, EdgePolicy, EnvVariable, GarbageRequest, HostCertificate, LogKind, LogPage, LoginLink, NewDeployment,
    NewProject, Page, Project, PurgeRequest, PurgeResult, Rollback, SetEnv, System, Upload, UsageReport,
};
use common::id::DeploymentId;
use common::name::ProjectName;
use common::problem::Problem;
use common::secret::Secret;
use common::time::Timestamp;
use garbage::Report;
use indicatif::ProgressBar;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::config::{self, Login};

mod domains;
mod follow;
mod queue;
#[cfg(test)]
mod tests;
mod zones;

pub use follow::{Follower, News};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a rollback, which may start an app first; the platform gives up after two minutes.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest upload: the pre-signed URL ends then.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Longest look through the whole object store.
const GARBAGE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Bytes that an upload reads at a time.
const UPLOAD_CHUNK: usize = 128 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no platform answers at {api}: `astrocloud up` starts one on this machine; {} or `astrocloud login` name another",
        config::API_VARIABLE
    )]
    Unreachable {
        /// The API's address.
        api: Url,
    },
    /// The platform refused, and says why.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// Something else answers there.
    #[error("what answers at {api} is no AstroCloud platform, or a proxy before it failed (HTTP {status})")]
    Strange {
        /// The API's address.
        api: Url,
        /// The answer's status.
        status: StatusCode,
    },
    /// The object store did not take the archive.
    #[error("the archive was not uploaded: {0}")]
    Upload(String),
    /// The connection broke, or the answer took too long.
    #[error("the platform at {api} did not answer: {}", root_cause(.source))]
    Broken {
        /// The API's address.
        api: Url,
        /// What happened.
        source: reqwest::Error,
    },
    /// A log's WebSocket broke.
    #[error("the log can't be followed: {0}")]
    Follow(String),
    /// A file can't be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl ClientError {
    /// The stable word of the problem that the platform answered with.
    pub fn word(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(problem.word()),
            _ => None,
        }
    }

    /// Whether the thing that was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.word() == Some("not_found")
    }
}

/// The innermost reason: the outer ones only repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

type Result<T> = std::result::Result<T, ClientError>;

/// The development CA's certificate of a platform, PEM.
///
/// # Errors
/// When the platform can't be reached or has no such authority.
pub async fn authority_pem(api: &Url) -> Result<String> {
    // Nobody need be logged in for what is public.
    let client = Client::new(Login { api: api.clone(), token: Secret::new("") })?;
    let mut url = api.clone();
    url.set_path("/ca.pem");
    let response = client.send(client.http.get(url).timeout(TIMEOUT)).await?;
    response.text().await.map_err(|e| client.failed(e))
}

/// A client of one platform. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    login: Login,
}

impl Client {
    /// A client that uses this login.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub fn new(login: Login) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("astrocloud/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // WebSockets begin as HTTP/1.1.
            .http1_only();
        if config::is_local(&login.api) {
            // A proxy can't reach this machine's loopback.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| ClientError::Broken { api: login.api.clone(), source })?;
        Ok(Self { http, login })
    }

    /// A request to `/api/v1/<segments>`.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.login.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        self.http.request(method, url).bearer_auth(self.login.token.reveal()).timeout(TIMEOUT)
    }

    fn failed(&self, source: reqwest::Error) -> ClientError {
        let api = self.login.api.clone();
        if source.is_connect() { ClientError::Unreachable { api } } else { ClientError::Broken { api, source } }
    }

    /// Sends a request; an answer that is no success becomes an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.failed(e))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        match response.json::<Problem>().await {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => Err(ClientError::Strange { api: self.login.api.clone(), status }),
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let response = self.send(request).await?;
        let status = response.status();
        response.json().await.map_err(|e| {
            if e.is_decode() { ClientError::Strange { api: self.login.api.clone(), status } } else { self.failed(e) }
        })
    }

    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T> {
        self.call(self.request(Method::GET, segments)).await
    }

    async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T> {
        self.call(self.request(Method::POST, segments).json(body)).await
    }

    /// The rows of a list, up to `most`, page by page.
    async fn list<T: DeserializeOwned>(&self, segments: &[&str], most: usize) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self.request(Method::GET, segments);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Page<T> = self.call(request).await?;
            rows.extend(page.items);
            cursor = page.next_cursor;
            if rows.len() >= most || cursor.is_none() {
                rows.truncate(most);
                return Ok(rows);
            }
        }
    }

    /// All certificates that are wanted from authorities.
    pub async fn certificates(&self) -> Result<Vec<HostCertificate>> {
        self.list(&["certificates"], usize::MAX).await
    }

    /// A certificate by its name.
    pub async fn certificate(&self, name: &str) -> Result<HostCertificate> {
        self.get(&["certificates", name]).await
    }

    /// Tries at once what waits.
    pub async fn retry_certificate(&self, name: &str) -> Result<HostCertificate> {
        self.post(&["certificates", name, "retry"], &()).await
    }

    /// Has it replaced now, and the old one revoked.
    pub async fn replace_certificate(&self, name: &str) -> Result<HostCertificate> {
        self.post(&["certificates", name, "replace"], &()).await
    }

    /// What the installation is.
    pub async fn system(&self) -> Result<System> {
        self.get(&["system"]).await
    }

    /// All projects by name.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        self.list(&["projects"], usize::MAX).await
    }

    /// A project.
    pub async fn project(&self, name: &ProjectName) -> Result<Project> {
        self.get(&["projects", name.as_str()]).await
    }

    /// The project with this name, which is created when there is none.
    pub async fn ensure_project(&self, name: &ProjectName) -> Result<Project> {
        match self.project(name).await {
            Err(e) if e.is_not_found() => {}
            other => return other,
        }
        let new = NewProject { name: name.clone(), settings: common::project::Settings::default() };
        match self.post(&["projects"], &new).await {
            // Somebody else was faster, or a deployment's own host has this name: the deployment will tell.
            Err(e) if e.word() == Some("name_taken") => self.project(name).await.map_err(|_| e),
            other => other,
        }
    }

    /// Deletes a project with all its deployments.
    pub async fn remove_project(&self, name: &ProjectName) -> Result<()> {
        self.send(self.request(Method::DELETE, &["projects", name.as_str()])).await.map(drop)
    }

    /// A project's deployments, newest first, at most `most`.
    pub async fn deployments(&self, project: &ProjectName, most: usize) -> Result<Vec<Deployment>> {
        self.list(&["projects", project.as_str(), "deployments"], most).await
    }

    /// A deployment.
    pub async fn deployment(&self, id: &DeploymentId) -> Result<Deployment> {
        self.get(&["deployments", id.as_str()]).await
    }

    /// Asks for a deployment.
    pub async fn deploy(&self, project: &ProjectName, new: &NewDeployment) -> Result<Deployment> {
        self.post(&["projects", project.as_str(), "deployments"], new).await
    }

    /// Builds a deployment's source again.
    pub async fn redeploy(&self, id: &DeploymentId) -> Result<Deployment> {
        self.call(self.request(Method::POST, &["deployments", id.as_str(), "redeploy"])).await
    }

    /// Cancels a deployment; one that has ended stays as it is.
    pub async fn cancel(&self, id: &DeploymentId) -> Result<Deployment> {
        self.call(self.request(Method::POST, &["deployments", id.as_str(), "cancel"])).await
    }

    /// Makes a deployment live (the one before when `None`); returns when visitors get it.
    pub async fn rollback(&self, project: &ProjectName, to: Option<DeploymentId>) -> Result<Deployment> {
        let request = self.request(Method::POST, &["projects", project.as_str(), "rollback"]);
        self.call(request.json(&Rollback { deployment: to }).timeout(ROLLBACK_TIMEOUT)).await
    }

    /// Names of a project's variables.
    pub async fn env(&self, project: &ProjectName) -> Result<Vec<EnvVariable>> {
        self.list(&["projects", project.as_str(), "env"], usize::MAX).await
    }

    /// Sets variables, all or none.
    pub async fn set_env(&self, project: &ProjectName, set: &SetEnv) -> Result<()> {
        self.send(self.request(Method::PUT, &["projects", project.as_str(), "env"]).json(set)).await.map(drop)
    }

    /// Removes a variable.
    pub async fn unset_env(&self, project: &ProjectName, name: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, &["projects", project.as_str(), "env", name])).await.map(drop)
    }

    /// How a project's visitors are treated.
    pub async fn policy(&self, project: &ProjectName) -> Result<EdgePolicy> {
        self.get(&["projects", project.as_str(), "edge"]).await
    }

    /// Sets how a project's visitors are treated, or changes it (`merge`); returns when they meet it.
    pub async fn set_policy(
        &self,
        project: &ProjectName,
        policy: &serde_json::Value,
        merge: bool,
    ) -> Result<EdgePolicy> {
        let method = if merge { Method::PATCH } else { Method::PUT };
        self.call(self.request(method, &["projects", project.as_str(), "edge"]).json(policy)).await
    }

    /// Makes the edges forget kept answers; returns when they have.
    pub async fn purge(&self, project: &ProjectName, purge: &PurgeRequest) -> Result<PurgeResult> {
        self.post(&["projects", project.as_str(), "purge"], purge).await
    }

    /// Has the object store's garbage removed, or looked at; returns when that is done.
    pub async fn collect_garbage(&self, request: &GarbageRequest) -> Result<Report> {
        self.call(self.request(Method::POST, &["garbage"]).json(request).timeout(GARBAGE_TIMEOUT)).await
    }

    /// What a project was served since a time.
    pub async fn usage(&self, project: &ProjectName, from: Timestamp) -> Result<UsageReport> {
        let request = self.request(Method::GET, &["projects", project.as_str(), "usage"]);
        self.call(request.query(&[("from", from.to_string())])).await
    }

    /// Up to 1000 log records after a number.
    pub async fn logs(&self, id: &DeploymentId, kind: LogKind, after: u64) -> Result<LogPage> {
        let request = self.request(Method::GET, &["deployments", id.as_str(), "logs"]);
        self.call(request.query(&[("kind", kind_word(kind)), ("after", &after.to_string())])).await
    }

    /// A new link that logs a browser in once.
    pub async fn login_link(&self) -> Result<LoginLink> {
        self.call(self.request(Method::POST, &["login-links"])).await
    }

    /// A place to put an archive.
    pub async fn upload(&self) -> Result<Upload> {
        self.call(self.request(Method::POST, &["uploads"])).await
    }

    /// Puts an archive of `bytes` bytes where an upload said.
    pub async fn put(&self, upload: &Upload, file: File, bytes: u64, progress: ProgressBar) -> Result<()> {
        let file = progress.wrap_async_read(tokio::fs::File::from_std(file));
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, UPLOAD_CHUNK));
        let method =
            upload.method.parse().map_err(|_| ClientError::Upload(format!("`{}` is no method", upload.method)))?;
        let mut request = self.http.request(method, upload.url.clone()).timeout(UPLOAD_TIMEOUT);
        for (name, value) in &upload.headers {
            request = request.header(name, value);
        }
        let request = request.header(reqwest::header::CONTENT_LENGTH, bytes).body(body);
        if !upload.direct {
            return self.send(request).await.map(drop);
        }
        // The store speaks for itself, and its URL is a secret.
        let answer = request.send().await.map_err(|e| ClientError::Upload(root_cause(&e.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            reqwest::StatusCode::FORBIDDEN => Err(ClientError::Upload("its time was over; deploy again".to_owned())),
            status => Err(ClientError::Upload(format!("the store answered with HTTP {status}; deploy again"))),
        }
    }
}

/// The wire word.
const fn kind_word(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Build => "build",
        LogKind::Runtime => "runtime",
    }
}

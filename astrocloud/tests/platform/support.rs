//! A platform of the test's own, and what its users do with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::header::HOST;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::Url;

/// Longest wait for anything but a build: a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for a command that builds.
pub const BUILD_PATIENCE: Duration = Duration::from_secs(900);
/// Pause between looks at what cannot be awaited.
pub const LOOK: Duration = Duration::from_millis(25);

/// A settings file's name within a platform's folder.
const SETTINGS: &str = "settings.toml";
/// Listens on any free port.
const FREE: [&str; 6] = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--api", "127.0.0.1:0"];

pub const BINARY: &str = env!("CARGO_BIN_EXE_astrocloud");

/// A running `astrocloud up`. Killed when dropped.
pub struct Platform {
    process: Child,
    pub ready: Ready,
    pub folder: TempDir,
    client: reqwest::Client,
    settings: Vec<(String, String)>,
}

/// The ready file.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Ready {
    pub http_url: Url,
    pub https_url: Url,
    pub api_url: Url,
    pub dashboard_url: Url,
    pub api_token: String,
    pub ca_certificate: Option<PathBuf>,
    pub dns: Vec<SocketAddr>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The one object that `--json` prints.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// This outcome, which must be a success.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// An answer of the edge.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Platform {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A platform with these settings in its environment.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), settings).await
    }

    /// A platform on the data folder `data` in a folder, with these settings in its environment.
    pub async fn start_on(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::start_in(folder, settings).await
    }

    /// A platform with this settings file.
    pub async fn start_with_file(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SETTINGS), text).unwrap();
        Self::start_in(folder, Vec::new()).await
    }

    async fn start_in(folder: TempDir, settings: Vec<(String, String)>) -> Self {
        let ready_file = folder.path().join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let output = std::fs::File::options().append(true).create(true).open(folder.path().join("up.log")).unwrap();
        let file = folder.path().join(SETTINGS);
        // Whatever a file says of these counts.
        let free = if file.exists() { &[] } else { &FREE[..] };
        let mut process = Command::new(BINARY)
            .arg("up")
            .args(free)
            .args(file.exists().then(|| ["--config".as_ref(), file.as_os_str()]).into_iter().flatten())
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .env("XDG_CONFIG_HOME", folder.path().join("config"))
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let begun = tokio::time::Instant::now();
        let ready = loop {
            if let Ok(text) = std::fs::read(&ready_file) {
                // Written atomically: what is there is whole.
                break serde_json::from_slice(&text).unwrap();
            }
            let ended = process.try_wait().unwrap();
            let said = || std::fs::read_to_string(folder.path().join("up.log")).unwrap_or_default();
            assert!(ended.is_none(), "the platform ended: {ended:?}\n{}", said());
            assert!(begun.elapsed() < PATIENCE, "the platform did not get ready\n{}", said());
            tokio::time::sleep(LOOK).await;
        };
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { process, ready, folder, client, settings }
    }

    /// Everything that the platform printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("up.log")).unwrap()
    }

    /// Ends it as `kill -9` does, and starts it on the same state.
    pub async fn kill_and_restart(mut self) -> Self {
        self.process.kill().await.unwrap();
        let Self { folder, settings, .. } = self;
        Self::start_in(folder, settings).await
    }

    /// Asks it to end, and tells its exit code.
    pub async fn terminate(&mut self) -> Option<i32> {
        terminate(&mut self.process).await
    }

    /// A client that trusts the platform's certificates alone, and finds `host` at an address.
    pub fn trusting(&self, host: &str, port: u16) -> reqwest::Client {
        let ca = std::fs::read(self.ready.ca_certificate.as_ref().unwrap()).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
            .resolve(host, std::net::SocketAddr::from(([127, 0, 0, 1], port)))
            .build()
            .unwrap()
    }

    /// Runs the command line against this platform.
    pub async fn cli(&self, args: &[&str]) -> Outcome {
        self.cli_with(args, &[]).await
    }

    /// Runs it with these variables too.
    pub async fn cli_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let mut command = Command::new(BINARY);
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("ASTROCLOUD_API", self.ready.api_url.as_str())
            .env("ASTROCLOUD_TOKEN", &self.ready.api_token)
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = within(BUILD_PATIENCE, command.output()).await.unwrap();
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Deploys, and returns the JSON object of the command whatever came of it.
    pub async fn deploy(&self, source: &Path, project: &str, more: &[&str]) -> (Outcome, Value) {
        let mut args = vec!["deploy", source.to_str().unwrap(), "--project", project, "--json"];
        args.extend(more);
        let outcome = self.cli(&args).await;
        let json = outcome.json();
        (outcome, json)
    }

    /// Deploys what must become live.
    pub async fn deploy_live(&self, source: &Path, project: &str, more: &[&str]) -> Value {
        let (outcome, json) = self.deploy(source, project, more).await;
        assert_eq!(outcome.code, Some(0), "{json}\n{}", outcome.stderr);
        assert_eq!(json["status"], "live", "{json}");
        json
    }

    /// A request to the edge for a project's host.
    pub fn request(&self, method: Method, host: &str, path: &str) -> reqwest::RequestBuilder {
        let port = self.ready.http_url.port().unwrap();
        let url = self.ready.http_url.join(path).unwrap();
        let host = if host.contains('.') { host.to_owned() } else { format!("{host}.localhost") };
        self.client.request(method, url).header(HOST, format!("{host}:{port}"))
    }

    pub async fn get(&self, host: &str, path: &str) -> Answer {
        answer(self.request(Method::GET, host, path)).await
    }

    /// A call of the REST API.
    pub async fn api(&self, method: Method, path: &str) -> Value {
        let url = self.ready.api_url.join(&format!("/api/v1{path}")).unwrap();
        let response = self.client.request(method, url).bearer_auth(&self.ready.api_token).send().await.unwrap();
        response.json().await.unwrap()
    }

    /// The whole build log of a deployment, one line a record.
    pub async fn build_log(&self, deployment: &str) -> String {
        let mut text = String::new();
        let mut after = 0;
        loop {
            let page = self.api(Method::GET, &format!("/deployments/{deployment}/logs?after={after}")).await;
            let records = page["records"].as_array().unwrap();
            for record in records {
                after += 1;
                assert_eq!(record["seq"], after, "lines are numbered without gaps");
                text.push_str(record["text"].as_str().unwrap());
                text.push('\n');
            }
            if records.is_empty() {
                return text;
            }
        }
    }
}

/// Asks a process to end, and tells its exit code.
pub async fn terminate(process: &mut Child) -> Option<i32> {
    let pid = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    within(PATIENCE, process.wait()).await.unwrap().code()
}

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = within(PATIENCE, request.send()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// The host name of a URL that the platform printed.
pub fn host(url: &Value) -> String {
    Url::parse(url.as_str().unwrap()).unwrap().host_str().unwrap().to_owned()
}

/// Waits for what must come.
pub async fn within<T>(patience: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience, what).await.unwrap_or_else(|_| panic!("waited in vain for {patience:?}"))
}

/// Looks again and again until something is so.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// A folder with these files.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    folder
}

pub fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Runs a tool of the machine that must succeed.
pub async fn run(folder: &Path, program: &str, args: &[&str]) {
    let output =
        within(BUILD_PATIENCE, Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output())
            .await
            .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}\n{}", said(&output.stdout), said(&output.stderr));
}

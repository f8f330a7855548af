//! The platform under measurement, and the few things that are done to it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::Url;

/// Longest wait until the platform is ready, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks at the ready file.
const LOOK: Duration = Duration::from_millis(20);

/// A running `astrocloud up` in a folder of its own.
pub struct Platform {
    binary: PathBuf,
    process: Child,
    ready: Ready,
    folder: TempDir,
    client: reqwest::Client,
}

#[derive(Deserialize)]
struct Ready {
    http_url: Url,
    api_url: Url,
    api_token: String,
}

/// One site, seen by a visitor.
pub struct Site {
    client: reqwest::Client,
    url: Url,
    host: String,
}

impl Site {
    pub async fn get(&self) -> reqwest::Result<reqwest::Response> {
        self.client.get(self.url.clone()).header("host", &self.host).send().await
    }
}

impl Platform {
    pub async fn start(binary: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let ready_file = folder.path().join("ready.json");
        let log = std::fs::File::create(folder.path().join("up.log"))?;
        let mut process = Command::new(binary)
            .args(["up", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--api", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .env("XDG_CONFIG_HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let begun = Instant::now();
        let ready = loop {
            if let Ok(text) = std::fs::read(&ready_file) {
                break serde_json::from_slice(&text)?;
            }
            let ended = process.try_wait()?;
            if ended.is_some() || begun.elapsed() > PATIENCE {
                bail!("the platform did not get ready: {}", std::fs::read_to_string(folder.path().join("up.log"))?);
            }
            tokio::time::sleep(LOOK).await;
        };
        println!("ready after                        {} ms", begun.elapsed().as_millis());
        Ok(Self { binary: binary.to_owned(), process, ready, folder, client: reqwest::Client::new() })
    }

    /// Folder of its state.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Resident memory of the platform's process, in megabytes of a million bytes.
    pub fn resident_mb(&self) -> anyhow::Result<f64> {
        let pid = self.process.id().context("the platform has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// Deploys a folder with the command line; returns the deployment's id.
    pub async fn deploy(&self, folder: &Path, project: &str) -> anyhow::Result<String> {
        let output = Command::new(&self.binary)
            .arg("deploy")
            .arg(folder)
            .args(["--project", project, "--json"])
            .env("ASTROCLOUD_API", self.ready.api_url.as_str())
            .env("ASTROCLOUD_TOKEN", &self.ready.api_token)
            .env("XDG_CONFIG_HOME", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(told["deployment"].as_str().context("no deployment")?.to_owned())
    }

    /// The site of a project.
    pub fn site(&self, project: &str) -> Site {
        Site { client: self.client.clone(), url: self.ready.http_url.clone(), host: format!("{project}.localhost") }
    }

    pub async fn get(&self, project: &str) -> anyhow::Result<reqwest::Response> {
        Ok(self.site(project).get().await?)
    }

    pub async fn rollback(&self, project: &str, to: &str) -> anyhow::Result<()> {
        let url = self.ready.api_url.join(&format!("/api/v1/projects/{project}/rollback"))?;
        let body = serde_json::json!({ "deployment": to });
        let answer = self.client.post(url).bearer_auth(&self.ready.api_token).json(&body).send().await?;
        answer.error_for_status()?;
        Ok(())
    }

    /// Ids of a project's deployments, newest first.
    pub async fn deployments(&self, project: &str) -> anyhow::Result<Vec<String>> {
        let url = self.ready.api_url.join(&format!("/api/v1/projects/{project}/deployments"))?;
        let answer = self.client.get(url).bearer_auth(&self.ready.api_token).send().await?.error_for_status()?;
        let page: serde_json::Value = answer.json().await?;
        let items = page["items"].as_array().context("no items")?;
        Ok(items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect())
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.process.id().context("the platform has ended")?;
        let begun = Instant::now();
        let killed = Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        ensure!(killed.success(), "the platform can't be asked to end");
        let status = tokio::time::timeout(PATIENCE, self.process.wait()).await??;
        println!("ended after                        {} ms, {status}", begun.elapsed().as_millis());
        Ok(())
    }
}

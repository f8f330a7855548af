//! Load generators, and what they say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

pub mod h2load;
pub mod oha;
pub mod websocket;
pub mod wrk;

/// Connections of a saturation run over HTTP/1: enough that the server never waits for the client.
pub const CONNECTIONS: u32 = 64;
/// Connections and streams on each of a saturation run over HTTP/2, as a few browsers open them.
pub const H2_CONNECTIONS: u32 = 16;
/// Streams on each connection of HTTP/2.
pub const H2_STREAMS: u32 = 8;
/// How much longer than it was told a generator may take.
const GRACE: Duration = Duration::from_secs(60);

/// Who is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
}

impl Target {
    /// The address for HTTP or HTTPS.
    pub fn address(&self, tls: bool) -> anyhow::Result<SocketAddr> {
        if tls { self.https.context("it has no HTTPS address") } else { Ok(self.http) }
    }

    /// The URL of a path. The host is a name, so that load generators send it as SNI.
    pub fn url(&self, tls: bool, path: &str) -> anyhow::Result<String> {
        let scheme = if tls { "https" } else { "http" };
        Ok(format!("{scheme}://{}:{}/{path}", crate::fixture::HOST, self.address(tls)?.port()))
    }
}

/// What one run of a generator counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Requests, handshakes or messages that were answered well.
    pub good: u64,
    /// Those that were not.
    pub failed: u64,
    /// Which ones those were, as the generator tells it.
    pub failures: String,
    /// Bytes that were read.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Latencies in microseconds, where the generator tells them.
    pub latency: Option<Latency>,
}

impl Counted {
    /// # Errors
    /// When anything failed.
    pub fn ensure_none_failed(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.failed == 0, "{} failed: {}", self.failed, self.failures);
        Ok(())
    }
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Latency {
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

/// A generator that is installed here.
#[derive(Clone, Debug)]
pub struct Generator {
    pub program: PathBuf,
}

impl Generator {
    /// Finds it; `None` when it is not installed.
    pub fn find(name: &str) -> Option<Self> {
        crate::process::find(name).map(|program| Self { program })
    }

    /// Runs it to its end, which is expected after `seconds`; returns what it printed.
    async fn run(&self, args: &[String], seconds: u64) -> anyhow::Result<String> {
        let name = self.program.display();
        let run = Command::new(&self.program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
        let limit = Duration::from_secs(seconds) + GRACE;
        let output = tokio::time::timeout(limit, run).await.with_context(|| format!("{name} does not end"))??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{name} {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }
}

/// A folder for files of generators, as text for their command lines.
fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("the folder's name is not UTF-8")?.to_owned())
}

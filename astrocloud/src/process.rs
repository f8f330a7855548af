//! What every role that runs for long does as a process: log, threads, signals, limits, and the file that says where it
//! is.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use common::secret::Secret;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

use crate::logging;
use crate::settings::Log;

/// How long threads that are stuck in the file system may hold the end of the process.
const STUCK_THREADS: Duration = Duration::from_millis(300);

/// Runs a role until it ends, and gives its exit code.
///
/// # Errors
/// What the role failed with, or that it can't have a log or threads.
pub fn run(log: &Log, warnings: &[String], role: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    logging::start(log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(Box::pin(role));
    runtime.shutdown_timeout(STUCK_THREADS);
    code
}

/// The two ways in which a process is asked to end.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to listen to them.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Each visitor is an open file, and the usual soft limit of 1024 is for programs of one user.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(error = %e, "the limit of open files can't be raised: few visitors can be served at one time");
    }
}

/// Writes a file of JSON for its owner only; it appears whole.
///
/// # Errors
/// When it can't be written.
pub fn put_json(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    // Temporary files have mode 0600, and renaming keeps it.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&mut temporary, value)?;
    temporary.write_all(b"\n")?;
    temporary.persist(file)?;
    Ok(())
}

/// The token that stands alone in a file.
///
/// # Errors
/// When it can't be read, or is empty.
pub fn token(path: &Path) -> anyhow::Result<Secret> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the token file {} can't be read", path.display()))?;
    match text.trim() {
        "" => anyhow::bail!("the token file {} is empty", path.display()),
        token => Ok(Secret::new(token)),
    }
}

/// An address that can be opened on this machine, also when every address is listened on.
///
/// # Errors
/// Never for an address; a URL is made of it.
pub fn reachable(scheme: &str, addr: SocketAddr) -> anyhow::Result<Url> {
    let loopback: std::net::IpAddr = match addr {
        SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    let ip = if addr.ip().is_unspecified() { loopback } else { addr.ip() };
    Ok(Url::parse(&format!("{scheme}://{}/", SocketAddr::new(ip, addr.port())))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_lead_to_where_visitors_are_served() {
        let url = |addr: &str| reachable("http", addr.parse().unwrap()).unwrap().to_string();
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080/");
        assert_eq!(url("0.0.0.0:80"), "http://127.0.0.1/");
        assert_eq!(url("[::]:8080"), "http://[::1]:8080/");
    }

    #[test]
    fn a_token_stands_alone_in_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(token(&path).unwrap_err().to_string().contains("token"));
        std::fs::write(&path, "\n").unwrap();
        assert!(token(&path).unwrap_err().to_string().contains("empty"));
        std::fs::write(&path, "feed_x\n").unwrap();
        assert_eq!(token(&path).unwrap().reveal(), "feed_x");
    }
}

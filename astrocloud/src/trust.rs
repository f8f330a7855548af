//! Where this machine keeps the authorities that it trusts, and how the development CA's certificate gets there and away
//! again. Keys are never touched: only the certificate is.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use common::time::Timestamp;
use serde::Serialize;
use tokio::process::Command;

mod browsers;
mod system;

/// Longest time that a tool of the system may take.
const TOOL: std::time::Duration = std::time::Duration::from_secs(60);

/// The certificate to trust.
pub struct Authority {
    /// PEM.
    pub pem: String,
    /// What it is called in stores: another one for each installation.
    pub label: String,
    /// A file that holds it, for tools.
    pub file: PathBuf,
}

/// What was done with one store.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The store, as people know it.
    pub store: String,
    /// What became of it.
    #[serde(flatten)]
    pub done: Done,
}

/// What became of a store.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Done {
    /// It trusts the authority now.
    Trusted,
    /// It does no longer.
    Removed,
    /// It did not have it.
    Absent,
    /// Only root may change it.
    NeedsRoot {
        /// What root types.
        command: String,
    },
    /// It did not work.
    Failed {
        /// Why.
        reason: String,
    },
}

/// Which stores.
#[derive(Clone, Copy, Debug)]
pub struct Stores {
    /// The system's, which most programs use.
    pub system: bool,
    /// Those of Chromium and Firefox.
    pub browsers: bool,
}

/// Has stores trust the authority, or no longer.
///
/// # Errors
/// When it can't be found out which stores there are.
pub async fn change(authority: &Authority, stores: Stores, remove: bool) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    if stores.system {
        outcomes.extend(system::change(authority, remove).await?);
    }
    if stores.browsers {
        outcomes.extend(browsers::change(authority, remove).await?);
    }
    Ok(outcomes)
}

/// Runs a tool of the system; what it said when it failed.
async fn run(program: &Path, args: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let name = program.display();
    let output = tokio::time::timeout(TOOL, output)
        .await
        .map_err(|_| format!("{name} was not done within {} s", TOOL.as_secs()))?
        .map_err(|e| format!("{name} can't be run: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it did not say why");
    Err(format!("{name}: {said}"))
}

/// A program on the search path, or where systems keep those for root.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

impl Authority {
    /// The authority of a certificate in PEM, which is put into a file of `folder`.
    ///
    /// # Errors
    /// When it is none, or the file can't be written.
    pub fn new(pem: String, folder: &Path) -> anyhow::Result<Self> {
        let known = acme::development::recognise(&pem, Timestamp::now()).map_err(anyhow::Error::msg)?;
        let file = folder.join("astrocloud-ca.crt");
        std::fs::write(&file, &pem).with_context(|| format!("{} can't be written", file.display()))?;
        Ok(Self { pem, label: format!("AstroCloud development CA {known}"), file })
    }
}

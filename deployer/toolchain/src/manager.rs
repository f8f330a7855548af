//! Package managers, as folders to put on `PATH`.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use detect::{PackageManager, Range, Tool, Version};

use crate::host::{Host, is_visible, package_json};
use crate::{Node, ToolError, Tools, resolve};

/// The variable that tells the launcher of a vendored Yarn where it lies, as seen inside the sandbox.
pub const VENDORED_ENV: &str = "ASTROCLOUD_YARN";

/// Launches the copy of Yarn that a project carries.
const VENDORED: &str = "#!/bin/sh\nexec node \"$ASTROCLOUD_YARN\" \"$@\"\n";

/// The npm for a Node that the host's npm does not run with: the newest that does, by its own `engines`.
const NPM_FOR: [(&str, &str); 4] = [
    ("^18.17.0 || >=20.5.0", "10"),
    ("^14.17.0 || ^16.13.0 || >=18.0.0", "9"),
    ("^12.13.0 || >=14.15.0", "8"),
    ("*", "6"),
];
/// The pnpm for a Node when the project does not say.
const PNPM_FOR: [(&str, &str); 4] = [(">=18.12.0", "10"), (">=16.14.0", "8"), (">=14.6.0", "7"), ("*", "6")];
/// The Yarn 2 or later likewise.
const BERRY_FOR: [(&str, &str); 2] = [(">=18.12.0", "4"), ("*", "3")];

/// A package manager that is ready to run with one version of Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Its exact version; `None` for the copy that a project carries.
    pub version: Option<String>,
    /// Folders with its programs, to put on `PATH` before Node's. npm is always among them: scripts call it.
    pub path: Vec<PathBuf>,
    /// Folders of the host that must be visible, read-only.
    pub mounts: Vec<PathBuf>,
    /// The file that is all of Yarn 2 and later, for running an app where there is only Node.
    pub script: Option<PathBuf>,
    /// A warning for the build log.
    pub note: Option<String>,
}

impl Manager {
    fn with(mut self, npm: Self) -> Self {
        self.path.extend(npm.path);
        self.mounts.extend(npm.mounts);
        self.note = self.note.or(npm.note);
        self
    }
}

/// Provides what a plan asks for.
pub(crate) async fn provide(tools: &Tools, wanted: &PackageManager, node: &Node) -> Result<Manager, ToolError> {
    let bad = |_| ToolError::BadVersion { tool: "Node".into(), wanted: node.version.clone() };
    let version: Version = node.version.parse().map_err(bad)?;
    if wanted.tool == Tool::Npm {
        let own = npm(tools, wanted.version.as_deref(), version).await?;
        return compare(&own, wanted).map(|()| own);
    }
    let npm = npm(tools, None, version).await?;
    if wanted.vendored.is_some() {
        let bin = vendored_bin(tools.folder());
        let own = Manager { version: None, path: vec![bin.clone()], mounts: vec![bin], script: None, note: None };
        return Ok(own.with(npm));
    }
    let range = wanted.version.clone().unwrap_or_else(|| default_version(wanted.tool, version).to_owned());
    let own = match wanted.tool {
        Tool::Bun => bun(tools, &range).await?,
        tool => fetched(tools, tool, &range).await?,
    };
    compare(&own, wanted)?;
    Ok(own.with(npm))
}

fn default_version(tool: Tool, node: Version) -> &'static str {
    match tool {
        Tool::Npm => fitting(&NPM_FOR, node),
        Tool::Pnpm => fitting(&PNPM_FOR, node),
        Tool::YarnClassic => "1",
        Tool::YarnBerry => fitting(&BERRY_FOR, node),
        Tool::Bun => "latest",
    }
}

fn fitting(table: &'static [(&str, &str)], node: Version) -> &'static str {
    let fits = |range: &str| Range::parse(range).is_some_and(|range| range.contains(node));
    table.iter().find(|(range, _)| fits(range)).or(table.last()).map_or("latest", |(_, version)| version)
}

/// npm: the host's when that is what is wanted and it runs with this Node, else fetched.
async fn npm(tools: &Tools, wanted: Option<&str>, node: Version) -> Result<Manager, ToolError> {
    let host = tools.0.host.as_ref().and_then(|host| host.npm.as_ref());
    let host = host.filter(|npm| npm.runs_with(node));
    let of_host = |npm: &crate::npm::Npm| {
        let links = host_bin(tools.folder());
        let mut mounts = vec![links.clone()];
        mounts.extend(Some(npm.package.clone()).filter(|package| !is_visible(package)));
        Manager { version: Some(npm.version.clone()), path: vec![links], mounts, script: None, note: None }
    };
    let Some(wanted) = wanted else {
        return match host {
            Some(npm) => Ok(of_host(npm)),
            None => fetched(tools, Tool::Npm, default_version(Tool::Npm, node)).await,
        };
    };
    if let Some(npm) = host.filter(|npm| npm.version == wanted) {
        return Ok(of_host(npm));
    }
    let manager = fetched(tools, Tool::Npm, wanted).await?;
    let range = manager.mounts.first().and_then(|folder| package_json(&folder.join("node_modules/npm"))?.node_range());
    if range.is_none_or(|range| range.contains(node)) {
        return Ok(manager);
    }
    let fit = match host {
        Some(npm) => of_host(npm),
        None => fetched(tools, Tool::Npm, default_version(Tool::Npm, node)).await?,
    };
    let note = format!(
        "package.json asks for npm {wanted}, which does not run with Node {node}: using npm {}. Ask for versions that go together.",
        fit.version.as_deref().unwrap_or_default()
    );
    Ok(Manager { note: Some(note), ..fit })
}

/// A package manager that is an ordinary package: npm has made links to its programs.
async fn fetched(tools: &Tools, tool: Tool, wanted: &str) -> Result<Manager, ToolError> {
    let name = tool.registry_package();
    let version = exact(tools, name, wanted).await?;
    let kind = if tool == Tool::YarnBerry { "yarn-berry" } else { tool.program() };
    let folder = tools.package(kind, name, &version).await?;
    let script = (tool == Tool::YarnBerry).then(|| folder.join("node_modules").join(name).join("bin/yarn.js"));
    Ok(Manager {
        version: Some(version),
        path: vec![folder.join("node_modules/.bin")],
        mounts: vec![folder],
        script,
        note: None,
    })
}

/// Refuses a package that has not the hash that the project gives. npm has compared what it fetched with the hash that
/// it wrote down. Corepack's hashes of Bun and of Yarn 2 and later are of other files than those of the registry.
fn compare(manager: &Manager, wanted: &PackageManager) -> Result<(), ToolError> {
    let name = wanted.tool.registry_package();
    let (Tool::Npm | Tool::Pnpm | Tool::YarnClassic, Some(sha512)) = (wanted.tool, &wanted.sha512) else {
        return Ok(());
    };
    // The host's own npm has no such note, and comes from no registry.
    let fetched = manager.mounts.first().and_then(|folder| integrity(folder, name));
    if fetched.is_none_or(|fetched| fetched == *sha512) {
        return Ok(());
    }
    Err(ToolError::OtherHash { package: name.to_owned(), version: manager.version.clone().unwrap_or_default() })
}

/// The SHA-512 that npm noted when it installed a package, in hexadecimal.
fn integrity(folder: &Path, name: &str) -> Option<String> {
    let noted = std::fs::read(folder.join("node_modules/.package-lock.json")).ok()?;
    let noted: serde_json::Value = serde_json::from_slice(&noted).ok()?;
    let integrity = noted.get("packages")?.get(format!("node_modules/{name}"))?.get("integrity")?.as_str()?;
    let hash = integrity.split_whitespace().find_map(|hash| hash.strip_prefix("sha512-"))?;
    let hash = base64::engine::general_purpose::STANDARD.decode(hash).ok()?;
    Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Bun: its package runs a script to find its program, so the program's own package is fetched.
async fn bun(tools: &Tools, wanted: &str) -> Result<Manager, ToolError> {
    // The ordinary program needs AVX2, which small virtual machines do not always have.
    let modern = || std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains(" avx2"));
    let name = match std::env::consts::ARCH {
        "aarch64" => "@oven/bun-linux-aarch64",
        _ if modern() => "@oven/bun-linux-x64",
        _ => "@oven/bun-linux-x64-baseline",
    };
    let version = exact(tools, name, wanted).await?;
    let folder = tools.package("bun", name, &version).await?;
    let bin = folder.join("bin");
    link(&bin, &[("bun", &format!("../node_modules/{name}/bin/bun")), ("bunx", "bun")])?;
    Ok(Manager { version: Some(version), path: vec![bin], mounts: vec![folder], script: None, note: None })
}

async fn exact(tools: &Tools, package: &str, wanted: &str) -> Result<String, ToolError> {
    match resolve::exact(wanted) {
        Some(version) => Ok(version),
        None => tools.0.resolver.version(tools.npm(&format!("{package} {wanted}"))?, package, wanted).await,
    }
}

fn host_bin(folder: &Path) -> PathBuf {
    folder.join("host-npm")
}

fn vendored_bin(folder: &Path) -> PathBuf {
    folder.join("vendored-yarn")
}

/// Makes links to the host's npm: a folder of its own, because what lies beside npm on the host may be anything.
pub(crate) fn link_host(host: &Host, folder: &Path) -> Result<(), ToolError> {
    let Some(npm) = &host.npm else { return Ok(()) };
    let cli = |name: &str| npm.package.join("bin").join(name).to_string_lossy().into_owned();
    link(&host_bin(folder), &[("npm", &cli("npm-cli.js")), ("npx", &cli("npx-cli.js"))])
}

/// Makes the launcher of vendored copies of Yarn.
pub(crate) fn link_vendored(folder: &Path) -> Result<(), ToolError> {
    let bin = vendored_bin(folder);
    let launcher = bin.join("yarn");
    let write = || {
        make_folder(&bin)?;
        if std::fs::read_to_string(&launcher).ok().as_deref() != Some(VENDORED) {
            std::fs::write(&launcher, VENDORED)?;
        }
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755))
    };
    write().map_err(|source| ToolError::Folder { path: bin.clone(), source })
}

/// Makes links in `bin` that lead where they should; those that do already stay untouched, builds may be using them.
fn link(bin: &Path, links: &[(&str, &str)]) -> Result<(), ToolError> {
    let make = || {
        make_folder(bin)?;
        for (name, target) in links {
            let path = bin.join(name);
            if std::fs::read_link(&path).is_ok_and(|to| to == Path::new(target)) {
                continue;
            }
            let fresh = tempfile::Builder::new().prefix(".link-").tempdir_in(bin)?;
            symlink(target, fresh.path().join("link"))?;
            std::fs::rename(fresh.path().join("link"), &path)?;
        }
        std::io::Result::Ok(())
    };
    make().map_err(|source| ToolError::Folder { path: bin.to_owned(), source })
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_node_gets_an_npm_and_a_pnpm_that_run_with_it() {
        let for_node = |text: &str, tool| default_version(tool, text.parse().unwrap());
        assert_eq!(
            ["18.20.8", "18.0.0", "12.22.12", "8.17.0"].map(|node| for_node(node, Tool::Npm)),
            ["10", "9", "8", "6"]
        );
        assert_eq!(["22.1.0", "16.20.0", "14.21.0"].map(|node| for_node(node, Tool::Pnpm)), ["10", "8", "7"]);
    }
}

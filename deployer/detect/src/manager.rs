//! Which package manager, in which version, with which lock file.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lockfile::Lock;
use crate::manifest::Manifest;
use crate::plan::{Notes, PackageManager, Tool};
use crate::range::{Range, lowest_of};
use crate::refusal::Refusal;
use crate::tree::{Tree, inside, show};

/// Most disagreements named in a note.
const MAX_TOLD: usize = 2;

/// The chosen tool and the lock file that it will use.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) manager: PackageManager,
    pub(crate) lock: Option<Lock>,
    /// All lock files of the install folder.
    locks: Vec<Lock>,
    /// True when package.json names the tool.
    declared: bool,
}

/// Chooses by `packageManager`, then by the lock file that agrees best with package.json, then by
/// smaller signs.
pub(crate) fn choose(
    tree: &Tree,
    install_dir: &Path,
    manifests: &[&Manifest],
    locks: Vec<Lock>,
) -> Result<Choice, Refusal> {
    let declared = declared(manifests)?;
    let yarn_path = yarn_path(tree, install_dir);
    let hint = hint(tree, install_dir, manifests);
    let tool = match (&declared, locks.is_empty()) {
        (Some(declared), _) => declared.tool,
        (None, false) => best(&locks, hint).map_or(Tool::Npm, |lock| lock.tool),
        (None, true) => hint.unwrap_or(Tool::Npm),
    };
    // The yarn.lock of a Yarn 4 project that was never installed with it is still in Yarn 1's format.
    let versioned = declared.as_ref().is_some_and(|declared| declared.version.is_some());
    let berry =
        || is_berry(tree, install_dir, yarn_path.as_deref()) || locks.iter().any(|lock| lock.tool == Tool::YarnBerry);
    let tool = if tool == Tool::YarnClassic && !versioned && berry() { Tool::YarnBerry } else { tool };
    let same = |lock: &&Lock| same_family(lock.tool, tool);
    let lock = best(&locks.iter().filter(same).cloned().collect::<Vec<_>>(), None).cloned();
    let is_declared = declared.is_some();
    let (version, sha512) = declared.map(|declared| (declared.version, declared.sha512)).unwrap_or_default();
    let version = version.or_else(|| {
        let usual = usual_version(tool, lock.as_ref())?;
        Some(allowed_version(tool, manifests, usual))
    });
    let vendored = match tool {
        Tool::YarnClassic | Tool::YarnBerry => yarn_path,
        _ => None,
    };
    Ok(Choice { manager: PackageManager { tool, version, sha512, vendored }, lock, locks, declared: is_declared })
}

fn same_family(a: Tool, b: Tool) -> bool {
    a.program() == b.program()
}

/// What package.json says about its tool.
struct Declared {
    tool: Tool,
    version: Option<String>,
    sha512: Option<String>,
}

/// `packageManager` (or `devEngines.packageManager`) of the app or of the workspace's root.
fn declared(manifests: &[&Manifest]) -> Result<Option<Declared>, Refusal> {
    for manifest in manifests {
        let (name, version) = if let Some(value) =
            manifest.text("packageManager").map(str::trim).filter(|v| !v.is_empty())
        {
            value.split_once('@').unwrap_or((value, ""))
        } else if let Some(object) = manifest.field("devEngines").and_then(|engines| engines.get("packageManager")) {
            let object = object.get(0).unwrap_or(object);
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
            (text("name"), text("version"))
        } else {
            continue;
        };
        // Corepack appends a hash: "pnpm@9.1.0+sha512.abc".
        let (version, hash) = version.split_once('+').unwrap_or((version, ""));
        let sha512 = hash.trim().strip_prefix("sha512.").map(str::to_ascii_lowercase);
        let version = version.trim();
        let version = lowest_of(version).filter(|_| !version.is_empty()).map(|lowest| (lowest, version.to_owned()));
        let tool = match name {
            "npm" => Tool::Npm,
            "pnpm" => Tool::Pnpm,
            "bun" => Tool::Bun,
            "yarn" if version.as_ref().is_some_and(|(lowest, _)| lowest.major >= 2) => Tool::YarnBerry,
            "yarn" => Tool::YarnClassic,
            _ => {
                let value = manifest.text("packageManager").unwrap_or(name).to_owned();
                return Err(Refusal::UnknownPackageManager { path: manifest.path.clone(), value });
            }
        };
        return Ok(Some(Declared { tool, version: version.map(|(_, text)| text), sha512 }));
    }
    Ok(None)
}

/// Smaller signs: an `only-allow` guard, or the configuration of a tool.
fn hint(tree: &Tree, dir: &Path, manifests: &[&Manifest]) -> Option<Tool> {
    for manifest in manifests {
        let guard = manifest.script("preinstall").unwrap_or_default();
        for (name, tool) in [("pnpm", Tool::Pnpm), ("yarn", Tool::YarnClassic), ("bun", Tool::Bun), ("npm", Tool::Npm)]
        {
            if guard.contains(&format!("only-allow {name}")) {
                return Some(tool);
            }
        }
    }
    let there = |name: &str| tree.is_file(&dir.join(name));
    if there("pnpm-workspace.yaml") {
        Some(Tool::Pnpm)
    } else if there(".yarnrc.yml") {
        Some(Tool::YarnBerry)
    } else if there(".yarnrc") {
        Some(Tool::YarnClassic)
    } else if there("bunfig.toml") {
        Some(Tool::Bun)
    } else if manifests.iter().any(|manifest| manifest.dependencies.values().any(|spec| spec.starts_with("workspace:")))
    {
        Some(Tool::Pnpm)
    } else {
        None
    }
}

/// The lock file with the fewest disagreements; on equal terms the hinted tool's, then the first by
/// name order (npm's last). A file that cannot be judged stands behind one that agrees.
fn best(locks: &[Lock], hint: Option<Tool>) -> Option<&Lock> {
    locks.iter().min_by_key(|lock| {
        let hinted = hint.is_some_and(|tool| same_family(tool, lock.tool));
        (if lock.judged { lock.quarrels.len() } else { 1 }, !hinted)
    })
}

impl Choice {
    /// Tells what was made of the lock files.
    pub(crate) fn tell(&self, notes: &mut Notes) {
        let tool = self.manager.tool;
        let Some(taken) = &self.lock else {
            if self.locks.is_empty() {
                notes.warn(format!(
                    "There is no lock file: {} installs the newest versions that package.json allows. Commit a lock file to get the same versions every time.",
                    tool.name()
                ));
            } else {
                let names: Vec<&str> = self.locks.iter().map(|lock| lock.name).collect();
                notes.warn(format!(
                    "package.json asks for {}, which has no use for {}: installing without a lock file.",
                    tool.name(),
                    names.join(", ")
                ));
            }
            return;
        };
        for other in self.locks.iter().filter(|lock| lock.name != taken.name) {
            if self.declared && !same_family(other.tool, taken.tool) {
                notes.info(format!(
                    "Using {} because package.json names {}; {} is ignored.",
                    taken.name,
                    tool.name(),
                    other.name
                ));
            } else if other.judged && other.quarrels.len() > taken.quarrels.len() {
                notes.warn(format!(
                    "{} is stale ({}); using {}, which agrees {} with package.json. Delete {}.",
                    other.name,
                    told(other),
                    taken.name,
                    if taken.quarrels.is_empty() { "fully" } else { "better" },
                    other.name
                ));
            } else {
                notes.warn(format!(
                    "There is more than one lock file: using {} and ignoring {}. Delete the one that you do not use.",
                    taken.name, other.name
                ));
            }
        }
        if taken.judged && !taken.quarrels.is_empty() {
            notes.warn(format!("{} is out of step with package.json: {}.", taken.name, told(taken)));
        }
    }
}

/// A lock file's disagreements, in a few words.
fn told(lock: &Lock) -> String {
    lock.quarrels.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join(", ")
}

/// The tool's major that writes this lock file's format; `None` leaves it to the host.
fn usual_version(tool: Tool, lock: Option<&Lock>) -> Option<&'static str> {
    let format = lock.and_then(|lock| lock.facts.as_ref()).and_then(|facts| facts.format.as_deref());
    let format = format.and_then(lowest_of).map(|format| (format.major, format.minor));
    let version = match (tool, format) {
        (Tool::Npm, _) => return None,
        (Tool::Pnpm, Some((5, 0..=3))) => "6",
        (Tool::Pnpm, Some((5, _))) => "7",
        (Tool::Pnpm, Some((6, _))) => "8",
        // pnpm 10 reads the formats of 9 and 10 and runs on every Node from 18.12.
        (Tool::Pnpm, _) => "10",
        (Tool::YarnClassic, _) => "1.22.22",
        (Tool::YarnBerry, Some((0..=7, _))) => "3",
        (Tool::YarnBerry, _) => "4",
        (Tool::Bun, _) => "1",
    };
    Some(version)
}

/// The usual version, unless `engines` of package.json forbids it: pnpm and Yarn 1 insist on that.
fn allowed_version(tool: Tool, manifests: &[&Manifest], usual: &'static str) -> String {
    let engine = manifests.iter().find_map(|manifest| manifest.text_in("engines", tool.program()));
    let (Some(text), Some(usually)) = (engine, Range::parse(usual)) else { return usual.to_owned() };
    let Some(wanted) = Range::parse(text).filter(|range| !range.is_empty()) else { return usual.to_owned() };
    let both = wanted.intersect(&usually);
    if both.is_empty() {
        wanted.to_string()
    } else if both == usually {
        usual.to_owned()
    } else {
        both.to_string()
    }
}

/// `yarnPath` of .yarnrc.yml, or `yarn-path` of .yarnrc, when that file is in the project.
fn yarn_path(tree: &Tree, dir: &Path) -> Option<PathBuf> {
    let modern = tree.hint(&dir.join(".yarnrc.yml"));
    let classic = tree.hint(&dir.join(".yarnrc"));
    let line =
        modern.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("yarnPath:")).or_else(|| {
            classic.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("yarn-path "))
        })?;
    let rel = inside(line.trim().trim_matches(['"', '\'']))?;
    tree.is_file(&dir.join(&rel)).then_some(rel)
}

fn is_berry(tree: &Tree, dir: &Path, yarn_path: Option<&Path>) -> bool {
    let by_path = yarn_path.map(show).is_some_and(|path| !path.contains("yarn-1."));
    tree.is_file(&dir.join(".yarnrc.yml")) && (yarn_path.is_none() || by_path)
}

/// The version of Node that the tool itself needs, as a range.
pub(crate) fn node_needed(manager: &PackageManager) -> Option<&'static str> {
    let major = manager.version.as_deref().and_then(lowest_of).map(|version| version.major)?;
    match (manager.tool, major) {
        (Tool::Pnpm, 7) => Some(">=14.6"),
        (Tool::Pnpm, 8) => Some(">=16.14"),
        (Tool::Pnpm, 9 | 10 | 12..) => Some(">=18.12"),
        (Tool::Pnpm, 11) => Some(">=22.13"),
        (Tool::YarnBerry, 4..) => Some(">=18.12"),
        (Tool::Npm, 11) => Some("^20.17.0 || >=22.9.0"),
        (Tool::Npm, 10) => Some("^18.17.0 || >=20.5.0"),
        _ => None,
    }
}

//! Which package manager, and the ladder of install commands that copes with untidy projects.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lockfile::Lock;
use crate::manifest::Manifest;
use crate::plan::{InstallStep, Notes, PackageManager, Tool};
use crate::range::lowest_of;
use crate::refusal::Refusal;
use crate::tree::{Tree, inside, show};

/// Most disagreements named in a note.
const MAX_TOLD: usize = 2;

/// The chosen tool and the lock file that it will use.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) manager: PackageManager,
    pub(crate) lock: Option<Lock>,
}

/// Chooses by `packageManager`, then by the lock file that agrees best with package.json, then by
/// smaller signs.
pub(crate) fn choose(
    tree: &Tree,
    install_dir: &Path,
    manifests: &[&Manifest],
    locks: Vec<Lock>,
    notes: &mut Notes,
) -> Result<Choice, Refusal> {
    let declared = declared(manifests)?;
    let yarn_path = yarn_path(tree, install_dir);
    let hint = hint(tree, install_dir, manifests);
    let tool = match (&declared, locks.is_empty()) {
        (Some((tool, _)), _) => *tool,
        (None, false) => best(&locks, hint).map_or(Tool::Npm, |lock| lock.tool),
        (None, true) => hint.unwrap_or(Tool::Npm),
    };
    // The yarn.lock of a Yarn 4 project that was never installed with it is still in Yarn 1's format.
    let tool = match tool {
        Tool::YarnClassic if declared.is_none() && is_berry(tree, install_dir, yarn_path.as_deref()) => Tool::YarnBerry,
        other => other,
    };
    let same = |lock: &&Lock| same_family(lock.tool, tool);
    let lock = best(&locks.iter().filter(same).cloned().collect::<Vec<_>>(), None).cloned();
    tell(&locks, lock.as_ref(), tool, declared.is_some(), notes);
    let version = declared.and_then(|(_, version)| version).or_else(|| from_lock(tool, lock.as_ref()));
    let vendored = match tool {
        Tool::YarnClassic | Tool::YarnBerry => yarn_path,
        _ => None,
    };
    Ok(Choice { manager: PackageManager { tool, version, vendored }, lock })
}

fn same_family(a: Tool, b: Tool) -> bool {
    a.program() == b.program()
}

/// `packageManager` (or `devEngines.packageManager`) of the app or of the workspace's root.
fn declared(manifests: &[&Manifest]) -> Result<Option<(Tool, Option<String>)>, Refusal> {
    for manifest in manifests {
        let (name, version) = if let Some(value) = manifest.text("packageManager").map(str::trim).filter(|v| !v.is_empty()) {
            value.split_once('@').unwrap_or((value, ""))
        } else if let Some(object) = manifest.field("devEngines").and_then(|engines| engines.get("packageManager")) {
            let object = object.get(0).unwrap_or(object);
            let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
            (text("name"), text("version"))
        } else {
            continue;
        };
        // Corepack appends a hash: "pnpm@9.1.0+sha512.abc".
        let version = version.split('+').next().unwrap_or_default().trim();
        let version = lowest_of(version).filter(|_| !version.is_empty()).map(|lowest| (lowest, version.to_owned()));
        let tool = match name {
            "npm" => Tool::Npm,
            "pnpm" => Tool::Pnpm,
            "bun" => Tool::Bun,
            "yarn" if version.as_ref().is_some_and(|((major, _, _), _)| *major >= 2) => Tool::YarnBerry,
            "yarn" => Tool::YarnClassic,
            _ => {
                let value = manifest.text("packageManager").unwrap_or(name).to_owned();
                return Err(Refusal::UnknownPackageManager { path: manifest.path.clone(), value });
            }
        };
        return Ok(Some((tool, version.map(|(_, text)| text))));
    }
    Ok(None)
}

/// Smaller signs: an `only-allow` guard, or the configuration of a tool.
fn hint(tree: &Tree, dir: &Path, manifests: &[&Manifest]) -> Option<Tool> {
    for manifest in manifests {
        let guard = manifest.script("preinstall").unwrap_or_default();
        for (name, tool) in
            [("pnpm", Tool::Pnpm), ("yarn", Tool::YarnClassic), ("bun", Tool::Bun), ("npm", Tool::Npm)]
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
    } else if manifests.iter().any(|manifest| manifest.dependencies.values().any(|spec| spec.starts_with("workspace:"))) {
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

fn tell(locks: &[Lock], taken: Option<&Lock>, tool: Tool, declared: bool, notes: &mut Notes) {
    let told = |lock: &Lock| lock.quarrels.iter().take(MAX_TOLD).cloned().collect::<Vec<_>>().join(", ");
    let Some(taken) = taken else {
        if locks.is_empty() {
            notes.warn(format!(
                "There is no lock file: {} installs the newest versions that package.json allows. Commit a lock file to get the same versions every time.",
                tool.name()
            ));
        } else if declared {
            let names: Vec<&str> = locks.iter().map(|lock| lock.name).collect();
            notes.warn(format!(
                "package.json asks for {}, which has no use for {}: installing without a lock file.",
                tool.name(),
                names.join(", ")
            ));
        }
        return;
    };
    for other in locks.iter().filter(|lock| lock.name != taken.name) {
        if declared && !same_family(other.tool, taken.tool) {
            notes.info(format!("Using {} because package.json names {}; {} is ignored.", taken.name, tool.name(), other.name));
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
            notes.warn(format!("There are two lock files: using {} and ignoring {}. Delete the one that you do not use.", taken.name, other.name));
        }
    }
    if taken.judged && !taken.quarrels.is_empty() {
        notes.warn(format!("{} is out of step with package.json: {}.", taken.name, told(taken)));
    }
}

/// The tool's version that writes this lock file's format.
fn from_lock(tool: Tool, lock: Option<&Lock>) -> Option<String> {
    let format = lock.and_then(|lock| lock.facts.as_ref()).and_then(|facts| facts.format.as_deref());
    let major = format.and_then(lowest_of);
    let version = match (tool, major) {
        (Tool::Npm, _) => return None,
        (Tool::Pnpm, Some((5, 0..=3, _))) => "6",
        (Tool::Pnpm, Some((5, _, _))) => "7",
        (Tool::Pnpm, Some((6, _, _))) => "8",
        // pnpm 10 reads the formats of 9 and 10 and runs on every Node from 18.12.
        (Tool::Pnpm, _) => "10",
        (Tool::YarnClassic, _) => "1.22.22",
        (Tool::YarnBerry, Some((0..=7, _, _))) => "3",
        (Tool::YarnBerry, _) => "4",
        (Tool::Bun, _) => "1",
    };
    Some(version.to_owned())
}

/// `yarnPath` of .yarnrc.yml, or `yarn-path` of .yarnrc, when that file is in the project.
fn yarn_path(tree: &Tree, dir: &Path) -> Option<PathBuf> {
    let modern = tree.hint(&dir.join(".yarnrc.yml"));
    let classic = tree.hint(&dir.join(".yarnrc"));
    let line = modern
        .iter()
        .flat_map(|text| text.lines())
        .find_map(|line| line.strip_prefix("yarnPath:"))
        .or_else(|| classic.iter().flat_map(|text| text.lines()).find_map(|line| line.strip_prefix("yarn-path ")))?;
    let rel = inside(line.trim().trim_matches(['"', '\'']))?;
    tree.is_file(&dir.join(&rel)).then_some(rel)
}

fn is_berry(tree: &Tree, dir: &Path, yarn_path: Option<&Path>) -> bool {
    let by_path = yarn_path.map(|path| show(path)).is_some_and(|path| !path.contains("yarn-1."));
    tree.is_file(&dir.join(".yarnrc.yml")) && (yarn_path.is_none() || by_path)
}

/// The version of Node that the tool itself needs, as a range.
pub(crate) fn node_needed(manager: &PackageManager) -> Option<&'static str> {
    let major = manager.version.as_deref().and_then(lowest_of).map(|(major, _, _)| major)?;
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

/// The ladder: first the lock file as it is, then the concessions, each taken only for its complaint.
pub(crate) fn ladder(choice: &Choice) -> Vec<InstallStep> {
    let locked = choice.lock.is_some();
    match choice.manager.tool {
        Tool::Npm => npm(choice.lock.as_ref()),
        Tool::Pnpm => pnpm(locked),
        Tool::YarnClassic => yarn_classic(locked),
        Tool::YarnBerry => yarn_berry(locked),
        Tool::Bun => bun(locked),
    }
}

fn step(command: &str, marks: &[&str], note: Option<&str>) -> InstallStep {
    InstallStep {
        command: command.to_owned(),
        when_output_has: marks.iter().map(|mark| (*mark).to_owned()).collect(),
        note: note.map(str::to_owned),
    }
}

const OUT_OF_STEP: &str = "The lock file is out of step with package.json: installing without insisting on it. Run the install locally and commit the lock file.";
const PEERS: &str = "Peer dependencies contradict each other (ERESOLVE): installing with --legacy-peer-deps. Versions that fit each other in package.json would make this unnecessary.";
const PLATFORM: &str = "A dependency is made for another platform (EBADPLATFORM): installing with --force. Remove it from package.json; npm picks the right one by itself.";

fn npm(lock: Option<&Lock>) -> Vec<InstallStep> {
    const OPTIONS: &str = "--include=dev --no-audit --no-fund";
    const PEER_MARKS: &[&str] = &["code ERESOLVE", "ERESOLVE unable to resolve", "ERESOLVE could not resolve"];
    let install = |extra: &str| format!("npm install {OPTIONS}{extra}");
    let mut steps = Vec::new();
    let facts = lock.and_then(|lock| lock.facts.as_ref());
    let mut extra = "";
    match (lock, facts.and_then(|facts| facts.missing_platform.as_ref())) {
        (None, _) => steps.push(step(&install(""), &[], None)),
        (Some(_), Some(package)) => {
            // Without the lock file: npm would keep its gaps.
            extra = " --no-package-lock";
            let note = format!(
                "The lock file was made on another platform and lacks {package}: installing without it. Delete node_modules and the lock file, run `npm install` and commit the new one."
            );
            steps.push(step(&install(extra), &[], Some(&note)));
        }
        (Some(_), None) => {
            steps.push(step(&format!("npm ci {OPTIONS}"), &[], None));
            steps.push(step(&format!("npm ci {OPTIONS} --legacy-peer-deps"), PEER_MARKS, Some(PEERS)));
            let marks = [
                "can only install packages when your package.json and package-lock.json",
                "can only install with an existing package-lock.json",
                "code EUSAGE",
                "Invalid: lock file's",
            ];
            steps.push(step(&install(""), &marks, Some(OUT_OF_STEP)));
        }
    }
    steps.push(step(&install(&format!("{extra} --legacy-peer-deps")), PEER_MARKS, Some(PEERS)));
    steps.push(step(&install(&format!("{extra} --force")), &["code EBADPLATFORM"], Some(PLATFORM)));
    steps
}

fn pnpm(locked: bool) -> Vec<InstallStep> {
    // Without a terminal pnpm refuses to replace a node_modules of another layout unless told so.
    const OPTIONS: &str = "--prod=false --config.confirmModulesPurge=false";
    let mut steps = Vec::new();
    let plain = format!("pnpm install --no-frozen-lockfile {OPTIONS}");
    if locked {
        steps.push(step(&format!("pnpm install --frozen-lockfile {OPTIONS}"), &[], None));
        let marks = [
            "ERR_PNPM_OUTDATED_LOCKFILE",
            "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH",
            "ERR_PNPM_LOCKFILE_BREAKING_CHANGE",
            "ERR_PNPM_BROKEN_LOCKFILE",
            "ERR_PNPM_NO_LOCKFILE",
            "ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE",
        ];
        steps.push(step(&plain, &marks, Some(OUT_OF_STEP)));
    } else {
        steps.push(step(&plain, &[], None));
    }
    steps.push(step(
        &format!("{plain} --config.strictPeerDependencies=false"),
        &["ERR_PNPM_PEER_DEP_ISSUES"],
        Some("Peer dependencies contradict each other: installing without insisting on them."),
    ));
    steps.push(step(
        &format!("{plain} --config.strictPeerDependencies=false --config.strictDepBuilds=false"),
        &["ERR_PNPM_IGNORED_BUILDS"],
        Some("Some dependencies have build scripts that pnpm has not been allowed to run: installing without them. Run `pnpm approve-builds` locally and commit the result."),
    ));
    steps
}

fn yarn_classic(locked: bool) -> Vec<InstallStep> {
    const PLAIN: &str = "yarn install --production=false --non-interactive";
    let mut steps = Vec::new();
    if locked {
        steps.push(step(&format!("{PLAIN} --frozen-lockfile"), &[], None));
        steps.push(step(PLAIN, &["Your lockfile needs to be updated"], Some(OUT_OF_STEP)));
    } else {
        steps.push(step(PLAIN, &[], None));
    }
    steps.push(step(
        &format!("{PLAIN} --ignore-engines"),
        &["is incompatible with this module. Expected version", "Found incompatible module"],
        Some("A dependency says that it does not fit this Node version: installing with --ignore-engines."),
    ));
    steps
}

fn yarn_berry(locked: bool) -> Vec<InstallStep> {
    let mut steps = Vec::new();
    if locked {
        steps.push(step("yarn install --immutable", &[], None));
        let marks = ["YN0028", "The lockfile would have been"];
        steps.push(step("yarn install --no-immutable", &marks, Some(OUT_OF_STEP)));
    } else {
        steps.push(step("yarn install --no-immutable", &[], None));
    }
    steps.push(step(
        "YARN_CHECKSUM_BEHAVIOR=update yarn install --no-immutable",
        &["YN0018"],
        Some("A package's checksum differs from the lock file's, which another version of Yarn wrote: installing with the new one."),
    ));
    steps
}

fn bun(locked: bool) -> Vec<InstallStep> {
    if !locked {
        return vec![step("bun install", &[], None)];
    }
    let marks = ["lockfile had changes, but lockfile is frozen", "lockfile is frozen", "InvalidLockfile", "OutdatedLockfile"];
    vec![
        step("bun install --frozen-lockfile", &[], None),
        step("bun install", &marks, Some(OUT_OF_STEP)),
    ]
}

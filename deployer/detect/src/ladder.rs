//! The ladder of install commands that copes with untidy projects.

use crate::lockfile::Lock;
use crate::plan::{InstallStep, Tool};

/// The ladder: first the lock file as it is, then the concessions, each taken only for its complaint.
pub(crate) fn ladder(tool: Tool, lock: Option<&Lock>) -> Vec<InstallStep> {
    let locked = lock.is_some();
    match tool {
        Tool::Npm => npm(lock),
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
    let marks =
        ["lockfile had changes, but lockfile is frozen", "lockfile is frozen", "InvalidLockfile", "OutdatedLockfile"];
    vec![step("bun install --frozen-lockfile", &[], None), step("bun install", &marks, Some(OUT_OF_STEP))]
}

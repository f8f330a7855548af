//! The environment of a build's commands: made from nothing, so that nothing of the platform's gets in.

use std::collections::BTreeMap;
use std::path::Path;

use detect::{Plan, Tool};
use toolchain::VENDORED_ENV;

use crate::Job;
use crate::command::{Phase, Tooling};
use crate::view::View;
use crate::work::Work;

/// Where the system keeps programs.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What is the platform's to say. Everything else a project may set, `CI` too.
const OURS: [&str; 6] = ["PATH", "HOME", "PORT", "TMPDIR", "ASTROCLOUD", VENDORED_ENV];
/// The same for every build: no colours in the log, no questions that nobody answers, no reports to vendors. The plan
/// adds what its frameworks need. `CI` is not among them: with it, tools make errors of warnings.
const ALWAYS: [(&str, &str); 12] = [
    ("ASTROCLOUD", "1"),
    ("LANG", "C.UTF-8"),
    ("NO_COLOR", "1"),
    ("npm_config_update_notifier", "false"),
    ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
    ("YARN_ENABLE_TELEMETRY", "0"),
    ("DO_NOT_TRACK", "1"),
    ("ASTRO_TELEMETRY_DISABLED", "1"),
    ("GATSBY_TELEMETRY_DISABLED", "1"),
    ("NEXT_TELEMETRY_DISABLED", "1"),
    ("NUXT_TELEMETRY_DISABLED", "1"),
    ("NG_CLI_ANALYTICS", "false"),
];
/// Files in which a project names a registry of its own.
const REGISTRY_FILES: [&str; 4] = [".npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml"];
/// The variable whose values are joined instead of replaced: the project's wish and our cure both count.
const NODE_OPTIONS: &str = "NODE_OPTIONS";
/// Longest such file that is looked at, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;

/// The environment of one build.
#[derive(Debug)]
pub(crate) struct Env {
    /// Ours and the plan's.
    base: BTreeMap<String, String>,
    /// The project's own.
    project: BTreeMap<String, String>,
}

impl Env {
    pub(crate) fn new(
        job: &Job<'_>,
        plan: &Plan,
        view: &View,
        work: &Work,
        downloads: &Path,
        tools: Tooling<'_>,
        registry: Vec<(String, String)>,
    ) -> Self {
        let inside = |path: &Path| view.inside(path).to_string_lossy().into_owned();
        let mut base: BTreeMap<String, String> =
            ALWAYS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut set = |name: &str, value: String| {
            base.insert(name.to_owned(), value);
        };
        let own = plan.package_manager.is_some() && names_registry(&work.source().join(&plan.install_dir));
        for (name, value) in registry {
            if !(own && name.to_ascii_uppercase().contains("REGISTRY")) {
                set(&name, value);
            }
        }
        let mut path: Vec<String> = Vec::new();
        path.extend(tools.manager.iter().flat_map(|manager| &manager.path).map(|folder| inside(folder)));
        path.extend(tools.node.iter().map(|node| inside(&node.bin)));
        path.push(SYSTEM_PATH.to_owned());
        set("PATH", path.join(":"));
        set("HOME", inside(&work.home()));
        set("TMPDIR", inside(&work.home().join("tmp")));
        set("XDG_CACHE_HOME", inside(&downloads.join("other")));
        set("npm_config_cache", inside(&downloads.join("npm")));
        set("BUN_INSTALL_CACHE_DIR", inside(&downloads.join("bun")));
        if let Some(headers) = tools.node.and_then(|node| node.headers.as_ref()) {
            set("npm_config_nodedir", inside(headers));
        }
        if let Some(manager) = &plan.package_manager {
            let folder = work.source().join(&plan.install_dir);
            match manager.tool {
                // Both notations: pnpm takes the first up to version 10, the second from 11 on.
                Tool::Pnpm => {
                    let store = inside(&downloads.join("pnpm"));
                    set("npm_config_store_dir", store.clone());
                    set("pnpm_config_store_dir", store);
                    // What is in node_modules was just installed, or comes from the cache.
                    set("pnpm_config_verify_deps_before_run", "false".to_owned());
                }
                Tool::YarnClassic => set("YARN_CACHE_FOLDER", inside(&downloads.join("yarn-1"))),
                Tool::YarnBerry => {
                    set("YARN_GLOBAL_FOLDER", inside(&downloads.join("yarn")));
                    set("YARN_ENABLE_GLOBAL_CACHE", shares_archives(&folder).to_string());
                }
                Tool::Npm | Tool::Bun => {}
            }
            match &manager.vendored {
                Some(vendored) => set(VENDORED_ENV, inside(&folder.join(vendored))),
                // So that ours is not replaced by one that the project names and does not carry.
                None => set("YARN_IGNORE_PATH", "1".to_owned()),
            }
        }
        base.extend(plan.env.iter().cloned());
        let project = job.env.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        Self { base, project: project.map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect() }
    }

    /// The whole environment of one command; `extra` replaces what the plan said.
    pub(crate) fn of(&self, phase: Phase, extra: &[(String, String)]) -> Vec<(String, String)> {
        let mut all = self.base.clone();
        all.extend(extra.iter().cloned());
        for (name, value) in &self.project {
            match all.get_mut(name) {
                // Set for the running app, it would leave out what the build needs.
                _ if phase == Phase::Install && name == "NODE_ENV" => {}
                Some(ours) if name == NODE_OPTIONS => *ours = format!("{value} {ours}"),
                _ => {
                    all.insert(name.clone(), value.clone());
                }
            }
        }
        all.into_iter().collect()
    }
}

/// Whether the project names its own registry, which then counts and not the operator's.
fn names_registry(folder: &Path) -> bool {
    let names = |text: String| {
        text.to_ascii_lowercase().lines().any(|line| !line.trim_start().starts_with('#') && line.contains("registry"))
    };
    REGISTRY_FILES.iter().any(|name| settings(&folder.join(name)).is_some_and(names))
}

/// Whether Yarn's archives may lie in the cache that builds share. Not with plug'n'play, where the app runs from them,
/// and not when the project carries them.
fn shares_archives(folder: &Path) -> bool {
    let text = settings(&folder.join(".yarnrc.yml")).unwrap_or_default();
    let linker = text.lines().find_map(|line| line.strip_prefix("nodeLinker:"));
    let unpacks = linker.is_some_and(|linker| !linker.contains("pnp") || linker.contains("pnpm"));
    unpacks && !folder.join(".yarn/cache").is_dir()
}

/// A small file of the project, when it is one and no link.
fn settings(path: &Path) -> Option<String> {
    let data = std::fs::symlink_metadata(path).ok()?;
    (data.is_file() && data.len() <= MAX_SETTINGS).then(|| std::fs::read_to_string(path).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_for_node_add_up_and_node_env_waits_for_the_build() {
        let env = Env {
            base: pairs(&[("NODE_OPTIONS", "--a")]),
            project: pairs(&[("NODE_OPTIONS", "--mine"), ("NODE_ENV", "production")]),
        };
        let install: BTreeMap<_, _> = env.of(Phase::Install, &[]).into_iter().collect();
        assert_eq!(install, pairs(&[("NODE_OPTIONS", "--mine --a")]));
        let cure = [("NODE_OPTIONS".to_owned(), "--b".to_owned())];
        let build: BTreeMap<_, _> = env.of(Phase::Build, &cure).into_iter().collect();
        assert_eq!(build, pairs(&[("NODE_OPTIONS", "--mine --b"), ("NODE_ENV", "production")]));
    }

    #[test]
    fn a_projects_own_registry_is_seen_and_its_comments_are_not() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".npmrc"), "# registry=x\nlegacy-peer-deps=true\n").unwrap();
        assert!(!names_registry(folder.path()));
        std::fs::write(folder.path().join(".npmrc"), "@acme:registry=https://packages.example\n").unwrap();
        assert!(names_registry(folder.path()));
    }

    #[test]
    fn yarns_archives_stay_in_the_project_where_the_app_runs_from_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!shares_archives(folder.path()));
        std::fs::write(folder.path().join(".yarnrc.yml"), "nodeLinker: node-modules\n").unwrap();
        assert!(shares_archives(folder.path()));
        std::fs::write(folder.path().join(".yarnrc.yml"), "nodeLinker: pnp\n").unwrap();
        assert!(!shares_archives(folder.path()));
    }
}

//! What the host has to build with, and what comes out: the plan.

use std::path::PathBuf;

use common::deployment::Kind;
use serde::{Deserialize, Serialize};

use crate::framework::Framework;
use crate::version::Version;

/// What this host has to build with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolchain {
    /// The host's own Node, if it has one.
    pub node: Option<Version>,
    /// Whether other Node versions can be fetched from the package registry.
    pub can_fetch: bool,
}

/// Everything that the build needs to know about a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What the project was recognised as.
    pub framework: Framework,
    /// Whether it becomes files or a server.
    pub kind: Kind,
    /// Where build and start run, relative to the source; empty for the source itself.
    pub app_dir: PathBuf,
    /// Where the install runs, relative to the source: the workspace's root, else `app_dir`.
    pub install_dir: PathBuf,
    /// The tool that installs and runs scripts; `None` when there is no package.json.
    pub package_manager: Option<PackageManager>,
    /// The Node to build (and run) with; `None` when nothing needs Node.
    pub node: Option<NodeChoice>,
    /// The install ladder; empty when there is nothing to install. Walk it with
    /// [`Plan::next_install_step`].
    pub install: Vec<InstallStep>,
    /// Shell command that builds, run in `app_dir`.
    pub build: Option<String>,
    /// What to change and try once more when the build's output shows a known complaint.
    pub build_retries: Vec<BuildRetry>,
    /// Folders relative to `app_dir` that may hold the built site, most likely first (static only).
    pub output: Vec<PathBuf>,
    /// True when the developer named the output folder: then no other one is taken.
    pub output_is_explicit: bool,
    /// Shell command that starts the server, run in `app_dir` (Node only).
    pub start: Option<String>,
    /// Serve index.html for navigations to unknown paths when the output has no 404.html.
    pub single_page: bool,
    /// Extra environment of install and build. Never contains `CI`.
    pub env: Vec<(String, String)>,
    /// What to tell in the build log before anything runs.
    pub notes: Vec<Note>,
    /// Hex hash of everything that decides what the install produces; `None` when nothing is
    /// installed.
    pub cache_key: Option<String>,
    /// Those of `preinstall`, `install`, `postinstall` and `prepare` that the install folder's
    /// package.json has, to run again when `node_modules` comes from the cache.
    pub lifecycle_scripts: Vec<String>,
}

impl Plan {
    /// Which install step comes after step `failed` ended with a failure and printed `output`:
    /// the first later step that recognises the output. `None` means that the install has failed.
    ///
    /// Steps that do not recognise the output are passed over, so that a peer conflict in the first
    /// step goes straight to the step for peer conflicts.
    #[must_use]
    pub fn next_install_step(&self, failed: usize, output: &str) -> Option<usize> {
        let from = failed.checked_add(1)?;
        self.install
            .iter()
            .enumerate()
            .skip(from)
            .find(|(_, step)| step.when_output_has.iter().any(|mark| output.contains(mark.as_str())))
            .map(|(index, _)| index)
    }
}

/// The tool that installs dependencies and runs scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManager {
    /// Which tool.
    pub tool: Tool,
    /// What to install of it, as a registry version or range (`"9.1.0"`, `"10"`); `None` leaves the
    /// choice to the host (for npm: the one that comes with Node).
    pub version: Option<String>,
    /// The SHA-512 of the tool's package in the registry, in hexadecimal, when `packageManager` gives it.
    pub sha512: Option<String>,
    /// The copy of the tool that the project carries (`yarnPath`), relative to the install folder.
    pub vendored: Option<PathBuf>,
}

/// A package manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// npm.
    Npm,
    /// pnpm.
    Pnpm,
    /// Yarn 1.
    YarnClassic,
    /// Yarn 2 and later.
    YarnBerry,
    /// Bun, as an installer; scripts still find Node.
    Bun,
}

impl Tool {
    /// What a person calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::YarnClassic => "Yarn 1",
            Self::YarnBerry => "Yarn",
            Self::Bun => "Bun",
        }
    }

    /// The program's name on the command line.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::YarnClassic | Self::YarnBerry => "yarn",
            Self::Bun => "bun",
        }
    }

    /// The package under which the registry has the tool.
    #[must_use]
    pub fn registry_package(self) -> &'static str {
        match self {
            Self::YarnBerry => "@yarnpkg/cli-dist",
            other => other.program(),
        }
    }

    /// Shell command that runs a script of package.json.
    #[must_use]
    pub fn run_script(self, script: &str) -> String {
        format!("{} run {}", self.program(), quote(script))
    }

    /// The same with one more option for what the script runs.
    #[must_use]
    pub fn run_script_with(self, script: &str, option: &str) -> String {
        // npm alone would take the option for its own.
        let separator = if self == Self::Npm { "-- " } else { "" };
        format!("{} {separator}{option}", self.run_script(script))
    }

    /// Shell command that runs a program which an installed package brings.
    #[must_use]
    pub fn run_program(self, command: &str) -> String {
        match self {
            Self::Npm => format!("npx --no-install {command}"),
            Self::Pnpm => format!("pnpm exec {command}"),
            Self::YarnClassic | Self::YarnBerry => format!("yarn run {command}"),
            Self::Bun => format!("bun run {command}"),
        }
    }
}

/// Quotes a word for `sh` unless it is plainly harmless.
pub(crate) fn quote(word: &str) -> String {
    let harmless = !word.is_empty()
        && !word.starts_with('-')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@+=,".contains(c));
    if harmless { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Which Node to use, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChoice {
    /// A version or range in npm's notation; the host's exact version when the host's is used.
    pub want: String,
    /// True when the host's own Node satisfies the project.
    pub use_host: bool,
    /// One sentence for the build log.
    pub reason: String,
}

/// One rung of the install ladder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallStep {
    /// Shell command, run in the install folder.
    pub command: String,
    /// The step is taken when an earlier one failed and printed one of these (the first step always).
    pub when_output_has: Vec<String>,
    /// Warning for the log when this step is taken.
    pub note: Option<String>,
}

/// A known complaint of a build and the environment that cures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRetry {
    /// The retry is taken when the failed build printed one of these.
    pub when_output_has: Vec<String>,
    /// Environment to add (replacing earlier values) for the second attempt.
    pub env: Vec<(String, String)>,
    /// Warning for the log when the retry is taken.
    pub note: String,
}

/// A line for the build log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How loud.
    pub level: Level,
    /// One or two sentences.
    pub text: String,
}

/// How loud a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Something to repair, though the build goes on.
    Warning,
}

/// Notes as they come up.
#[derive(Debug, Default)]
pub(crate) struct Notes(pub(crate) Vec<Note>);

impl Notes {
    pub(crate) fn info(&mut self, text: impl Into<String>) {
        self.0.push(Note { level: Level::Info, text: text.into() });
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.0.push(Note { level: Level::Warning, text: text.into() });
    }
}

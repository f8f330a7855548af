//! Running the host's npm, outside of any sandbox and with the operator's own settings.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use detect::{Range, Version};
use tokio::process::Command;

/// How long a question to the registry may take, npm's own retries included.
pub(crate) const QUESTION: Duration = Duration::from_secs(60);
/// How long fetching a package may take; the largest, Node, has 60 MB.
pub(crate) const FETCH: Duration = Duration::from_secs(300);
/// Most characters of npm's complaint that are handed on.
const TOLD: usize = 300;

/// The host's npm.
#[derive(Debug)]
pub(crate) struct Npm {
    /// The Node that runs it.
    pub(crate) node: PathBuf,
    /// Its own folder.
    pub(crate) package: PathBuf,
    pub(crate) version: String,
    /// The versions of Node that it runs with.
    pub(crate) engines: Option<Range>,
}

/// Why npm did not do what it was told.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The registry has no such package or version.
    Absent,
    /// Anything else, in npm's words.
    Otherwise(String),
}

impl Npm {
    /// Whether it runs with this version of Node.
    pub(crate) fn runs_with(&self, node: Version) -> bool {
        self.engines.as_ref().is_none_or(|range| range.contains(node))
    }

    /// Runs npm in `folder` and returns what it printed.
    pub(crate) async fn run(&self, folder: &Path, args: &[&str], limit: Duration) -> Result<String, Failed> {
        let mut command = Command::new(&self.node);
        command.arg(self.package.join("bin/npm-cli.js")).args(args).current_dir(folder);
        command.env("npm_config_update_notifier", "false").env("NO_COLOR", "1").env_remove("FORCE_COLOR");
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = match tokio::time::timeout(limit, command.output()).await {
            Err(_) => return Err(Failed::Otherwise(format!("npm took longer than {} s", limit.as_secs()))),
            Ok(Err(e)) => return Err(Failed::Otherwise(format!("npm can't be started: {e}"))),
            Ok(Ok(output)) => output,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(complaint(&String::from_utf8_lossy(&output.stderr)))
    }
}

/// npm's own words, without its decoration.
fn complaint(stderr: &str) -> Failed {
    let mut lines: Vec<&str> = Vec::new();
    for line in stderr.lines() {
        let Some(text) = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!")) else { continue };
        let text = text.trim();
        if matches!(text, "code E404" | "code ETARGET") {
            return Failed::Absent;
        }
        if !text.is_empty() && !text.starts_with("A complete log") {
            lines.push(text);
        }
    }
    let text = if lines.is_empty() { stderr.trim().to_owned() } else { lines.join("; ") };
    Failed::Otherwise(text.chars().take(TOLD).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_says_is_told_without_its_decoration() {
        let said = "npm error code ECONNREFUSED\nnpm error connect refused\nnpm error A complete log of this run\n";
        assert!(matches!(complaint(said), Failed::Otherwise(text) if text == "code ECONNREFUSED; connect refused"));
        assert!(matches!(complaint("npm ERR! code ETARGET\nnpm ERR! notarget"), Failed::Absent));
        assert!(matches!(complaint("node: not found"), Failed::Otherwise(text) if text == "node: not found"));
    }
}

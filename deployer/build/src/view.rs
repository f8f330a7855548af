//! What of the host a build sees, and under which paths.

use std::path::{Path, PathBuf};

use sandbox::{Mount, Sandbox};

/// The source, inside.
const SOURCE: &str = "/app";
/// The home folder, inside.
const HOME: &str = "/home";
/// The download cache, inside.
const DOWNLOADS: &str = "/cache";
/// Fetched tools, inside.
const TOOLS: &str = "/tools";

/// The mounts of a build.
#[derive(Debug)]
pub(crate) struct View {
    sandbox: Sandbox,
    /// Where fetched tools lie on the host.
    tools: PathBuf,
    mounts: Vec<Mount>,
}

impl View {
    /// A view with the folders that the build may write to.
    pub(crate) fn new(sandbox: &Sandbox, tools: &Path, source: &Path, home: &Path, downloads: &Path) -> Self {
        let mut view = Self { sandbox: sandbox.clone(), tools: tools.to_owned(), mounts: Vec::new() };
        view.add(source, Path::new(SOURCE), true);
        view.add(home, Path::new(HOME), true);
        view.add(downloads, Path::new(DOWNLOADS), true);
        view
    }

    /// Shows a tool, read-only. Ours lie below one folder inside, whatever the data folder is called; the host's keep
    /// their path, because links between them do.
    pub(crate) fn show(&mut self, path: &Path) {
        let wanted = match path.strip_prefix(&self.tools) {
            Ok(rest) => Path::new(TOOLS).join(rest),
            Err(_) => path.to_owned(),
        };
        self.add(path, &wanted, false);
    }

    fn add(&mut self, source: &Path, wanted: &Path, writable: bool) {
        let target = self.sandbox.place(source, wanted);
        let mount = Mount { source: source.to_owned(), target, writable };
        if !self.mounts.contains(&mount) {
            self.mounts.push(mount);
        }
    }

    /// Where a path of the host is, inside.
    pub(crate) fn inside(&self, path: &Path) -> PathBuf {
        let within = |mount: &&Mount| path.starts_with(&mount.source);
        match self.mounts.iter().filter(within).max_by_key(|mount| mount.source.components().count()) {
            Some(mount) => match path.strip_prefix(&mount.source) {
                Ok(rest) if !rest.as_os_str().is_empty() => mount.target.join(rest),
                _ => mount.target.clone(),
            },
            None => path.to_owned(),
        }
    }

    pub(crate) fn mounts(&self) -> Vec<Mount> {
        self.mounts.clone()
    }
}

//! Fetched packages on disk, one folder for each version.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex as AsyncMutex;

use crate::ToolError;
use crate::npm::{FETCH, Failed, Npm};

/// Versions kept of each kind. Node is the largest with 180 MB; few installations see ten of them.
const MOST: usize = 24;
/// A version that was asked for within this time stays: the longest build is shorter.
const IN_USE: Duration = Duration::from_secs(2 * 3600);
/// How the names of folders begin that are being filled or emptied.
const UNFINISHED: &str = ".unfinished-";

/// The folder of fetched packages.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Who is fetching what just now, so that each version is fetched once.
    flights: Mutex<HashMap<PathBuf, Weak<AsyncMutex<()>>>>,
}

/// One version of a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package<'a> {
    /// The folder below the store's.
    pub(crate) kind: &'a str,
    /// The registry's name.
    pub(crate) name: &'a str,
    /// Exact.
    pub(crate) version: &'a str,
}

impl Store {
    /// Opens the folder and removes what an interrupted fetch left.
    pub(crate) fn open(folder: &Path) -> Result<Self, ToolError> {
        let failed = |source| ToolError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for entry in std::fs::read_dir(folder).map_err(failed)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                discard(&entry.path());
            }
        }
        Ok(Self { folder: folder.to_owned(), flights: Mutex::default() })
    }

    /// The folder with `node_modules/<name>` of this version; fetched with `npm` when it is not there.
    pub(crate) async fn package(&self, npm: Option<&Npm>, package: Package<'_>) -> Result<PathBuf, ToolError> {
        let place = self.folder.join(package.kind).join(package.version);
        if used(&place) {
            return Ok(place);
        }
        let what = || format!("{} {}", package.name, package.version);
        let npm = npm.ok_or_else(|| ToolError::NoNpm { what: what() })?;
        let flight = self.flight(&place);
        let _alone = flight.lock().await;
        if used(&place) {
            return Ok(place);
        }
        self.fetch(npm, package, &place).await?;
        let (folder, kind) = (self.folder.clone(), self.folder.join(package.kind));
        // Nobody waits for it.
        tokio::task::spawn_blocking(move || evict(&folder, &kind));
        Ok(place)
    }

    /// Fetches into a folder of its own and moves it into place: what is in place is whole.
    async fn fetch(&self, npm: &Npm, package: Package<'_>, place: &Path) -> Result<(), ToolError> {
        let folder = |source| ToolError::Folder { path: self.folder.clone(), source };
        let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.folder).map_err(folder)?;
        let path = unfinished.path();
        let prefix = path.to_string_lossy().into_owned();
        let spec = format!("{}@{}", package.name, package.version);
        let mut args = vec!["install", "--prefix", &prefix, "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"];
        args.extend(["--no-package-lock", "--global=false", "--loglevel=error", &spec]);
        tracing::info!(package = spec, "fetching a tool");
        npm.run(path, &args, FETCH).await.map_err(|failed| {
            let (package, wanted) = (package.name.to_owned(), package.version.to_owned());
            match failed {
                Failed::Absent => ToolError::NoSuchVersion { package, wanted },
                Failed::Otherwise(detail) => ToolError::Fetch { package, wanted, detail },
            }
        })?;
        if !path.join("node_modules").join(package.name).join("package.json").is_file() {
            let detail = "npm installed nothing, perhaps because it is for another kind of machine".to_owned();
            return Err(ToolError::Fetch { package: package.name.into(), wanted: package.version.into(), detail });
        }
        let put = || {
            // Builds read it as another user.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
            std::fs::create_dir_all(place.parent().unwrap_or(place))?;
            std::fs::rename(path, place)
        };
        put().map_err(folder)
    }

    fn flight(&self, place: &Path) -> Arc<AsyncMutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(place).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::new(AsyncMutex::new(()));
        flights.insert(place.to_owned(), Arc::downgrade(&flight));
        flight
    }
}

/// Whether it is there; marks it as used now.
fn used(place: &Path) -> bool {
    let Ok(folder) = std::fs::File::open(place) else { return false };
    let _ = folder.set_modified(SystemTime::now());
    true
}

/// Removes the versions of a kind that were not asked for longest, when there are too many. Blocking.
fn evict(folder: &Path, kind: &Path) {
    let mut versions: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(kind)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    let excess = versions.len().saturating_sub(MOST);
    versions.sort();
    for (asked, path) in versions.into_iter().take(excess) {
        if asked.elapsed().is_ok_and(|idle| idle > IN_USE) && !is_running(&path) {
            tracing::info!(path = %path.display(), "removing a tool that nobody asks for");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let condemned = folder.join(format!("{UNFINISHED}{name}"));
            if std::fs::rename(&path, &condemned).is_ok() {
                discard(&condemned);
            }
        }
    }
}

/// Whether a process, of an app perhaps, runs the Node in this folder. Compared by the file itself, because processes
/// in a sandbox know it under another path.
fn is_running(folder: &Path) -> bool {
    let Ok(program) = std::fs::metadata(folder.join("node_modules/.bin/node")) else { return false };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().any(|process| {
        std::fs::metadata(process.path().join("exe"))
            .is_ok_and(|exe| (exe.dev(), exe.ino()) == (program.dev(), program.ino()))
    })
}

fn discard(path: &Path) {
    if let Err(e) = std::fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), error = %e, "a tools folder stays behind");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_that_nobody_asked_for_longest_go_first_and_fresh_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let kind = folder.path().join("npm");
        let now = SystemTime::now();
        for index in 0..MOST as u64 + 3 {
            let path = kind.join(index.to_string());
            std::fs::create_dir_all(&path).unwrap();
            let age = if index == 0 { Duration::ZERO } else { IN_USE * 2 - Duration::from_secs(index) };
            std::fs::File::open(&path).unwrap().set_modified(now - age).unwrap();
        }
        evict(folder.path(), &kind);
        let gone: Vec<u64> = (0..MOST as u64 + 3).filter(|index| !kind.join(index.to_string()).exists()).collect();
        assert_eq!(gone, [1, 2, 3]);
    }

    #[test]
    fn what_an_interrupted_fetch_left_is_removed_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!("{UNFINISHED}x/node_modules"));
        std::fs::create_dir_all(&left).unwrap();
        Store::open(folder.path()).unwrap();
        assert!(!left.exists());
    }
}

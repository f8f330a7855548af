//! What is kept of a project's installs: the archives that package managers download, and whole `node_modules` folders
//! under the key of what they were installed from.
//!
//! ```text
//! <project>/downloads/…              mounted into every build, writable
//! <project>/modules/<key>/list.json  which folders there are, relative to the source
//! <project>/modules/<key>/tree/…     those folders
//! ```
//!
//! Folders are moved out and in, never copied. So one build at a time has them; another one installs.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::id::ProjectId;
use detect::Plan;

use crate::BuildError;
use crate::remove::remove_tree;
use crate::work::{Work, blocking, is_real_folder};

/// Keys kept for each project: the newest, and the one before, for going back and forth between two branches.
const KEYS: usize = 2;
/// Longest key that is used as a name.
const KEY_CHARS: usize = 128;
/// How long a project's cache stays that is not built any more.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// How deep `node_modules` folders of a workspace's members are looked for.
const DEPTH: usize = 6;
/// Folders looked at in one search; the largest workspaces have some thousands besides their dependencies.
const FOLDERS: usize = 50_000;
/// What Yarn 2 and later notes when it has installed.
const YARN_STATE: &str = ".yarn/install-state.gz";
/// What else it leaves: plug'n'play instead of `node_modules`, and a lock file without which it runs no script.
const YARN: [&str; 6] = [YARN_STATE, ".pnp.cjs", ".pnp.loader.mjs", ".yarn/cache", ".yarn/unplugged", "yarn.lock"];

/// One project's cache, as one plan uses it.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    key: Option<String>,
    install_dir: PathBuf,
}

impl Cache {
    pub(crate) fn of(root: &Path, project: &ProjectId, plan: &Plan) -> Self {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let usable =
            |key: &&String| !key.is_empty() && key.len() <= KEY_CHARS && key.chars().all(|c| c.is_ascii_alphanumeric());
        Self {
            folder: root.join(project.as_str()),
            key: plan.cache_key.as_ref().filter(usable).cloned(),
            install_dir: plan.install_dir.clone(),
        }
    }

    /// The archives that package managers download.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.folder.join("downloads")
    }

    pub(crate) async fn prepare(&self) -> Result<(), BuildError> {
        tokio::fs::create_dir_all(self.downloads()).await.map_err(BuildError::internal)
    }

    fn entry(&self) -> Option<PathBuf> {
        self.key.as_ref().map(|key| self.folder.join("modules").join(key))
    }

    /// What an install left in the source, relative to it.
    pub(crate) async fn found(&self, work: &Work) -> Vec<PathBuf> {
        if self.key.is_none() {
            return Vec::new();
        }
        let (source, start) = (work.source().to_owned(), self.install_dir.clone());
        blocking(move || find(&source, &start)).await.unwrap_or_default()
    }

    /// Moves the cached folders into the source. `None` when there are none for this key; an error when there are and
    /// they can't be used, and then they are gone.
    pub(crate) async fn restore(&self, work: &Work) -> io::Result<Option<Vec<PathBuf>>> {
        let Some(entry) = self.entry() else { return Ok(None) };
        let work = work.clone();
        blocking(move || restore(&entry, &work)).await.map_err(io::Error::other)?
    }

    /// Takes restored folders out of the source again, for good.
    pub(crate) async fn discard(&self, work: &Work, restored: Vec<PathBuf>) {
        let work = work.clone();
        let _ = blocking(move || set_aside(&work, &restored)).await;
    }

    /// Moves what was installed into the cache, and keeps the cache small.
    pub(crate) async fn keep(&self, work: &Work, most_downloads: u64) {
        let (this, work) = (self.clone(), work.clone());
        let kept = blocking(move || {
            if let Some(entry) = this.entry()
                && let Err(e) = keep(&entry, &work)
            {
                tracing::warn!(path = %entry.display(), error = %e, "an install can't be cached");
                remove(&entry);
            }
            prune(&this.folder.join("modules"));
            let downloads = this.downloads();
            if size(&downloads) > most_downloads {
                tracing::info!(path = %downloads.display(), "a download cache has grown too large and is emptied");
                remove(&downloads);
            }
            if let Some(all) = this.folder.parent() {
                let _ = std::fs::File::open(&this.folder).and_then(|folder| folder.set_modified(SystemTime::now()));
                sweep(all);
            }
        });
        if let Err(e) = kept.await {
            tracing::warn!(error = %e, "an install can't be cached");
        }
    }
}

/// `node_modules` folders below `start`, outermost only, and what Yarn 2 and later leaves. Links are not followed.
fn find(source: &Path, start: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if !is_real_folder(source, start) {
        return found;
    }
    let mut ahead = vec![(start.to_owned(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = ahead.pop() {
        seen += 1;
        if seen > FOLDERS {
            break;
        }
        for entry in std::fs::read_dir(source.join(&folder)).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let path = folder.join(&name);
            if name == "node_modules" {
                found.push(path);
            } else if depth < DEPTH && name != ".git" {
                ahead.push((path, depth + 1));
            }
        }
    }
    let there = |path: &PathBuf| std::fs::symlink_metadata(source.join(path)).is_ok_and(|data| !data.is_symlink());
    if there(&start.join(YARN_STATE)) {
        found.extend(YARN.iter().map(|name| start.join(name)).filter(there));
    }
    found
}

fn restore(entry: &Path, work: &Work) -> io::Result<Option<Vec<PathBuf>>> {
    let claimed = work.restored();
    // Moved away as a whole first: nobody else can have half of it.
    match std::fs::rename(entry, &claimed) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            remove(entry);
            return Err(e);
        }
    }
    let mut moved = Vec::new();
    match move_in(&claimed, work, &mut moved) {
        Ok(()) if moved.is_empty() => Ok(None),
        Ok(()) => Ok(Some(moved)),
        Err(e) => {
            set_aside(work, &moved);
            Err(e)
        }
    }
}

fn move_in(claimed: &Path, work: &Work, moved: &mut Vec<PathBuf>) -> io::Result<()> {
    let list: Vec<PathBuf> = serde_json::from_slice(&std::fs::read(claimed.join("list.json"))?)?;
    for path in list {
        let parent = path.parent().unwrap_or(Path::new(""));
        // Few projects carry anything in Yarn's folder, so the install makes it.
        let above = parent.parent().filter(|_| parent.ends_with(".yarn"));
        if above.is_some_and(|above| is_real_folder(work.source(), above)) {
            std::fs::create_dir(work.source().join(parent)).or_else(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(e),
            })?;
        }
        // The source is new: a member of the workspace may be gone, or a folder may now be a link to somewhere else.
        if !is_inside(&path) || !is_real_folder(work.source(), parent) {
            continue;
        }
        set_aside(work, std::slice::from_ref(&path));
        std::fs::rename(claimed.join("tree").join(&path), work.source().join(&path))?;
        moved.push(path);
    }
    Ok(())
}

fn keep(entry: &Path, work: &Work) -> io::Result<()> {
    let installed = work.installed();
    let tree = work.tree();
    let fresh = entry.with_extension("new");
    remove(&fresh);
    let mut kept = Vec::new();
    for path in installed {
        let parent = path.parent().unwrap_or(Path::new(""));
        let there = std::fs::symlink_metadata(tree.join(&path)).is_ok_and(|data| !data.is_symlink());
        if !is_inside(&path) || !is_real_folder(&tree, parent) || !there {
            continue;
        }
        let target = fresh.join("tree").join(&path);
        std::fs::create_dir_all(target.parent().unwrap_or(&target))?;
        std::fs::rename(tree.join(&path), target)?;
        kept.push(path);
    }
    if kept.is_empty() {
        return Ok(());
    }
    std::fs::write(fresh.join("list.json"), serde_json::to_vec(&kept)?)?;
    remove(entry);
    std::fs::rename(&fresh, entry)
}

/// Moves these out of the source, to vanish with the work folder.
fn set_aside(work: &Work, paths: &[PathBuf]) {
    for path in paths {
        let at = work.source().join(path);
        if std::fs::symlink_metadata(&at).is_err() {
            continue;
        }
        let aside = work.replaced();
        let number = std::fs::read_dir(&aside).map_or(0, Iterator::count);
        let moved = std::fs::create_dir_all(&aside).and_then(|()| std::fs::rename(&at, aside.join(number.to_string())));
        if let Err(e) = moved {
            tracing::warn!(path = %at.display(), error = %e, "a folder can't be moved out of the way");
        }
    }
}

/// Keeps the newest keys.
fn prune(modules: &Path) {
    let mut entries: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(modules)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    entries.sort();
    let excess = entries.len().saturating_sub(KEYS);
    for (_, path) in entries.into_iter().take(excess) {
        remove(&path);
    }
}

/// Removes the caches of projects that are not built any more.
fn sweep(all: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        let used = entry.metadata().and_then(|data| data.modified());
        if used.is_ok_and(|used| used.elapsed().is_ok_and(|idle| idle > UNUSED)) {
            remove(&entry.path());
        }
    }
}

/// Bytes on disk below `folder`. Links are not followed; what can't be read counts as too much.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    /// Bytes of one block in a file's number of blocks.
    const BLOCK: u64 = 512;
    let mut total: u64 = 0;
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => return u64::MAX,
        };
        for entry in entries.flatten() {
            let Ok(data) = entry.metadata() else { continue };
            total = total.saturating_add(data.blocks() * BLOCK);
            if data.is_dir() {
                ahead.push(entry.path());
            }
        }
    }
    total
}

fn remove(path: &Path) {
    if let Err(e) = remove_tree(path) {
        tracing::warn!(path = %path.display(), error = %e, "a part of a cache can't be removed");
    }
}

/// Whether a path is relative and does not climb.
fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn source(root: &Path, name: &str) -> Work {
        let source = root.join(name).join("source");
        fs::create_dir_all(source.join("packages/a")).unwrap();
        Work::of(&source).unwrap()
    }

    async fn install(work: &Work) {
        for folder in ["node_modules", "packages/a/node_modules"] {
            fs::create_dir_all(work.source().join(folder).join("x/node_modules")).unwrap();
        }
        work.set_installed(&find(work.source(), Path::new(""))).await;
    }

    #[tokio::test]
    async fn every_node_modules_folder_of_a_workspace_goes_in_and_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let entry = root.path().join("cache/key");
        let first = source(root.path(), "one");
        install(&first).await;
        keep(&entry, &first).unwrap();
        assert!(!first.source().join("node_modules").exists());

        let second = source(root.path(), "two");
        let mut restored = restore(&entry, &second).unwrap().unwrap();
        restored.sort();
        assert_eq!(restored, [PathBuf::from("node_modules"), "packages/a/node_modules".into()]);
        assert!(second.source().join("packages/a/node_modules/x/node_modules").is_dir());
        assert!(restore(&entry, &source(root.path(), "three")).unwrap().is_none(), "one build at a time");
    }

    #[tokio::test]
    async fn a_link_in_the_new_source_leads_nothing_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let entry = root.path().join("cache/key");
        let first = source(root.path(), "one");
        install(&first).await;
        keep(&entry, &first).unwrap();

        let outside = root.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let second = source(root.path(), "two");
        fs::remove_dir(second.source().join("packages/a")).unwrap();
        symlink(&outside, second.source().join("packages/a")).unwrap();
        restore(&entry, &second).unwrap();
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
        assert!(second.source().join("node_modules").is_dir());
    }

    #[tokio::test]
    async fn a_damaged_entry_is_told_and_gone() {
        let root = tempfile::tempdir().unwrap();
        let entry = root.path().join("cache/key");
        fs::create_dir_all(&entry).unwrap();
        fs::write(entry.join("list.json"), r#"["node_modules"]"#).unwrap();
        let work = source(root.path(), "one");
        assert!(restore(&entry, &work).is_err());
        assert!(!entry.exists() && !work.source().join("node_modules").exists());
    }

    #[test]
    fn the_cache_of_a_project_that_is_not_built_any_more_goes() {
        let root = tempfile::tempdir().unwrap();
        let (old, fresh) = (root.path().join("old"), root.path().join("fresh"));
        fs::create_dir_all(old.join("downloads")).unwrap();
        fs::create_dir(&fresh).unwrap();
        fs::File::open(&old).unwrap().set_modified(SystemTime::now() - UNUSED * 2).unwrap();
        sweep(root.path());
        assert!(fresh.exists() && !old.exists());
    }

    #[test]
    fn the_two_newest_keys_stay() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        for (age, name) in [(30, "c"), (10, "a"), (20, "b")] {
            let path = root.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::File::open(&path).unwrap().set_modified(now - std::time::Duration::from_secs(age)).unwrap();
        }
        prune(root.path());
        assert!(root.path().join("a").exists() && root.path().join("b").exists() && !root.path().join("c").exists());
    }
}

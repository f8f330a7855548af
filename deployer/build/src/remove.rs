//! Removing trees that a build has made, however it has made them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Removes a file, link or folder with all that is below it. What is not there is removed already.
///
/// The standard library's way recurses, with a stack frame and an open file for each level: a build that nests ten
/// thousand folders would end the platform. Here every folder that is found is first moved up beside `path`, so that
/// nothing is ever deep. Links are not followed, and folders that were locked are unlocked. Blocking.
///
/// # Errors
/// When something can't be removed; then the rest of its folder may stay too.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(data) if !data.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    /// So that no two names are the same.
    static MOVED: AtomicU64 = AtomicU64::new(0);
    let beside = || {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".removed-{}-{}", std::process::id(), MOVED.fetch_add(1, Ordering::Relaxed)));
        PathBuf::from(name)
    };
    let mut failed = None;
    let mut ahead = vec![path.to_owned()];
    while let Some(folder) = ahead.pop() {
        if let Err(e) = empty(&folder, &mut ahead, &beside).and_then(|()| fs::remove_dir(&folder)) {
            failed.get_or_insert(e);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Removes what is in `folder`; folders are moved to `place` instead and come onto the list.
fn empty(folder: &Path, ahead: &mut Vec<PathBuf>, place: &dyn Fn() -> PathBuf) -> io::Result<()> {
    let unlocked = fs::Permissions::from_mode(0o700);
    fs::set_permissions(folder, unlocked.clone())?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            continue;
        }
        // A folder is written to when it moves: its `..` changes.
        fs::set_permissions(entry.path(), unlocked.clone())?;
        let target = place();
        fs::rename(entry.path(), &target)?;
        ahead.push(target);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed_with_its_locked_folders() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir(&tree).unwrap();
        // Built from below, because no path reaches that deep.
        for level in 0..3000 {
            let outer = root.path().join("outer");
            fs::create_dir(&outer).unwrap();
            fs::rename(&tree, outer.join("tree")).unwrap();
            if level % 1000 == 0 {
                fs::set_permissions(outer.join("tree"), fs::Permissions::from_mode(0o000)).unwrap();
            }
            fs::rename(&outer, &tree).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(fs::read_dir(root.path()).unwrap().next().is_none());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (tree, kept) = (root.path().join("tree"), root.path().join("kept"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        std::os::unix::fs::symlink(&kept, tree.join("link")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(kept.join("file").exists() && !tree.exists());
    }
}

//! Unpacked images: one folder a deployment, from its start to its end.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use common::ledger::App;
use common::registry::{Registry, RegistryError, Start};

/// The folder of an image that an app sees.
pub(crate) const APP: &str = "app";
/// How the names of folders end that are being deleted.
const CONDEMNED: &str = "removed";
/// Bytes of one block in a file's `st_blocks`, whatever the file system's own block size.
const BLOCK: u64 = 512;

/// The folder of unpacked images.
#[derive(Debug)]
pub(crate) struct Images(PathBuf);

/// An unpacked image: an app's private copy, which it may change. The image itself stays in the registry.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Where it was unpacked.
    pub(crate) root: PathBuf,
    /// How its app is started.
    pub(crate) start: Start,
    /// Bytes on disk.
    pub(crate) bytes: u64,
}

impl Images {
    /// Images below `root`. What a killed platform left there is deleted in the background: it may have been
    /// changed by its app, and a start begins with the image as it was deployed.
    pub(crate) fn open(root: PathBuf) -> Self {
        let left: Vec<PathBuf> = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|e| e.path()).collect();
        let condemned: Vec<PathBuf> = left.iter().map(|path| condemn(path)).collect();
        delete(condemned);
        Self(root)
    }

    /// Unpacks an app's image. Not to be dropped half-way: the registry goes on unpacking.
    pub(crate) async fn pull(&self, registry: &Registry, app: &App) -> Result<Image, RegistryError> {
        let root = self.0.join(app.deployment.as_str());
        tokio::fs::create_dir_all(&root).await?;
        let start = registry.pull(&app.image, &root).await?;
        let damaged = |detail: String| RegistryError::Damaged { reference: app.image.clone(), detail };
        let inside =
            |dir: &Path| dir.starts_with(APP) && dir.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside(Path::new(&start.working_dir)) || !root.join(&start.working_dir).is_dir() {
            return Err(damaged(format!("it has no folder `{}`", start.working_dir)));
        }
        let measured = root.clone();
        let bytes = tokio::task::spawn_blocking(move || size(&measured)).await.map_err(std::io::Error::other)?;
        Ok(Image { root, start, bytes })
    }

    /// Deletes what was unpacked for an app. It is out of the way at once; deleting goes on in the background.
    pub(crate) fn remove(&self, app: &App) {
        let root = self.0.join(app.deployment.as_str());
        if root.exists() {
            delete(vec![condemn(&root)]);
        }
    }
}

/// Renames a folder so that its name can be used again.
fn condemn(path: &Path) -> PathBuf {
    let target = path.with_extension(format!("{:016x}.{CONDEMNED}", rand::random::<u64>()));
    match std::fs::rename(path, &target) {
        Ok(()) => target,
        Err(_) => path.to_owned(),
    }
}

fn delete(paths: Vec<PathBuf>) {
    if !paths.is_empty() {
        // A thread and no task: also to be called where there is no async runtime.
        std::thread::spawn(move || paths.iter().for_each(|path| delete_one(path)));
    }
}

/// Deletes a tree, also one whose folders the app has locked.
fn delete_one(path: &Path) {
    if std::fs::remove_dir_all(path).is_ok() {
        return;
    }
    // Folders come before what they contain, so each can be opened once it is unlocked. Links are not followed.
    for entry in walkdir::WalkDir::new(path).into_iter().flatten().filter(|e| e.file_type().is_dir()) {
        let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700));
    }
    if let Err(e) = std::fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), error = %e, "an app's folder stays behind");
    }
}

/// Bytes on disk, counted as the sandbox counts them.
fn size(root: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(root).into_iter().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.blocks() * BLOCK).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_killed_platform_left_is_out_of_the_way_at_once() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join("dpl_old");
        std::fs::create_dir_all(left.join("app")).unwrap();
        Images::open(root.path().to_owned());
        assert!(!left.exists());
    }

    #[test]
    fn a_tree_that_its_app_locked_is_deleted() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::set_permissions(tree.join("a"), std::fs::Permissions::from_mode(0o000)).unwrap();
        delete_one(&tree);
        assert!(!tree.exists());
    }
}

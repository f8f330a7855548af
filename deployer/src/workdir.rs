//! The folders in which deployments are built.

use std::path::{Path, PathBuf};

use common::id::DeploymentId;

/// One folder a deployment, removed when its job ends.
#[derive(Clone, Debug)]
pub(crate) struct WorkDirs(PathBuf);

impl WorkDirs {
    /// Work folders below `root`; those that a killed deployer left are removed in the background.
    pub(crate) fn open(root: PathBuf) -> Self {
        let left: Vec<PathBuf> = std::fs::read_dir(&root).into_iter().flatten().flatten().map(|e| e.path()).collect();
        if !left.is_empty() {
            tokio::task::spawn_blocking(move || left.iter().for_each(|path| remove(path)));
        }
        Self(root)
    }

    /// An empty folder for a deployment's source.
    pub(crate) async fn make(&self, deployment: &DeploymentId) -> std::io::Result<PathBuf> {
        let folder = self.0.join(deployment.as_str());
        tokio::task::spawn_blocking(move || {
            remove(&folder);
            let source = folder.join("source");
            std::fs::create_dir_all(&source)?;
            Ok(source)
        })
        .await
        .map_err(std::io::Error::other)?
    }

    /// Removes a deployment's folder. It is out of the way at once; deleting goes on in the background.
    pub(crate) async fn remove(&self, deployment: &DeploymentId) {
        let folder = self.0.join(deployment.as_str());
        let condemned = self.0.join(format!("{deployment}.removed"));
        if tokio::fs::rename(&folder, &condemned).await.is_ok() {
            tokio::task::spawn_blocking(move || remove(&condemned));
        }
    }
}

/// Removes a tree, also one whose folders a build has locked.
fn remove(path: &Path) {
    if let Err(e) = build::remove_tree(path) {
        tracing::warn!(path = %path.display(), error = %e, "a work folder stays behind");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_tree_that_its_build_locked_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let work = WorkDirs::open(root.path().to_owned());
        let id = DeploymentId::new();
        let source = work.make(&id).await.unwrap();
        std::fs::create_dir_all(source.join("a/b")).unwrap();
        std::fs::write(source.join("a/b/c"), "x").unwrap();
        std::fs::set_permissions(source.join("a"), std::fs::Permissions::from_mode(0o000)).unwrap();
        remove(&source);
        assert!(!source.exists());
        assert!(work.make(&id).await.unwrap().read_dir().unwrap().next().is_none());
    }
}

//! The folder around the source, which belongs to one build.

use std::path::{Path, PathBuf};

use crate::BuildError;

/// The folder around the source.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    source: PathBuf,
}

impl Work {
    pub(crate) fn of(source: &Path) -> Result<Self, BuildError> {
        let source = std::path::absolute(source).map_err(BuildError::internal)?;
        match source.parent() {
            Some(folder) => Ok(Self { folder: folder.to_owned(), source: source.clone() }),
            None => Err(BuildError::internal("the source has no folder around it")),
        }
    }

    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// The build's home folder, which is new for every build.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Where what comes out of the cache is put first.
    pub(crate) fn restored(&self) -> PathBuf {
        self.folder.join("restored")
    }

    /// Where what the cache replaces is put out of the way.
    pub(crate) fn replaced(&self) -> PathBuf {
        self.folder.join("replaced")
    }

    /// The source, or where it has moved to.
    pub(crate) fn tree(&self) -> PathBuf {
        if self.source.is_dir() { self.source.clone() } else { self.root().join("app") }
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// The list of what the install left, for [`crate::Builder::keep`].
    fn list(&self) -> PathBuf {
        self.folder.join("installed.json")
    }

    pub(crate) async fn prepare(&self) -> Result<(), BuildError> {
        // Also what `TMPDIR` names: `/tmp` inside lies in memory.
        tokio::fs::create_dir_all(self.home().join("tmp")).await.map_err(BuildError::internal)
    }

    /// Moves the source into the image's root.
    pub(crate) async fn lay_out_root(&self) -> Result<PathBuf, BuildError> {
        let root = self.root();
        tokio::fs::create_dir(&root).await.map_err(BuildError::internal)?;
        tokio::fs::rename(&self.source, root.join("app")).await.map_err(BuildError::internal)?;
        Ok(root)
    }

    /// Remembers what may go into the cache.
    pub(crate) async fn set_installed(&self, paths: &[PathBuf]) {
        let written = match serde_json::to_vec(paths) {
            Ok(bytes) => tokio::fs::write(self.list(), bytes).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = written {
            tracing::warn!(error = %e, "what was installed can't be noted, so it won't be cached");
        }
    }

    /// Forgets it.
    pub(crate) async fn clear_installed(&self) {
        let _ = tokio::fs::remove_file(self.list()).await;
    }

    /// What may go into the cache, relative to the source; nothing unless the install succeeded.
    pub(crate) fn installed(&self) -> Vec<PathBuf> {
        let bytes = std::fs::read(self.list()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

/// Runs what blocks where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.map_err(BuildError::internal)
}

/// Whether `path`, relative and without `..`, leads from `root` through real folders only: no link, nothing missing.
pub(crate) fn is_real_folder(root: &Path, path: &Path) -> bool {
    let mut at = root.to_owned();
    path.components().all(|part| match part {
        std::path::Component::Normal(name) => {
            at.push(name);
            std::fs::symlink_metadata(&at).is_ok_and(|data| data.is_dir())
        }
        _ => false,
    })
}

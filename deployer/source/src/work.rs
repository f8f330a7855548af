//! Blocking work that ends when the one who waits for it is gone, and folders that vanish without making anybody wait.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::FetchError;

/// Runs `work` where blocking is allowed. When the future is dropped, the token that `work` has is canceled.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce(&CancellationToken) -> Result<T, E> + Send + 'static,
) -> Result<T, FetchError>
where
    T: Send + 'static,
    E: Into<FetchError> + Send + 'static,
{
    let canceled = CancellationToken::new();
    let _guard = canceled.clone().drop_guard();
    let done = tokio::task::spawn_blocking(move || work(&canceled)).await;
    done.map_err(io::Error::other)?.map_err(Into::into)
}

/// A temporary folder. It is removed in the background, because it may hold a whole repository.
#[derive(Debug)]
pub(crate) struct Scratch(Option<TempDir>, PathBuf);

impl Scratch {
    /// An empty folder beside `path`, on the same file system.
    pub(crate) async fn beside(path: &Path) -> Result<Self, FetchError> {
        let parent = parent(path)?.to_owned();
        let folder = blocking(move |_| tempfile::Builder::new().prefix("fetch-").tempdir_in(parent)).await?;
        let path = folder.path().to_owned();
        Ok(Self(Some(folder), path))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.1
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let folder = self.0.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(folder));
        }
    }
}

/// The folder that `path` lies in.
pub(crate) fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other("a source can't be put into the root of the file system"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn blocking_work_is_told_when_nobody_waits_for_it() {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (ended, ends) = tokio::sync::oneshot::channel();
        let work = blocking(move |canceled| {
            begun.send(()).unwrap();
            while !canceled.is_cancelled() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            io::Result::Ok(())
        });
        tokio::select! {
            done = work => done.unwrap(),
            begun = begins => begun.unwrap(),
        }
        ends.await.unwrap();
    }
}

//! The embedded bus in a folder that several processes share, on one machine or on a network file system that has locks.
//!
//! It is for installations without a log service: a process that follows a long log reads all of it again when another
//! has added to it.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::file::FileBus;
use super::{Batch, BusError, Line, LogBus, Topic};
use crate::id::DeploymentId;

/// Pause between looks at what other processes have added.
const LOOK: Duration = Duration::from_millis(150);
/// Files that are locked, each for a part of the deployments: so they need not be made and removed with logs.
const LOCKS: u64 = 64;
/// Deployments whose logs are kept open; beyond, those are read anew.
const MAX_OPEN: usize = 256;

/// The embedded adapter for several processes. Cheap to clone.
#[derive(Clone)]
pub struct SharedFileBus(Arc<Inner>);

struct Inner {
    root: PathBuf,
    open: Mutex<HashMap<DeploymentId, Open>>,
}

/// A deployment's logs, as they were when this process looked last.
#[derive(Clone)]
struct Open {
    bus: Arc<FileBus>,
    stamp: Vec<Stamp>,
}

/// A file: another one has another, and so has one that was added to.
type Stamp = (std::ffi::OsString, u64, u64);

impl SharedFileBus {
    /// A bus that keeps its files below `root`, which is created when absent.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn new(root: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        Ok(Self(Arc::new(Inner { root, open: Mutex::default() })))
    }

    /// Does something with a deployment's logs while no other process does anything with them. It is done to its end also
    /// when nobody waits for it any more.
    async fn alone<T, F>(
        &self,
        deployment: &DeploymentId,
        work: impl FnOnce(Arc<FileBus>) -> F + Send + 'static,
    ) -> Result<T, BusError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, BusError>> + Send,
    {
        let (this, id) = (self.clone(), deployment.clone());
        let failed = |source| BusError::Storage { topic: deployment.to_string(), source };
        let done = tokio::spawn(async move {
            let inner = &this.0;
            let failed = |source| BusError::Storage { topic: id.to_string(), source };
            let (path, lock) = (inner.root.join(id.as_str()), inner.lock_file(&id));
            // Held until this ends.
            let _lock = blocking(move || lock_of(&lock)).await.map_err(failed)?;
            let folder = path.clone();
            let stamp = blocking(move || stamp(&folder)).await.map_err(failed)?;
            let known = inner.open().get(&id).filter(|open| open.stamp == stamp).map(|open| open.bus.clone());
            let bus = match known {
                Some(bus) => bus,
                None => Arc::new(FileBus::new(inner.root.clone()).map_err(failed)?),
            };
            let outcome = work(bus.clone()).await;
            let stamp = blocking(move || self::stamp(&path)).await.map_err(failed)?;
            let mut open = inner.open();
            if open.len() >= MAX_OPEN && !open.contains_key(&id) {
                open.clear();
            }
            open.insert(id.clone(), Open { bus, stamp });
            outcome
        });
        done.await.map_err(|e| failed(std::io::Error::other(e)))?
    }
}

impl Inner {
    fn lock_file(&self, deployment: &DeploymentId) -> PathBuf {
        // The same in every process, of whatever version.
        let part =
            deployment.as_bytes().iter().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        self.root.join(format!(".lock-{}", part % LOCKS))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<DeploymentId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Waits for a lock, which lasts as long as the file is open.
fn lock_of(path: &Path) -> std::io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.lock()?;
    Ok(file)
}

/// How the files of a folder are; none when it is not there.
fn stamp(folder: &Path) -> std::io::Result<Vec<Stamp>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut stamps = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(meta) => stamps.push((entry.file_name(), meta.ino(), meta.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    stamps.sort();
    Ok(stamps)
}

#[async_trait]
impl LogBus for SharedFileBus {
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<(), BusError> {
        let at = topic.clone();
        self.alone(&topic.deployment, move |bus| async move { bus.append(&at, lines).await }).await
    }

    async fn finish(&self, topic: &Topic) -> Result<(), BusError> {
        let at = topic.clone();
        self.alone(&topic.deployment, move |bus| async move { bus.finish(&at).await }).await
    }

    async fn reopen(&self, topic: &Topic) -> Result<(), BusError> {
        let at = topic.clone();
        self.alone(&topic.deployment, move |bus| async move { bus.reopen(&at).await }).await
    }

    async fn flush(&self, _: &Topic) -> Result<(), BusError> {
        Ok(())
    }

    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError> {
        let at = topic.clone();
        self.alone(&topic.deployment, move |bus| async move { bus.read(&at, after).await }).await
    }

    async fn wait(&self, topic: &Topic, after: u64) -> Result<(), BusError> {
        loop {
            let at = topic.clone();
            let seen = self.alone(&topic.deployment, move |bus| async move {
                match tokio::time::timeout(Duration::ZERO, bus.wait(&at, after)).await {
                    Ok(news) => news.map(|()| true),
                    Err(_) => Ok(false),
                }
            });
            if seen.await? {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn remove(&self, deployment: &DeploymentId) -> Result<(), BusError> {
        let id = deployment.clone();
        self.alone(deployment, move |bus| async move { bus.remove(&id).await }).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::TryStreamExt as _;

    use super::*;
    use crate::bus::{Bus, Record, StreamName, conformance, follow};
    use crate::time::Timestamp;

    fn line(text: &str) -> Line {
        Line { time: Timestamp::now(), stream: StreamName::Stdout, text: text.to_owned() }
    }

    #[tokio::test]
    async fn the_shared_file_bus_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(SharedFileBus::new(folder.path().to_owned()).unwrap());
        conformance(&bus).await.unwrap();
    }

    #[tokio::test]
    async fn processes_number_their_lines_together_and_hear_one_another() {
        let folder = tempfile::tempdir().unwrap();
        let open = || -> Bus { Arc::new(SharedFileBus::new(folder.path().to_owned()).unwrap()) };
        let (one, other) = (open(), open());
        let topic = Topic::build(DeploymentId::new());
        let follower = tokio::spawn(follow(open(), topic.clone(), 0).try_collect::<Vec<Vec<Record>>>());
        for n in 0..10 {
            for bus in [&one, &other] {
                bus.append(&topic, vec![line(&n.to_string()), line("more")]).await.unwrap();
            }
        }
        other.finish(&topic).await.unwrap();
        let seen: Vec<u64> = follower.await.unwrap().unwrap().concat().iter().map(|record| record.seq).collect();
        assert_eq!(seen, (1..=40).collect::<Vec<_>>());
        assert!(matches!(one.append(&topic, vec![line("late")]).await, Err(BusError::Finished { .. })));
        other.remove(&topic.deployment).await.unwrap();
        assert!(one.read(&topic, 0).await.unwrap().records.is_empty());
    }
}

//! How much of the object store one project may keep busy, so that a store that hangs for one leaves the others alone.
//!
//! A read that hangs may hold a thread, and nothing can take the thread back. So a read counts until it has ended, not
//! only until nobody waits for it any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Reads at once of all projects: half of the threads that Tokio has for them.
const READS: usize = 256;
/// Reads at once of one project: enough for the files of a page, and few beside [`READS`].
const PROJECT_READS: usize = 32;
/// Reads of one project that wait for their turn: a few large pages at once.
const PROJECT_WAITS: usize = 256;

/// Too much is asked of the store for one project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Lets reads in.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    all: Arc<Semaphore>,
    /// Projects for which something is read or waits.
    lines: Mutex<HashMap<Arc<str>, Line>>,
}

struct Line {
    reads: Arc<Semaphore>,
    /// Reads that wait, run, or hang.
    count: usize,
    /// Of these, the ones that nobody waits for any more.
    overdue: usize,
}

/// A read that was let in; it ends when this is dropped.
pub(crate) struct Pass {
    // Dropped first, so that the read is over when its place is free.
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
    is_overdue: AtomicBool,
    place: Place,
}

struct Place {
    inner: Arc<Inner>,
    project: Arc<str>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { all: Arc::new(Semaphore::new(READS)), lines: Mutex::default() }))
    }

    /// Waits until something may be read for a project.
    ///
    /// # Errors
    /// At once when too many wait already, or when all that is read for it hangs.
    pub(crate) async fn enter(&self, project: &Arc<str>) -> Result<Pass, Full> {
        let (reads, place) = self.0.place(project)?;
        let all = Arc::clone(&self.0.all);
        // Its own turn first: so at most its own share waits among all.
        let own = reads.acquire_owned().await.map_err(|_| Full)?;
        let shared = all.acquire_owned().await.map_err(|_| Full)?;
        Ok(Pass { _permits: (own, shared), is_overdue: AtomicBool::new(false), place })
    }
}

impl Inner {
    fn place(self: &Arc<Self>, project: &Arc<str>) -> Result<(Arc<Semaphore>, Place), Full> {
        let mut lines = self.lines();
        let line = lines.entry(Arc::clone(project)).or_insert_with(|| Line {
            reads: Arc::new(Semaphore::new(PROJECT_READS)),
            count: 0,
            overdue: 0,
        });
        if line.count >= PROJECT_READS + PROJECT_WAITS || line.overdue >= PROJECT_READS {
            return Err(Full);
        }
        line.count += 1;
        Ok((Arc::clone(&line.reads), Place { inner: Arc::clone(self), project: Arc::clone(project) }))
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Nobody waits for the read any more, but it has not ended.
    pub(crate) fn is_overdue(&self) {
        if !self.is_overdue.swap(true, Ordering::Relaxed)
            && let Some(line) = self.place.inner.lines().get_mut(&self.place.project)
        {
            line.overdue += 1;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if *self.is_overdue.get_mut()
            && let Some(line) = self.place.inner.lines().get_mut(&self.place.project)
        {
            line.overdue -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.inner.lines();
        if let Some(line) = lines.get_mut(&self.project) {
            line.count -= 1;
            if line.count == 0 {
                lines.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_project_waits_for_its_own_reads_and_not_for_anothers() {
        let gate = Gate::new();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut passes = Vec::new();
        for _ in 0..PROJECT_READS {
            passes.push(gate.enter(&a).await.unwrap());
        }
        let mut waiting: Vec<_> = (0..PROJECT_WAITS).map(|_| Box::pin(gate.enter(&a))).collect();
        assert!(waiting.iter_mut().all(|w| w.now_or_never().is_none()));
        assert_eq!(gate.enter(&a).await.err(), Some(Full));
        drop(gate.enter(&b).await.unwrap());
        passes.pop();
        assert!(waiting.remove(0).await.is_ok());
        drop((passes, waiting));
        assert!(gate.0.lines().is_empty(), "nothing is kept of a project that reads nothing");
        assert_eq!(gate.0.all.available_permits(), READS);
    }

    #[tokio::test]
    async fn a_project_whose_reads_all_hang_is_refused_until_one_ends() {
        let gate = Gate::new();
        let project: Arc<str> = "a".into();
        let mut passes = Vec::new();
        for _ in 0..PROJECT_READS {
            let pass = gate.enter(&project).await.unwrap();
            pass.is_overdue();
            pass.is_overdue();
            passes.push(pass);
        }
        assert_eq!(gate.enter(&project).await.err(), Some(Full));
        passes.pop();
        assert!(gate.enter(&project).await.is_ok());
    }
}

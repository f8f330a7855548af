//! The embedded queue, in memory. Durable through the sweep: after a restart the control plane puts the
//! jobs of unfinished rows again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Job, JobQueue, Lease, Priority, QueueError, Stats};
use crate::id::DeploymentId;

/// The embedded adapter.
#[derive(Default)]
pub struct MemoryQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    tokens: u64,
    /// When an account was served last, as a count; accounts without jobs are forgotten.
    turns: HashMap<String, u64>,
}

struct Entry {
    job: Job,
    since: Instant,
    hold: Hold,
}

enum Hold {
    Waiting { from: Instant },
    Leased { token: u64, until: Instant, canceled: CancellationToken },
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the entry that this lease holds, and tells those who wait.
    fn with_leased(&self, lease: &Lease, change: impl FnOnce(&mut State, usize)) -> Result<(), QueueError> {
        let mut state = self.lock();
        let held = |e: &Entry| matches!(e.hold, Hold::Leased { token, .. } if token == lease.token);
        let at = state.entries.iter().position(held).ok_or_else(|| lost(lease))?;
        change(&mut state, at);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }
}

fn lost(lease: &Lease) -> QueueError {
    QueueError::LeaseLost(lease.job.deployment.clone())
}

impl State {
    /// Leases the first job that may go, or tells when to look again.
    fn take(&mut self, duration: Duration) -> Result<Lease, Option<Instant>> {
        let now = Instant::now();
        for entry in &mut self.entries {
            if let Hold::Leased { until, canceled, .. } = &entry.hold
                && *until <= now
            {
                canceled.cancel();
                entry.hold = Hold::Waiting { from: now };
            }
        }
        let mut wake: Option<Instant> = None;
        let mut seen = HashSet::new();
        let mut next: Option<(u64, Priority, usize)> = None;
        for (at, entry) in self.entries.iter().enumerate() {
            let first_of_group = seen.insert(&entry.job.group);
            let when = match entry.hold {
                Hold::Waiting { from } if from <= now && first_of_group => {
                    let turn = self.turns.get(&entry.job.account).copied().unwrap_or_default();
                    let candidate = (turn, entry.job.priority, at);
                    next = Some(next.map_or(candidate, |next| next.min(candidate)));
                    continue;
                }
                Hold::Waiting { from } => from.max(now),
                Hold::Leased { until, .. } => until,
            };
            if when > now {
                wake = Some(wake.map_or(when, |w| w.min(when)));
            }
        }
        let Some((_, _, at)) = next else { return Err(wake) };
        self.tokens += 1;
        let token = self.tokens;
        let canceled = CancellationToken::new();
        let entry = &mut self.entries[at];
        entry.hold = Hold::Leased { token, until: now + duration, canceled: canceled.clone() };
        let job = entry.job.clone();
        let entries = &self.entries;
        self.turns.retain(|account, _| entries.iter().any(|entry| entry.job.account == *account));
        self.turns.insert(job.account.clone(), token);
        Ok(Lease { job, token, canceled })
    }
}

#[async_trait]
impl JobQueue for MemoryQueue {
    async fn enqueue(&self, job: Job) -> Result<(), QueueError> {
        let mut state = self.lock();
        if !state.entries.iter().any(|e| e.job.deployment == job.deployment) {
            let now = Instant::now();
            state.entries.push_back(Entry { job, since: now, hold: Hold::Waiting { from: now } });
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn lease(&self, duration: Duration) -> Result<Lease, QueueError> {
        loop {
            // Registered before the look, so that a change in between is not missed.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let found = self.lock().take(duration);
            match found {
                Ok(lease) => return Ok(lease),
                Err(Some(when)) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(when) => {}
                },
                Err(None) => changed.await,
            }
        }
    }

    async fn heartbeat(&self, lease: &Lease, duration: Duration) -> Result<(), QueueError> {
        self.with_leased(lease, |state, at| {
            if let Hold::Leased { until, .. } = &mut state.entries[at].hold {
                *until = Instant::now() + duration;
            }
        })
    }

    async fn complete(&self, lease: &Lease) -> Result<(), QueueError> {
        self.with_leased(lease, |state, at| {
            state.entries.remove(at);
        })
    }

    async fn retry(&self, lease: &Lease, delay: Duration) -> Result<(), QueueError> {
        self.with_leased(lease, |state, at| {
            state.entries[at].hold = Hold::Waiting { from: Instant::now() + delay };
        })
    }

    async fn cancel(&self, deployment: &DeploymentId) -> Result<(), QueueError> {
        let mut state = self.lock();
        state.entries.retain(|e| match &e.hold {
            Hold::Leased { canceled, .. } if e.job.deployment == *deployment => {
                canceled.cancel();
                true
            }
            Hold::Waiting { .. } if e.job.deployment == *deployment => false,
            _ => true,
        });
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, QueueError> {
        let state = self.lock();
        let now = Instant::now();
        let leased = state.entries.iter().filter(|e| matches!(e.hold, Hold::Leased { .. })).count();
        let delayed = state.entries.iter().filter(|e| matches!(e.hold, Hold::Waiting { from } if from > now)).count();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Stats {
            waiting: count(state.entries.len() - leased),
            leased: count(leased),
            delayed: count(delayed),
            oldest: state.entries.iter().map(|e| now - e.since).max().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::queue::{Queue, conformance};

    #[tokio::test(start_paused = true)]
    async fn the_memory_queue_conforms() {
        let queue: Queue = Arc::new(MemoryQueue::new());
        conformance(&queue).await.unwrap();
    }
}

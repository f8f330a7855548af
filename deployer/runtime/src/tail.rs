//! The last lines that an app said, for errors: kept on their way to the bus, where they are clean and masked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::bus::{Batch, Bus, BusError, Line, LogBus, StreamName, Topic};
use common::id::DeploymentId;

/// Lines that are kept: the message of an error and the top of its stack.
const LINES: usize = 10;
/// Characters of a line that are kept.
const CHARS: usize = 300;

/// A bus that remembers what an app said last.
pub(crate) struct Tail {
    bus: Bus,
    last: Mutex<VecDeque<String>>,
}

impl Tail {
    pub(crate) fn new(bus: Bus) -> Arc<Self> {
        Arc::new(Self { bus, last: Mutex::default() })
    }

    /// The last lines since this was called before, oldest first.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock()).into()
    }

    fn remember(&self, lines: &[Line]) {
        let said = lines.iter().filter(|line| line.stream != StreamName::System && !line.text.trim().is_empty());
        let mut last = self.lock();
        for line in said {
            if last.len() == LINES {
                last.pop_front();
            }
            last.push_back(line.text.chars().take(CHARS).collect());
        }
    }

    /// Held for queue operations only.
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LogBus for Tail {
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<u64, BusError> {
        self.remember(&lines);
        self.bus.append(topic, lines).await
    }

    async fn finish(&self, topic: &Topic) -> Result<(), BusError> {
        self.bus.finish(topic).await
    }

    async fn reopen(&self, topic: &Topic) -> Result<(), BusError> {
        self.bus.reopen(topic).await
    }

    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError> {
        self.bus.read(topic, after).await
    }

    async fn wait(&self, topic: &Topic, after: u64) -> Result<(), BusError> {
        self.bus.wait(topic, after).await
    }

    async fn remove(&self, deployment: &DeploymentId) -> Result<(), BusError> {
        self.bus.remove(deployment).await
    }
}

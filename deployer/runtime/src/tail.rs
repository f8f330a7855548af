//! The last lines that an app said, for errors: kept on their way to the bus, where they are clean and masked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use common::bus::{Away, Batch, Bus, BusError, Line, LogBus, StreamName, Topic};
use common::id::DeploymentId;

/// Lines that are told: an error with its stack, and what came before it.
const LINES: usize = 20;
/// So many of them are errors, if there are as many. The two streams come through two pipes, so their order is not
/// certain: what an app says after its error must not push that out.
const ERRORS: usize = 15;
/// What Node says when its heap is full; a long list of native frames follows.
const HEAP_FULL: &str = "JavaScript heap out of memory";
/// Characters of a line that are kept.
const CHARS: usize = 300;

/// A bus that remembers what an app said last.
pub(crate) struct Tail {
    bus: Bus,
    last: Mutex<Last>,
}

/// The last lines of each stream, with their places among all lines.
#[derive(Default)]
struct Last {
    count: u64,
    stdout: VecDeque<(u64, String)>,
    stderr: VecDeque<(u64, String)>,
    heap_full: bool,
}

impl Last {
    fn remember(&mut self, line: &Line) {
        let lines = match line.stream {
            StreamName::Stdout => &mut self.stdout,
            StreamName::Stderr => &mut self.stderr,
            StreamName::System => return,
        };
        if line.text.trim().is_empty() {
            return;
        }
        self.heap_full |= line.stream == StreamName::Stderr && line.text.contains(HEAP_FULL);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back((self.count, line.text.chars().take(CHARS).collect()));
        self.count += 1;
    }

    /// The last lines of both, oldest first.
    fn told(self) -> Vec<String> {
        let errors = self.stderr.len().min(ERRORS.max(LINES.saturating_sub(self.stdout.len())));
        let others = self.stdout.len().min(LINES - errors);
        let newest = |lines: VecDeque<(u64, String)>, n: usize| lines.into_iter().rev().take(n);
        let mut told: Vec<(u64, String)> = newest(self.stderr, errors).chain(newest(self.stdout, others)).collect();
        told.sort_unstable();
        told.into_iter().map(|(_, line)| line).collect()
    }
}

impl Tail {
    pub(crate) fn new(bus: Bus) -> Arc<Self> {
        Arc::new(Self { bus, last: Mutex::default() })
    }

    /// The last lines since this was called before, oldest first.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock()).told()
    }

    /// Whether Node said, since [`Self::take`] was called before, that its heap is full.
    pub(crate) fn heap_full(&self) -> bool {
        self.lock().heap_full
    }

    /// Held for queue operations only.
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl LogBus for Tail {
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<(), BusError> {
        lines.iter().for_each(|line| self.lock().remember(line));
        self.bus.append(topic, lines).await
    }

    async fn finish(&self, topic: &Topic) -> Result<(), BusError> {
        self.bus.finish(topic).await
    }

    async fn reopen(&self, topic: &Topic) -> Result<(), BusError> {
        self.bus.reopen(topic).await
    }

    async fn flush(&self, topic: &Topic) -> Result<(), BusError> {
        self.bus.flush(topic).await
    }

    fn away(&self) -> Option<Away> {
        self.bus.away()
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

#[cfg(test)]
mod tests {
    use common::time::Timestamp;

    use super::*;

    fn told(said: impl IntoIterator<Item = (StreamName, String)>) -> Vec<String> {
        let mut last = Last::default();
        said.into_iter().for_each(|(stream, text)| last.remember(&Line { time: Timestamp::now(), stream, text }));
        last.told()
    }

    #[test]
    fn an_error_is_not_pushed_out_by_what_is_read_after_it() {
        let errors = (0..ERRORS).map(|n| (StreamName::Stderr, format!("error {n}")));
        let chatter = (0..100).map(|n| (StreamName::Stdout, format!("line {n}")));
        let told = told(errors.chain(chatter));
        assert_eq!(told.len(), LINES);
        assert_eq!((told[0].as_str(), told[ERRORS].as_str()), ("error 0", "line 95"));
    }

    #[test]
    fn one_stream_may_have_all_lines_and_those_of_the_platform_do_not_count() {
        let chatter = (0..100).map(|n| (StreamName::Stderr, format!("error {n}")));
        let told =
            told(chatter.chain([(StreamName::System, "Stopping.".to_owned()), (StreamName::Stdout, " ".to_owned())]));
        assert_eq!((told.len(), told[0].as_str(), told[LINES - 1].as_str()), (LINES, "error 80", "error 99"));
    }
}

//! The embedded bus: one folder a deployment, one file of JSON lines a log, durable across restarts.
//!
//! A runtime log has no end, so it is kept in two segments: when the newest is full, the older one is
//! dropped. A build log is bounded by the build's own limits and stays whole.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Batch, BusError, Line, LogBus, MAX_READ, Record, Topic};
use crate::api::LogKind;
use crate::id::DeploymentId;

/// Size at which a runtime log's segment is full, bytes: about 40,000 lines of 100 characters.
const RUNTIME_SEGMENT: u64 = 4 << 20;
/// One offset in this many records is kept in memory.
const INDEX_EVERY: u64 = 256;
/// The line that ends a finished log.
const END: &str = "{\"end\":true}";

/// The embedded adapter.
pub struct FileBus {
    root: PathBuf,
    topics: Mutex<HashMap<Topic, Arc<Open>>>,
}

/// A topic in use.
struct Open {
    state: Mutex<State>,
    /// Newest record's number, and whether the log is finished.
    news: watch::Sender<(u64, bool)>,
}

struct State {
    path: PathBuf,
    rotates: bool,
    older: Option<Segment>,
    newest: Segment,
    finished: bool,
    /// Its deployment was deleted: what is still said goes nowhere, and no file comes back.
    removed: bool,
}

/// One file: which records it holds and where.
#[derive(Default)]
struct Segment {
    /// Number of the first record.
    first: u64,
    /// Number after the last record.
    next: u64,
    bytes: u64,
    /// `(record number, byte offset)` of every [`INDEX_EVERY`]th record.
    index: Vec<(u64, u64)>,
}

impl FileBus {
    /// A bus that keeps its files below `root`, which is created when absent.
    ///
    /// # Errors
    /// When the folder can't be made.
    pub fn new(root: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&root)?;
        Ok(Self { root, topics: Mutex::default() })
    }

    fn open(&self, topic: &Topic) -> Result<Arc<Open>, BusError> {
        let mut topics = lock(&self.topics);
        if let Some(open) = topics.get(topic) {
            return Ok(open.clone());
        }
        let path = self.root.join(topic.deployment.as_str()).join(format!("{}.ndjson", topic.kind.name()));
        let state = State::load(path, topic.kind == LogKind::Runtime).map_err(|e| storage(topic, e))?;
        let news = watch::Sender::new((state.newest.next - 1, state.finished));
        let open = Arc::new(Open { state: Mutex::new(state), news });
        topics.insert(topic.clone(), open.clone());
        Ok(open)
    }

    /// Runs file work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        topic: &Topic,
        work: impl FnOnce(&Open, &Topic) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        let open = self.open(topic)?;
        let name = topic.clone();
        tokio::task::spawn_blocking(move || work(&open, &name))
            .await
            .map_err(|e| storage(topic, std::io::Error::other(e)))?
    }
}

/// Locks are held for plain memory and file work only; a poisoned one still guards consistent data,
/// because files are read back on failure.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn storage(topic: &Topic, source: std::io::Error) -> BusError {
    BusError::Storage { topic: topic.deployment.to_string(), source }
}

fn older_path(path: &Path) -> PathBuf {
    path.with_extension("older.ndjson")
}

impl Segment {
    /// Reads which records a file holds; a torn last line (a crash while writing) is cut off, a damaged one before it
    /// is skipped.
    fn load(path: &Path) -> std::io::Result<(Self, bool)> {
        let mut segment = Self { first: 0, next: 1, bytes: 0, index: Vec::new() };
        let file = match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((segment, false)),
            Err(e) => return Err(e),
        };
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut finished = false;
        let mut damaged = 0;
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line)?;
            if n == 0 {
                break;
            }
            if line.trim_ascii() == END.as_bytes() {
                finished = true;
                break;
            }
            if !line.ends_with(b"\n") {
                break;
            }
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if segment.may_follow(record.seq, damaged) => {
                    segment.note(record.seq, n as u64);
                    damaged = 0;
                }
                _ => {
                    segment.bytes += n as u64;
                    damaged += 1;
                }
            }
        }
        file.set_len(segment.bytes)?;
        Ok((segment, finished))
    }

    /// Whether a record can have this number, so many damaged ones after the one before it.
    fn may_follow(&self, seq: u64, damaged: u64) -> bool {
        self.first == 0 || (self.next..=self.next + damaged).contains(&seq)
    }

    fn note(&mut self, seq: u64, bytes: u64) {
        if self.first == 0 {
            self.first = seq;
        }
        if (seq - self.first).is_multiple_of(INDEX_EVERY) {
            self.index.push((seq, self.bytes));
        }
        self.next = seq + 1;
        self.bytes += bytes;
    }

    fn read(&self, path: &Path, after: u64, into: &mut Vec<Record>) -> std::io::Result<()> {
        let wanted = after.saturating_add(1);
        if self.first == 0 || wanted >= self.next {
            return Ok(());
        }
        let at = self.index.partition_point(|(seq, _)| *seq <= wanted).saturating_sub(1);
        let offset = self.index.get(at).map_or(0, |(_, offset)| *offset);
        let mut file = std::fs::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut last = after;
        for line in BufReader::new(file.take(self.bytes - offset)).split(b'\n') {
            // What is no record, or not of this place, was damaged: see `load`.
            if let Ok(record) = serde_json::from_slice::<Record>(&line?)
                && (last + 1..self.next).contains(&record.seq)
            {
                last = record.seq;
                into.push(record);
            }
            if into.len() == MAX_READ {
                break;
            }
        }
        Ok(())
    }
}

impl State {
    fn load(path: PathBuf, rotates: bool) -> std::io::Result<Self> {
        let (mut newest, finished) = Segment::load(&path)?;
        let older = if rotates { Some(Segment::load(&older_path(&path))?.0).filter(|s| s.first > 0) } else { None };
        if let (0, Some(older)) = (newest.first, &older) {
            newest.next = older.next;
        }
        let mut state = Self { path, rotates, older, newest, finished, removed: false };
        if finished {
            // Loading cut the end mark off together with anything torn after it.
            state.write(&[], true)?;
        }
        Ok(state)
    }

    fn write(&mut self, lines: &[Line], finish: bool) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            match std::fs::create_dir(folder) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        if self.rotates && self.newest.bytes > RUNTIME_SEGMENT {
            std::fs::rename(&self.path, older_path(&self.path))?;
            let next = self.newest.next;
            self.older = Some(std::mem::take(&mut self.newest));
            self.newest.next = next;
        }
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.path)?;
        let mut text = Vec::new();
        let mut sizes = Vec::with_capacity(lines.len());
        for (seq, line) in (self.newest.next..).zip(lines) {
            let before = text.len();
            let record = Record { seq, time: line.time, stream: line.stream, text: line.text.clone() };
            serde_json::to_writer(&mut text, &record)?;
            text.push(b'\n');
            sizes.push((seq, (text.len() - before) as u64));
        }
        if finish {
            text.extend_from_slice(END.as_bytes());
            text.push(b'\n');
        }
        if let Err(e) = file.write_all(&text) {
            // Take back a half-written batch, so that the next one does not follow a torn line.
            file.set_len(self.newest.bytes)?;
            return Err(e);
        }
        for (seq, bytes) in sizes {
            self.newest.note(seq, bytes);
        }
        self.finished = finish;
        Ok(())
    }
}

#[async_trait]
impl LogBus for FileBus {
    async fn append(&self, topic: &Topic, lines: Vec<Line>) -> Result<(), BusError> {
        self.blocking(topic, move |open, topic| {
            let mut state = lock(&open.state);
            if state.finished || state.removed {
                return Err(BusError::Finished { topic: topic.deployment.to_string() });
            }
            state.write(&lines, false).map_err(|e| storage(topic, e))?;
            open.news.send_replace((state.newest.next - 1, false));
            Ok(())
        })
        .await
    }

    async fn finish(&self, topic: &Topic) -> Result<(), BusError> {
        self.blocking(topic, |open, topic| {
            let mut state = lock(&open.state);
            if !state.finished && !state.removed {
                state.write(&[], true).map_err(|e| storage(topic, e))?;
                open.news.send_replace((state.newest.next - 1, true));
            }
            Ok(())
        })
        .await
    }

    async fn reopen(&self, topic: &Topic) -> Result<(), BusError> {
        self.blocking(topic, |open, topic| {
            let mut state = lock(&open.state);
            if state.finished {
                let file = std::fs::OpenOptions::new().write(true).open(&state.path);
                file.and_then(|f| f.set_len(state.newest.bytes)).map_err(|e| storage(topic, e))?;
                state.finished = false;
                open.news.send_replace((state.newest.next - 1, false));
            }
            Ok(())
        })
        .await
    }

    async fn flush(&self, _: &Topic) -> Result<(), BusError> {
        Ok(())
    }

    async fn read(&self, topic: &Topic, after: u64) -> Result<Batch, BusError> {
        self.blocking(topic, move |open, topic| {
            let state = lock(&open.state);
            let mut records = Vec::new();
            if let Some(older) = &state.older {
                older.read(&older_path(&state.path), after, &mut records).map_err(|e| storage(topic, e))?;
            }
            if records.len() < MAX_READ {
                let from = records.last().map_or(after, |r| r.seq);
                state.newest.read(&state.path, from, &mut records).map_err(|e| storage(topic, e))?;
            }
            let last = records.last().map_or(after, |r| r.seq);
            let finished = state.removed || (state.finished && last.saturating_add(1) >= state.newest.next);
            Ok(Batch { records, finished })
        })
        .await
    }

    async fn wait(&self, topic: &Topic, after: u64) -> Result<(), BusError> {
        let mut news = self.open(topic)?.news.subscribe();
        // The sender lives as long as the topic; when it is removed there is nothing to wait for.
        let _ = news.wait_for(|(last, finished)| *last > after || *finished).await;
        Ok(())
    }

    async fn remove(&self, deployment: &DeploymentId) -> Result<(), BusError> {
        for topic in [Topic::build(deployment.clone()), Topic::runtime(deployment.clone())] {
            self.blocking(&topic, |open, _| {
                let mut state = lock(&open.state);
                state.removed = true;
                (state.older, state.newest) = (None, Segment { next: 1, ..Segment::default() });
                open.news.send_replace((0, true));
                Ok(())
            })
            .await?;
        }
        match tokio::fs::remove_dir_all(self.root.join(deployment.as_str())).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(storage(&Topic::build(deployment.clone()), e)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::StreamExt as _;

    use super::*;
    use crate::bus::{Bus, StreamName, conformance};
    use crate::time::Timestamp;

    fn line(text: &str) -> Line {
        Line { time: Timestamp::now(), stream: StreamName::Stdout, text: text.to_owned() }
    }

    #[tokio::test]
    async fn the_file_bus_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        conformance(&bus).await.unwrap();
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_a_torn_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let topic = Topic::build(DeploymentId::new());
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        bus.append(&topic, vec![line("a"), line("b")]).await.unwrap();
        drop(bus);
        let path = folder.path().join(topic.deployment.as_str()).join("build.ndjson");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"seq\":3,\"time\":\"2023-").unwrap();
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        bus.append(&topic, vec![line("c")]).await.unwrap();
        bus.finish(&topic).await.unwrap();
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        let batch = bus.read(&topic, 0).await.unwrap();
        let records: Vec<_> = batch.records.iter().map(|r| (r.seq, r.text.as_str())).collect();
        assert_eq!(records, [(1, "a"), (2, "b"), (3, "c")]);
        assert!(batch.finished);
    }

    #[tokio::test]
    async fn a_damaged_line_costs_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let topic = Topic::build(DeploymentId::new());
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        let lines = (1..=2000).map(|n| line(&n.to_string())).collect();
        bus.append(&topic, lines).await.unwrap();
        bus.finish(&topic).await.unwrap();
        let path = folder.path().join(topic.deployment.as_str()).join("build.ndjson");
        let mut bytes = std::fs::read(&path).unwrap();
        let starts: Vec<usize> = [0]
            .into_iter()
            .chain(bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1))
            .collect();
        // Not a record any more, not UTF-8, a number far off, a number that was there before.
        bytes[starts[9]] = b'X';
        bytes[starts[19] + 30] = 0xff;
        bytes[starts[1028] + 7] = b'9';
        bytes[starts[1038] + 8..starts[1038] + 11].copy_from_slice(b"001");
        std::fs::write(&path, bytes).unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        let first = bus.read(&topic, 0).await.unwrap();
        let rest = bus.read(&topic, first.records.last().unwrap().seq).await.unwrap();
        assert!(!first.finished && rest.finished);
        let seen: Vec<u64> = first.records.iter().chain(&rest.records).map(|r| r.seq).collect();
        let whole: Vec<u64> = (1..=2000).filter(|n| ![10, 20, 1029, 1039].contains(n)).collect();
        assert_eq!(seen, whole);
        assert!(first.records.iter().all(|r| r.text == r.seq.to_string()));
    }

    #[tokio::test]
    async fn a_removed_log_ends_its_followers_and_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let topic = Topic::runtime(DeploymentId::new());
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        bus.append(&topic, vec![line("a")]).await.unwrap();
        let follower = tokio::spawn(crate::bus::follow(bus.clone(), topic.clone(), 1).count());
        tokio::task::yield_now().await;
        bus.remove(&topic.deployment).await.unwrap();
        assert_eq!(follower.await.unwrap(), 0);
        let late = bus.append(&topic, vec![line("the app's last words")]).await;
        assert!(matches!(late, Err(BusError::Finished { .. })));
        bus.finish(&Topic::build(topic.deployment.clone())).await.unwrap();
        assert!(!folder.path().join(topic.deployment.as_str()).exists());
    }

    #[tokio::test]
    async fn there_is_nothing_after_the_greatest_number() {
        let folder = tempfile::tempdir().unwrap();
        let topic = Topic::build(DeploymentId::new());
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        bus.append(&topic, vec![line("a")]).await.unwrap();
        assert!(bus.read(&topic, u64::MAX).await.unwrap().records.is_empty());
    }

    #[tokio::test]
    async fn a_runtime_log_drops_its_oldest_lines_and_keeps_counting() {
        let folder = tempfile::tempdir().unwrap();
        let topic = Topic::runtime(DeploymentId::new());
        let bus = FileBus::new(folder.path().to_owned()).unwrap();
        let long = "x".repeat(1 << 20);
        for _ in 0..16 {
            bus.append(&topic, vec![line(&long)]).await.unwrap();
        }
        let kept = bus.read(&topic, 0).await.unwrap().records;
        assert_eq!(kept.last().unwrap().seq, 16);
        assert!(kept.first().unwrap().seq > 1 && kept.len() >= 4, "{} kept", kept.len());
        assert!(kept.windows(2).all(|w| w[0].seq + 1 == w[1].seq));
    }
}

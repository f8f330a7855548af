//! The access log: one line of JSON a request.
//!
//! A request appends its line to its thread's buffer; one thread gathers the buffers and writes them. So a request
//! makes no system call, and lines of different threads may stand out of order by the time between two writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::record::Record;
use crate::stripe::Stripes;

mod line;

/// Bytes that wait in one thread's buffer; lines beyond are dropped and counted. A disk that stands still for
/// seconds loses nothing at ten thousand requests a second.
const MAX_WAITING: usize = 8 << 20;
/// Time between two writes: many lines go in one system call.
const BETWEEN_WRITES: Duration = Duration::from_millis(50);
/// Time between two looks at whether the file was moved away.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Memory that a buffer keeps between two writes, in bytes.
const KEPT: usize = 256 << 10;

/// Where the access log goes, and how much of it.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where it goes.
    pub to: LogTo,
    /// The part of requests that is logged, from 0 to 1. Failures are always logged: statuses from 500 on, and
    /// requests whose visitor left before an answer.
    pub sample: f64,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// A file, to whose end lines are added. Whoever rotates it moves it away; within a second a new one is begun.
    File(PathBuf),
}

/// Why the access log can't be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file can't be opened.
    #[error("can't open the access log {path}: {source}")]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sample is no part of one.
    #[error("the access log's sample is {0}; it must be from 0 to 1")]
    Sample(f64),
    /// No thread could be started.
    #[error("can't start the access log's thread: {0}")]
    Thread(io::Error),
}

/// Lines of one thread that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    clock: line::Clock,
    /// Counts up to the next line that is sampled.
    share: f64,
}

impl Buffer {
    /// Whether this request is logged.
    fn wants(&mut self, sample: f64, record: &Record<'_>) -> bool {
        if sample >= 1.0 || record.is_error() {
            return true;
        }
        self.share += sample;
        if self.share >= 1.0 {
            self.share -= 1.0;
            return true;
        }
        false
    }
}

/// A running access log.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stripes: Arc<Stripes>,
    sample: f64,
    sink: Mutex<Sink>,
    /// Lines wait, and the thread knows.
    waiting: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    /// Lines dropped because they came faster than they were written.
    dropped: AtomicU64,
    /// Bytes lost because they could not be written.
    lost: AtomicU64,
}

#[derive(Debug)]
struct Sink {
    to: LogTo,
    file: Option<Opened>,
    gathered: Vec<u8>,
    failing: bool,
}

#[derive(Debug)]
struct Opened {
    file: File,
    id: (u64, u64),
    looked: Instant,
}

impl Writer {
    pub(crate) fn start(settings: AccessLog, stripes: Arc<Stripes>) -> Result<Self, LogError> {
        if !(0.0..=1.0).contains(&settings.sample) {
            return Err(LogError::Sample(settings.sample));
        }
        let mut sink = Sink { to: settings.to, file: None, gathered: Vec::new(), failing: false };
        if let LogTo::File(path) = &sink.to {
            let open = open(path).map_err(|source| LogError::Open { path: path.clone(), source })?;
            sink.file = Some(open);
        }
        let shared = Arc::new(Shared {
            stripes,
            sample: settings.sample,
            sink: Mutex::new(sink),
            waiting: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || own.run());
        let thread = thread.map_err(LogError::Thread)?;
        // Set once, here.
        let _ = shared.thread.set(thread.thread().clone());
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Adds a request's line to its thread's buffer.
    pub(crate) fn add(&self, buffer: &mut Buffer, record: &Record<'_>) {
        let shared = &self.shared;
        if !buffer.wants(shared.sample, record) {
            return;
        }
        if buffer.bytes.len() >= MAX_WAITING {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let now = buffer.clock.now();
        line::write(&mut buffer.bytes, now, record);
        if !shared.waiting.load(Ordering::Relaxed) && !shared.waiting.swap(true, Ordering::AcqRel) {
            shared.thread.get().inspect(|thread| thread.unpark());
        }
    }

    /// Writes everything that waits. Blocks as long as that takes.
    pub(crate) fn flush(&self) {
        self.shared.write_out();
    }

    /// Lines dropped, and bytes lost.
    pub(crate) fn losses(&self) -> (u64, u64) {
        (self.shared.dropped.load(Ordering::Relaxed), self.shared.lost.load(Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It ends after its last write; its panic would already be told.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        while !self.stop.load(Ordering::Acquire) {
            if !self.waiting.load(Ordering::Acquire) {
                std::thread::park();
                continue;
            }
            let until = Instant::now() + BETWEEN_WRITES;
            while let Some(rest) = until.checked_duration_since(Instant::now()) {
                if self.stop.load(Ordering::Acquire) || rest.is_zero() {
                    break;
                }
                std::thread::park_timeout(rest);
            }
            self.write_out();
        }
        self.write_out();
    }

    fn write_out(&self) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // A line that comes now wakes the thread again.
        self.waiting.store(false, Ordering::Release);
        let mut gathered = std::mem::take(&mut sink.gathered);
        for mut stripe in self.stripes.each() {
            let bytes = &mut stripe.log.bytes;
            if gathered.is_empty() {
                // Nothing is copied while one thread has most.
                std::mem::swap(&mut gathered, bytes);
            } else {
                gathered.append(bytes);
            }
            bytes.shrink_to(KEPT);
        }
        if !gathered.is_empty()
            && let Err(error) = sink.write(&gathered)
        {
            self.lost.fetch_add(gathered.len() as u64, Ordering::Relaxed);
            if !std::mem::replace(&mut sink.failing, true) {
                tracing::error!(%error, "the access log can't be written; its lines are lost until it can");
            }
        } else {
            sink.failing = false;
        }
        gathered.clear();
        gathered.shrink_to(KEPT);
        sink.gathered = gathered;
    }
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let LogTo::File(path) = &self.to else { return io::stdout().lock().write_all(bytes) };
        let moved = |open: &Opened| open.looked.elapsed() >= BETWEEN_LOOKS && id(path).ok() != Some(open.id);
        if self.file.as_ref().is_none_or(moved) {
            self.file = Some(open(path)?);
        }
        let Some(open) = &mut self.file else { return Ok(()) };
        if open.looked.elapsed() >= BETWEEN_LOOKS {
            open.looked = Instant::now();
        }
        let result = open.file.write_all(bytes);
        if result.is_err() {
            self.file = None;
        }
        result
    }
}

fn open(path: &Path) -> io::Result<Opened> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let told = file.metadata()?;
    Ok(Opened { file, id: (told.dev(), told.ino()), looked: Instant::now() })
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|told| (told.dev(), told.ino()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn writer(to: LogTo, sample: f64) -> (Writer, Arc<Stripes>) {
        let stripes = Arc::new(Stripes::new());
        (Writer::start(AccessLog { to, sample }, Arc::clone(&stripes)).unwrap(), stripes)
    }

    fn record(path: &str, status: u16) -> Record<'_> {
        Record { path, status: Some(status), method: "GET", host: "a.example", ..Record::default() }
    }

    fn paths(file: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let path =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
        text.lines().map(path).collect()
    }

    #[test]
    fn every_line_is_in_the_file_once_it_is_flushed_or_the_log_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        std::fs::write(&path, "{\"path\":\"earlier\"}\n").unwrap();
        let (writer, stripes) = writer(LogTo::File(path.clone()), 1.0);
        writer.add(&mut stripes.own().log, &record("/1", 200));
        writer.flush();
        assert_eq!(paths(&path), ["earlier", "/1"]);
        writer.add(&mut stripes.own().log, &record("/2", 200));
        drop(writer);
        assert_eq!(paths(&path), ["earlier", "/1", "/2"]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let (writer, stripes) = writer(LogTo::File(path.clone()), 1.0);
        writer.add(&mut stripes.own().log, &record("/1", 200));
        writer.flush();
        std::fs::rename(&path, &old).unwrap();
        // As if a second had gone by.
        if let Some(open) = &mut writer.shared.sink.lock().unwrap().file {
            open.looked = Instant::now().checked_sub(BETWEEN_LOOKS).unwrap();
        }
        writer.add(&mut stripes.own().log, &record("/2", 200));
        writer.flush();
        assert_eq!((paths(&old), paths(&path)), (vec!["/1".to_owned()], vec!["/2".to_owned()]));
    }

    #[test]
    fn a_sample_has_its_part_of_requests_and_every_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (writer, stripes) = writer(LogTo::File(path.clone()), 0.25);
        for i in 0..100 {
            writer.add(&mut stripes.own().log, &record("/", if i % 10 == 0 { 502 } else { 200 }));
        }
        writer.flush();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("\"status\":502").count(), 10);
        assert_eq!(text.matches("\"status\":200").count(), 22);
    }

    #[test]
    fn a_log_that_is_not_written_in_time_takes_bounded_memory_and_counts_what_it_drops() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, stripes) = writer(LogTo::File(folder.path().join("access.log")), 1.0);
        let stuck = writer.shared.sink.lock().unwrap();
        let long = "/".repeat(400);
        let mut sent = 0;
        while writer.losses().0 < 10 {
            writer.add(&mut stripes.own().log, &record(&long, 200));
            sent += 1;
        }
        assert!(stripes.own().log.bytes.len() < MAX_WAITING + 4096);
        drop(stuck);
        drop(writer);
        assert_eq!(paths(&folder.path().join("access.log")).len(), sent - 10);
    }

    #[test]
    fn wrong_settings_are_refused_with_what_is_wrong() {
        let stripes = Arc::new(Stripes::new());
        let settings = AccessLog { to: LogTo::File("/nowhere/access.log".into()), sample: 1.0 };
        let message = Writer::start(settings, Arc::clone(&stripes)).err().unwrap().to_string();
        assert!(message.contains("/nowhere/access.log"), "{message}");
        for sample in [1.5, -0.1, f64::NAN] {
            assert!(Writer::start(AccessLog { to: LogTo::Stdout, sample }, Arc::clone(&stripes)).is_err());
        }
    }
}

//! What builds and apps say, on its way to the bus: split into lines, secrets masked, bounded.
//!
//! In: bytes of stdout and stderr, and sentences of the platform. Out: batches of lines on one topic of
//! the bus, in the order in which they came. A chatty command is slowed down, its lines are not dropped;
//! one that says more than its [`Bounds`] is told to the caller, who ends it. A secret's value must never
//! pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::bus::{Bus, BusError, Line, StreamName, Topic};
use common::time::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

mod lines;
mod mask;
mod rate;

pub use mask::Mask;
pub use rate::Rate;

use lines::Lines;

/// Lines that wait to be written; beyond, who says them waits.
const QUEUE: usize = 4096;
/// Most lines written at once.
const BATCH: usize = 512;
/// Bytes read from a pipe at once.
const READ: usize = 16 << 10;

/// How much a command may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Lines in all.
    pub lines: u64,
    /// Bytes in all, of the text as it is stored.
    pub bytes: u64,
}

/// One log. Cheap to clone; all clones write to the same topic.
#[derive(Clone)]
pub struct Log {
    sender: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

struct Shared {
    mask: Mask,
    bounds: Option<Bounds>,
    lines: AtomicU64,
    bytes: AtomicU64,
    full: CancellationToken,
}

enum Message {
    Line(Line),
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// A log whose lines go to `topic`. Without `bounds` it has no end: the log of an app.
    #[must_use]
    pub fn start(bus: Bus, topic: Topic, mask: Mask, bounds: Option<Bounds>) -> Self {
        let (sender, messages) = mpsc::channel(QUEUE);
        tokio::spawn(write(bus, topic, messages));
        let shared =
            Shared { mask, bounds, lines: AtomicU64::new(0), bytes: AtomicU64::new(0), full: CancellationToken::new() };
        Self { sender, shared: Arc::new(shared) }
    }

    /// Adds a sentence of the platform. It counts against no bound.
    pub async fn say(&self, text: impl AsRef<str>) {
        for text in text.as_ref().lines() {
            self.send(StreamName::System, self.shared.mask.apply(text).into_owned()).await;
        }
    }

    /// Passes on what `reader` says until it ends, line by line. Once the bounds are reached the rest is
    /// read and thrown away, so that the command does not hang before it is ended.
    pub async fn pump(&self, stream: StreamName, mut reader: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; READ];
        let mut lines = Lines::default();
        loop {
            let n = match reader.read(&mut buffer).await {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) => {
                    tracing::debug!(error = %e, "a command's output can't be read further");
                    break;
                }
            };
            for text in lines.push(&buffer[..n]) {
                self.pass(stream, &text).await;
            }
        }
        if let Some(text) = lines.rest() {
            self.pass(stream, &text).await;
        }
    }

    async fn pass(&self, stream: StreamName, text: &str) {
        let shared = &self.shared;
        if shared.full.is_cancelled() {
            return;
        }
        let text = shared.mask.apply(text).into_owned();
        if let Some(bounds) = shared.bounds {
            let lines = shared.lines.fetch_add(1, Ordering::Relaxed);
            let bytes = shared.bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
            if lines >= bounds.lines || bytes + text.len() as u64 > bounds.bytes {
                shared.full.cancel();
                return;
            }
        }
        self.send(stream, text).await;
    }

    /// Adds a line that was said elsewhere, at a time that is known. It counts against no bound.
    pub async fn relay(&self, time: Timestamp, stream: StreamName, text: &str) {
        let text = self.shared.mask.apply(text).into_owned();
        self.put(Line { time, stream, text }).await;
    }

    async fn send(&self, stream: StreamName, text: String) {
        self.put(Line { time: Timestamp::now(), stream, text }).await;
    }

    async fn put(&self, line: Line) {
        // The writer lives as long as a clone of this log.
        let _ = self.sender.send(Message::Line(line)).await;
    }

    /// Resolves once more was said than the bounds allow.
    pub async fn full(&self) {
        self.shared.full.cancelled().await;
    }

    /// Whether more was said than the bounds allow.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.full.is_cancelled()
    }

    /// How much the command may say.
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds> {
        self.shared.bounds
    }

    /// Returns when everybody can read what was said before; when the bus is away, as soon as that is known: the lines
    /// are kept and go there later.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.send(Message::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

/// A number of bytes for people: `4.5 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => match bytes * 10 / unit {
            tenths if tenths % 10 == 0 => format!("{} {name}", tenths / 10),
            tenths => format!("{}.{} {name}", tenths / 10, tenths % 10),
        },
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

async fn write(bus: Bus, topic: Topic, mut messages: mpsc::Receiver<Message>) {
    let mut batch = Vec::with_capacity(BATCH);
    while messages.recv_many(&mut batch, BATCH).await > 0 {
        let mut lines = Vec::new();
        let mut flushed = Vec::new();
        for message in batch.drain(..) {
            match message {
                Message::Line(line) => lines.push(line),
                Message::Flush(done) => flushed.push(done),
            }
        }
        let count = lines.len();
        if count > 0
            && let Err(e) = bus.append(&topic, lines).await
        {
            match e {
                // Canceled: what the command still said belongs to no log.
                BusError::Finished { .. } => tracing::debug!(deployment = %topic.deployment, "lines after the end"),
                e => tracing::error!(deployment = %topic.deployment, lines = count, error = %e, "log lines were lost"),
            }
        }
        if !flushed.is_empty()
            && let Err(e) = bus.flush(&topic).await
        {
            tracing::warn!(deployment = %topic.deployment, error = %e, "log lines wait on this machine");
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::bus::file::FileBus;
    use common::id::DeploymentId;
    use common::secret::Secret;

    use super::*;

    fn bus() -> (tempfile::TempDir, Bus, Topic) {
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        (folder, bus, Topic::build(DeploymentId::new()))
    }

    #[test]
    fn sizes_are_in_units_that_people_use() {
        assert_eq!([1, 1024, 4_718_592, 3 << 30].map(size), ["1 byte", "1 KiB", "4.5 MiB", "3 GiB"]);
    }

    #[tokio::test]
    async fn both_streams_and_the_platforms_sentences_arrive_in_order_and_masked() {
        let (_folder, bus, topic) = bus();
        let log = Log::start(bus.clone(), topic.clone(), Mask::new([&Secret::new("hunter22")]), None);
        log.say("Building with hunter22.").await;
        log.pump(StreamName::Stdout, &b"one\r\ntwo hunter22 two\nthr\xffee"[..]).await;
        log.pump(StreamName::Stderr, &b"warn\n"[..]).await;
        log.flush().await;
        let records = bus.read(&topic, 0).await.unwrap().records;
        let said: Vec<_> = records.iter().map(|r| (r.seq, r.stream, r.text.as_str())).collect();
        assert_eq!(
            said,
            [
                (1, StreamName::System, "Building with ***."),
                (2, StreamName::Stdout, "one"),
                (3, StreamName::Stdout, "two *** two"),
                (4, StreamName::Stdout, "thr\u{fffd}ee"),
                (5, StreamName::Stderr, "warn"),
            ]
        );
    }

    #[tokio::test]
    async fn a_command_that_says_too_much_is_read_on_and_told_of() {
        let (_folder, bus, topic) = bus();
        let log = Log::start(bus.clone(), topic.clone(), Mask::default(), Some(Bounds { lines: 10, bytes: 1 << 20 }));
        log.pump(StreamName::Stdout, &b"x\n".repeat(1000)[..]).await;
        log.full().await;
        log.say("Ended.").await;
        log.flush().await;
        let records = bus.read(&topic, 0).await.unwrap().records;
        assert_eq!(records.len(), 11);
        assert_eq!(records[10].text, "Ended.");
    }
}

//! Messages on their way to Kafka, on this machine's disk: first in, first out, of bounded size.
//!
//! Every message passes through here, so nothing depends on whether the broker answers: what was put is there after
//! a crash of the process, in order, until the broker has confirmed it. Files are written without `fsync`, as all logs
//! are: they survive the process, not the machine's loss of power.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Size at which a file is full, bytes: what a crash makes us send again, at most.
const SEGMENT: u64 = 4 << 20;
/// End of a file's name.
const EXTENSION: &str = "spool";
/// Holds the folder for one process.
const LOCK: &str = "lock";

/// The spool. Positions are bytes since it was opened.
pub(crate) struct Spool {
    folder: PathBuf,
    bound: u64,
    files: Mutex<Files>,
    /// How much was written, and how much of that was delivered.
    levels: watch::Sender<Levels>,
    _lock: File,
}

/// How much was written, and how much of that was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    /// Position after the last message.
    pub written: u64,
    /// Position after the last message that the broker confirmed, as all before it.
    pub delivered: u64,
}

impl Levels {
    /// Bytes that wait.
    pub const fn waiting(self) -> u64 {
        self.written - self.delivered
    }
}

#[derive(Default)]
struct Files {
    /// Oldest first; the last one is written to.
    segments: VecDeque<Segment>,
    next: u64,
    /// Messages that were numbered.
    n: u64,
}

struct Segment {
    path: PathBuf,
    /// Position of its first byte.
    start: u64,
    bytes: u64,
    file: File,
}

/// A message that waits.
pub(crate) struct Waiting {
    /// Position after it.
    pub end: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Spool {
    /// Opens the spool of a folder, with what an earlier process left.
    pub fn open(folder: &Path, bound: u64) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
        lock.try_lock().map_err(|e| {
            let text =
                format!("another process uses the folder {} ({e}): give each its own data_dir", folder.display());
            io::Error::new(io::ErrorKind::AlreadyExists, text)
        })?;
        let mut numbered = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == EXTENSION)
                && let Some(number) = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok())
            {
                numbered.push((number, path));
            }
        }
        numbered.sort_unstable();
        let mut files = Files::default();
        let mut written = 0;
        for (number, path) in numbered {
            files.next = number + 1;
            let segment = Segment::load(path, written)?;
            written += segment.bytes;
            if segment.bytes == 0 {
                std::fs::remove_file(&segment.path)?;
            } else {
                files.segments.push_back(segment);
            }
        }
        let levels = watch::Sender::new(Levels { written, delivered: 0 });
        Ok(Self { folder: folder.to_owned(), bound, files: Mutex::new(files), levels, _lock: lock })
    }

    /// Held for file work only; what is counted is counted after the file took it.
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How full it is, now and as it changes.
    pub fn levels(&self) -> watch::Receiver<Levels> {
        self.levels.subscribe()
    }

    /// How full it may be, bytes.
    pub const fn bound(&self) -> u64 {
        self.bound
    }

    /// Whether there is room for another message.
    pub fn has_room(&self) -> bool {
        self.levels.borrow().waiting() < self.bound
    }

    /// Adds messages, of which `make` gives the bytes for a number. Blocks for file work.
    pub fn put<E: From<io::Error>>(
        &self,
        count: usize,
        mut make: impl FnMut(usize, u64) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let mut files = self.files();
        let mut text = Vec::new();
        for index in 0..count {
            files.n += 1;
            text.extend_from_slice(&make(index, files.n)?);
            text.push(b'\n');
        }
        let written = self.levels.borrow().written;
        if files.segments.back().is_none_or(|segment| segment.bytes >= SEGMENT) {
            let path = self.folder.join(format!("{:020}.{EXTENSION}", files.next));
            files.next += 1;
            files.segments.push_back(Segment::create(path, written)?);
        }
        // There is one: it was made above.
        let Some(segment) = files.segments.back_mut() else { return Ok(()) };
        if let Err(e) = segment.file.write_all(&text) {
            // A message that is only half there would be joined to the next one.
            segment.file.set_len(segment.bytes)?;
            return Err(e.into());
        }
        segment.bytes += text.len() as u64;
        self.levels.send_modify(|levels| levels.written += text.len() as u64);
        Ok(())
    }

    /// Messages from a position on, about `most` bytes. Blocks for file work.
    pub fn read(&self, from: u64, most: u64) -> io::Result<Vec<Waiting>> {
        let (mut file, skip, left) = {
            let files = self.files();
            let found = files.segments.iter().find(|s| s.start <= from && from < s.start + s.bytes);
            let Some(segment) = found else { return Ok(Vec::new()) };
            (File::open(&segment.path)?, from - segment.start, segment.start + segment.bytes - from)
        };
        file.seek(SeekFrom::Start(skip))?;
        let mut reader = BufReader::new(file.take(left));
        let mut waiting = Vec::new();
        let mut end = from;
        while end - from < most {
            let mut bytes = Vec::new();
            let n = reader.read_until(b'\n', &mut bytes)?;
            if bytes.pop() != Some(b'\n') {
                break;
            }
            end += n as u64;
            waiting.push(Waiting { end, bytes });
        }
        Ok(waiting)
    }

    /// Notes that everything before a position was delivered, and gives its room free. Blocks for file work.
    pub fn deliver(&self, end: u64) -> io::Result<()> {
        let mut files = self.files();
        // Also the last one: when all was delivered, nothing is to be sent again after a crash.
        while let Some(segment) = files.segments.front().filter(|segment| segment.start + segment.bytes <= end) {
            std::fs::remove_file(&segment.path)?;
            files.segments.pop_front();
        }
        self.levels.send_modify(|levels| levels.delivered = levels.delivered.max(end));
        Ok(())
    }
}

impl Segment {
    fn create(path: PathBuf, start: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Self { path, start, bytes: 0, file })
    }

    /// Opens a file of an earlier process; a torn last message is cut off.
    fn load(path: PathBuf, start: u64) -> io::Result<Self> {
        let mut segment = Self::create(path, start)?;
        let mut reader = BufReader::new(File::open(&segment.path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let n = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                break;
            }
            segment.bytes += n as u64;
        }
        segment.file.set_len(segment.bytes)?;
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn put(spool: &Spool, text: &str) {
        spool.put(1, |_, n| Ok::<_, io::Error>(format!("{n} {text}").into_bytes())).unwrap();
    }

    fn all(spool: &Spool) -> Vec<String> {
        let mut at = spool.levels().borrow().delivered;
        let mut texts = Vec::new();
        loop {
            let found = spool.read(at, 1 << 20).unwrap();
            let Some(last) = found.last() else { return texts };
            at = last.end;
            texts.extend(found.into_iter().map(|w| String::from_utf8(w.bytes).unwrap()));
        }
    }

    #[test]
    fn what_was_not_delivered_is_there_after_a_crash_and_a_torn_message_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 1 << 30).unwrap();
        ["a", "b", "c"].iter().for_each(|text| put(&spool, text));
        spool.deliver(spool.read(0, 1).unwrap()[0].end).unwrap();
        assert_eq!(all(&spool), ["2 b", "3 c"]);
        let path = spool.files().segments[0].path.clone();
        drop(spool);
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"4 torn").unwrap();
        let spool = Spool::open(folder.path(), 1 << 30).unwrap();
        // What was confirmed within a file is sent again: readers know it by its number.
        assert_eq!(all(&spool), ["1 a", "2 b", "3 c"]);
        put(&spool, "d");
        assert_eq!(all(&spool).last().unwrap(), "1 d");
    }

    #[test]
    fn room_is_free_again_when_the_broker_has_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path(), 3 * SEGMENT).unwrap();
        let long = "x".repeat(1 << 20);
        while spool.has_room() {
            put(&spool, &long);
        }
        assert_eq!(all(&spool).len(), 12);
        assert_eq!(spool.files().segments.len(), 3);
        spool.deliver(spool.read(0, SEGMENT).unwrap().last().unwrap().end).unwrap();
        assert!(spool.has_room());
        assert_eq!(spool.files().segments.len(), 2);
        assert_eq!(all(&spool).len(), 8);
        let levels = *spool.levels().borrow();
        spool.deliver(levels.written).unwrap();
        assert!(spool.files().segments.is_empty() && spool.levels().borrow().waiting() == 0);
        put(&spool, "on");
        assert_eq!(all(&spool), ["13 on"]);
    }

    #[test]
    fn a_folder_has_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Spool::open(folder.path(), 1).unwrap();
        assert!(Spool::open(folder.path(), 1).err().unwrap().to_string().contains("data_dir"));
    }
}

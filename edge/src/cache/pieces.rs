//! A body that is read as it is sent.
//!
//! What the system has in memory of a file is read at once, or sent by the system itself; a thread for blocking work is
//! asked only where a disk may be.

use std::fs::File;
use std::io::IoSliceMut;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::GetResultPayload;
use rustix::buffer::spare_capacity;
use rustix::io::{ReadWriteFlags, pread, preadv2};

use super::LoadError;
use super::gate::Gate;

/// Bytes read from a file at once: large enough that a hop to a blocking thread is cheap beside it, and small because
/// every visitor who is slow to take a large file holds one.
const PIECE: u64 = 64 << 10;

/// A body that is read as it is sent.
pub(crate) struct Pieces {
    source: Source,
    left: u64,
    timeout: Duration,
    reader: Reader,
}

/// For whom is read.
pub(super) struct Reader {
    pub(super) gate: Gate,
    pub(super) project: Arc<str>,
}

enum Source {
    /// A file of this machine, and where its next piece begins.
    File(Arc<File>, u64),
    Stream(BoxStream<'static, object_store::Result<Bytes>>),
}

/// Part of a file of this machine. The file stays as it is: what is in it is its name.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub(crate) file: Arc<File>,
    /// Where the part begins, in bytes.
    pub(crate) at: u64,
    /// Its length in bytes.
    pub(crate) len: usize,
}

impl FilePart {
    /// All of an object, where it is a file.
    pub(super) fn whole(payload: GetResultPayload, size: u64) -> Option<Self> {
        match payload {
            GetResultPayload::File(file, _) => {
                Some(Self { file: Arc::new(file), at: 0, len: usize::try_from(size).ok()? })
            }
            GetResultPayload::Stream(_) => None,
        }
    }

    /// Whether the system has it in memory, so that it is sent without waiting for a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        is_in_memory(&self.file, self.at, self.len as u64)
    }

    /// Goes on so many bytes later.
    pub(crate) fn skip(&mut self, count: usize) {
        self.at += count as u64;
        self.len = self.len.saturating_sub(count);
    }
}

impl Pieces {
    /// `left` bytes of `payload`, which is the object from `start` on.
    pub(super) fn new(payload: GetResultPayload, start: u64, left: u64, timeout: Duration, reader: Reader) -> Self {
        let source = match payload {
            GetResultPayload::File(file, _) => Source::File(Arc::new(file), start),
            GetResultPayload::Stream(stream) => Source::Stream(stream),
        };
        Self { source, left, timeout, reader }
    }

    /// The next piece; `None` when all was read.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LoadError> {
        if self.left == 0 {
            return Ok(None);
        }
        let (left, limit) = (self.left, self.timeout);
        let read = tokio::time::timeout(limit, self.source.read(left, &self.reader));
        let piece = read.await.map_err(|_| LoadError::Timeout(limit))??;
        let len = piece.len() as u64;
        if len == 0 || len > left {
            return Err(LoadError::Size { expected: left, actual: len });
        }
        self.skip(len);
        Ok(Some(piece))
    }

    /// The next part of at most `most` bytes, where it is a file's that can be sent without waiting for a disk. It is
    /// next until it is [skipped](Self::skip).
    pub(crate) fn part(&self, most: u64) -> Option<FilePart> {
        let Source::File(file, at) = &self.source else { return None };
        let lens = [most, most.min(PIECE)].map(|len| len.min(self.left));
        let len = lens.into_iter().find(|len| is_in_memory(file, *at, *len))?;
        Some(FilePart { file: Arc::clone(file), at: *at, len: usize::try_from(len).ok()? })
    }

    /// Goes on so many bytes later.
    pub(crate) fn skip(&mut self, len: u64) {
        self.left = self.left.saturating_sub(len);
        if let Source::File(_, at) = &mut self.source {
            *at += len;
        }
    }
}

impl Source {
    async fn read(&mut self, left: u64, reader: &Reader) -> Result<Bytes, LoadError> {
        match self {
            Self::Stream(stream) => Ok(stream.next().await.transpose()?.unwrap_or_default()),
            Self::File(file, at) => {
                let (at, len) = (*at, left.min(PIECE));
                // Not taken on the blocking thread: there are hundreds, and the allocator keeps memory for each.
                let bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
                if is_in_memory(file, at, len) {
                    return Ok(read_at(file, at, bytes)?);
                }
                let pass = reader.gate.enter(&reader.project).await?;
                let file = Arc::clone(file);
                let read = move || {
                    let read = read_at(&file, at, bytes);
                    drop(pass);
                    read
                };
                Ok(tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??)
            }
        }
    }
}

/// Reads as many bytes as there is room for, or fewer.
fn read_at(file: &File, at: u64, mut bytes: Vec<u8>) -> std::io::Result<Bytes> {
    pread(file, spare_capacity(&mut bytes), at)?;
    Ok(bytes.into())
}

/// Whether the system has both ends of a part of a file in memory, and most likely what is between them. `false` also
/// where that can't be told.
fn is_in_memory(file: &File, at: u64, len: u64) -> bool {
    let has = |at: u64| {
        let mut byte = [0];
        preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT).is_ok_and(|count| count == 1)
    };
    len > 0 && has(at) && has(at + len - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn parts_and_pieces_of_a_file_take_turns_and_end_where_the_range_does() {
        let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let reader = Reader { gate: Gate::new(), project: "p".into() };
        let payload = GetResultPayload::File(file, "/".into());
        let mut pieces = Pieces::new(payload, 10, 250_000, Duration::from_secs(10), reader);
        let mut all = Vec::new();
        loop {
            // It was written just now, so the system has it.
            if let Some(part) = pieces.part(100_000) {
                let mut bytes = vec![0; part.len];
                std::os::unix::fs::FileExt::read_exact_at(&*part.file, &mut bytes, part.at).unwrap();
                all.extend(bytes);
                pieces.skip(part.len as u64);
            }
            match pieces.next().await.unwrap() {
                Some(piece) => all.extend(piece),
                None => break,
            }
        }
        assert!(all == content[10..250_010]);
        assert!(pieces.part(1).is_none());
    }
}

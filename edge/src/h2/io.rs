//! The bytes of an HTTP/2 connection. What is read is metered; what is written is collected, so that the answers to
//! requests that came together leave together. Large pieces pass without being copied, in whole records of TLS.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;

/// Bytes that are collected before they are written: four of TLS's largest records.
const MOST: usize = 64 << 10;
/// Bytes of TLS's largest record (RFC 8446 section 5.1).
const RECORD: usize = 16 << 10;
/// Slices written at once: what was collected, the head of a frame and its payload.
const SLICES: usize = 4;

thread_local! {
    /// Memory for what is collected, which mostly leaves before anything else runs on the thread: so connections need
    /// none of their own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Holds back what is written while it is set.
#[derive(Clone, Debug, Default)]
pub(super) struct Cork(Arc<AtomicBool>);

impl Cork {
    /// Sets or draws it. What is held back leaves with the next flush after.
    pub(super) fn set(&self, holds: bool) {
        self.0.store(holds, Ordering::Relaxed);
    }
}

/// A connection below HTTP/2.
#[derive(Debug)]
pub(super) struct Io<T> {
    io: T,
    meter: Meter,
    /// Collected; no memory when there is nothing.
    out: Vec<u8>,
    /// Bytes of it that are written.
    written: usize,
    cork: Cork,
}

impl<T: AsyncWrite + Unpin> Io<T> {
    pub(super) fn new(io: T, meter: Meter) -> Self {
        Self { io, meter, out: Vec::new(), written: 0, cork: Cork::default() }
    }

    pub(super) fn cork(&self) -> Cork {
        self.cork.clone()
    }

    fn collect(&mut self, bufs: &[IoSlice<'_>]) {
        if self.out.capacity() == 0 {
            self.out = SPARE.take();
            self.out.reserve(MOST);
        }
        for buf in bufs {
            self.out.extend_from_slice(buf);
        }
    }

    /// Writes all that was collected.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out[self.written..]))?;
            self.wrote(count)?;
        }
        Poll::Ready(Ok(()))
    }

    /// So many bytes were written. Returns how many of them had not been collected.
    fn wrote(&mut self, count: usize) -> io::Result<usize> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.meter.wrote(count);
        let collected = count.min(self.out.len() - self.written);
        self.written += collected;
        if self.written == self.out.len() {
            let mut spare = std::mem::take(&mut self.out);
            spare.clear();
            self.written = 0;
            SPARE.set(spare);
        }
        Ok(count - collected)
    }

    /// Writes what was collected and as much of `bufs` as fills whole records. Returns how much of `bufs` that was.
    fn poll_through(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>], total: usize) -> Poll<io::Result<usize>> {
        loop {
            let held = self.out.len() - self.written;
            let mut room = (held + total) / RECORD * RECORD;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            let all = std::iter::once(&self.out[self.written..]).chain(bufs.iter().map(|buf| &**buf));
            for part in all.filter(|part| !part.is_empty()).take(SLICES) {
                let part = &part[..part.len().min(room)];
                room -= part.len();
                slices[count] = IoSlice::new(part);
                count += 1;
            }
            let result = Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]);
            let passed = self.wrote(ready!(result)?)?;
            if passed > 0 {
                return Poll::Ready(Ok(passed));
            }
        }
    }
}

/// The frame that resets a stream whose window is too large (RFC 9113 section 6.4). The library above does not do so once
/// it has nothing more to send on the stream.
fn reset(stream: u32) -> [u8; 13] {
    const FLOW_CONTROL_ERROR: u8 = 3;
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, 4, 3, 0, a, b, c, d, 0, 0, 0, FLOW_CONTROL_ERROR]
}

impl<T: AsyncRead + Unpin> AsyncRead for Io<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if self.meter.follow(&buf.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the visitor sends too many control frames")))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        if total >= RECORD {
            return self.poll_through(cx, bufs, total);
        }
        if self.out.len() + total > MOST {
            ready!(self.poll_out(cx))?;
        }
        self.collect(bufs);
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever flushes has written whole frames, so one may follow.
        if let Some(stream) = self.meter.overflown() {
            self.collect(&[IoSlice::new(&reset(stream))]);
        }
        if self.cork.0.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::IoSlice;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// A connection that takes at most so many bytes before they are read.
    fn pair(room: usize) -> (Io<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(room);
        (Io::new(near, Meter::new(100)), far)
    }

    #[tokio::test]
    async fn what_is_held_back_leaves_with_the_flush_after() {
        let (mut io, mut far) = pair(100);
        io.cork().set(true);
        io.write_all(b"one ").await.unwrap();
        io.flush().await.unwrap();
        io.write_all(b"two").await.unwrap();
        io.cork().set(false);
        io.flush().await.unwrap();
        let mut read = [0; 100];
        let count = far.read(&mut read).await.unwrap();
        assert_eq!(&read[..count], b"one two");
    }

    #[tokio::test]
    async fn pieces_of_every_size_arrive_in_order_however_little_goes_at_once() {
        for room in [1000, RECORD, 1 << 20] {
            let (mut io, mut far) = pair(room);
            io.cork().set(true);
            let sizes = [9, 1, RECORD - 1, RECORD, RECORD + 9, 30, 3 * RECORD, MOST, 5000, MOST + 7, 1];
            let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| (n % 251) as u8).collect();
            let expected = sent.clone();
            let write = async {
                let mut rest = &sent[..];
                for size in sizes {
                    let (mut piece, after) = rest.split_at(size);
                    rest = after;
                    while !piece.is_empty() {
                        let (head, tail) = piece.split_at(piece.len().min(9));
                        let count = io.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]).await.unwrap();
                        piece = &piece[count..];
                    }
                }
                io.cork().set(false);
                io.shutdown().await.unwrap();
            };
            let mut read = Vec::new();
            let ((), count) = tokio::join!(write, far.read_to_end(&mut read));
            assert!(count.unwrap() == expected.len() && read == expected, "{room}");
        }
    }
}

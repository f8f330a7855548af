//! The bytes of an HTTP/2 connection. What is read is metered; what is written is collected, so that the answers to
//! requests that came together leave together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;

/// Bytes that are collected before they are written: four of TLS's largest records.
const MOST: usize = 64 << 10;
/// Room that is taken for the first of them: an answer with a small file.
const FIRST: usize = 4 << 10;

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
    /// Collected, not yet written.
    out: BytesMut,
    cork: Cork,
}

impl<T: AsyncWrite + Unpin> Io<T> {
    pub(super) fn new(io: T, meter: Meter) -> Self {
        Self { io, meter, out: BytesMut::new(), cork: Cork::default() }
    }

    pub(super) fn cork(&self) -> Cork {
        self.cork.clone()
    }

    /// Writes all that was collected.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &self.out))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.meter.wrote(count);
            self.out.advance(count);
        }
        // A connection that is idle keeps no memory.
        self.out = BytesMut::new();
        Poll::Ready(Ok(()))
    }
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
        if self.out.len() >= MOST {
            ready!(self.poll_out(cx))?;
        }
        if self.out.capacity() == 0 {
            self.out.reserve(FIRST);
        }
        let before = self.out.len();
        for buf in bufs {
            let count = buf.len().min(MOST - self.out.len());
            self.out.extend_from_slice(&buf[..count]);
        }
        Poll::Ready(Ok(self.out.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

//! A visitor's TCP connection, as Pingora wants it.
//!
//! It differs from Pingora's own in five things: the head of an answer leaves together with the first bytes
//! of its body in one system call; a visitor who takes no bytes for too long is cut off however large the
//! pieces are, and so is one who sends the head of a request for too long however small they are; looking for
//! HTTP/2's preface never waits for more bytes than are needed to rule it out; and the answers that Pingora gives
//! by itself, to what it can't read, do not name it.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::answer;
use crate::config::Timeouts;

mod head;

use head::HeadClock;

/// Largest head that is held back for its body, in bytes: larger ones are rare, and copying them costs more
/// than a system call.
const MAX_HELD: usize = 8 << 10;
/// How every head of an HTTP/1 answer begins.
const HEAD_BEGINS: &[u8] = b"HTTP/1.";
/// How Pingora names itself in an answer of its own.
const PINGORA: &[u8] = b"\r\nServer: Pingora\r\n";
/// How every HTTP/2 connection begins (RFC 9113 section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes read at once while looking for the preface: a usual request's head.
const FIRST_READ: usize = 4 << 10;
/// Slices written by one system call, the held head included.
const MAX_SLICES: usize = 8;

/// A visitor's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    /// Read while looking for the preface, not yet given on.
    peeked: BytesMut,
    /// Head of an answer that waits for the first bytes of its body.
    held: BytesMut,
    stall: Stall,
    head: HeadClock,
    /// Longest time until the first request begins.
    patience: Duration,
    /// Ends that wait early, because no further request is wanted.
    stop: CancellationToken,
    digest: Arc<SocketDigest>,
    since: SystemTime,
}

/// Ends a write that makes no progress.
#[derive(Debug)]
struct Stall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn check<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.timer = None;
            return result;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the visitor takes no bytes")))
    }
}

impl Connection {
    pub(crate) fn new(socket: TcpStream, peer: SocketAddr, timeouts: &Timeouts, stop: CancellationToken) -> Self {
        let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
        // The cell is new, so this sets it.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Self {
            socket,
            peeked: BytesMut::new(),
            held: BytesMut::new(),
            stall: Stall { limit: timeouts.client_stall, timer: None },
            head: HeadClock::new(timeouts.client_head),
            patience: timeouts.client_idle,
            stop,
            digest: Arc::new(digest),
            since: SystemTime::now(),
        }
    }

    /// Writes what is held, and of `slices` as much as goes.
    fn poll_send(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        while !self.held.is_empty() {
            let mut all = [IoSlice::new(&[]); MAX_SLICES];
            all[0] = IoSlice::new(&self.held);
            let count = slices.len().min(MAX_SLICES - 1);
            all[1..=count].copy_from_slice(&slices[..count]);
            let result = Pin::new(&mut self.socket).poll_write_vectored(cx, &all[..=count]);
            let written = ready!(self.stall.check(cx, result))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.held.len());
            self.held.advance(of_head);
            if self.held.is_empty() {
                // Lets the next head use the same memory.
                self.held.clear();
            }
            if written > of_head {
                return Poll::Ready(Ok(written - of_head));
            }
        }
        let result = match slices {
            [] => return Poll::Ready(Ok(0)),
            [one] => Pin::new(&mut self.socket).poll_write(cx, one),
            many => Pin::new(&mut self.socket).poll_write_vectored(cx, many),
        };
        self.stall.check(cx, result)
    }

    async fn read_until_decided(&mut self, wanted: usize) -> io::Result<()> {
        loop {
            let seen = self.peeked.len().min(wanted);
            if seen == wanted || self.peeked[..seen] != H2_PREFACE[..seen.min(H2_PREFACE.len())] {
                return Ok(());
            }
            self.peeked.reserve(FIRST_READ);
            if self.socket.read_buf(&mut self.peeked).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Keeps a head, with the edge's name in place of Pingora's.
fn hold(held: &mut BytesMut, head: &[u8]) {
    // Pingora answers by itself with these alone.
    let may_be_own = matches!(head.get(9..12), Some(b"400" | b"405"));
    let name = may_be_own.then(|| head.windows(PINGORA.len()).position(|w| w == PINGORA)).flatten();
    let Some(at) = name else { return held.extend_from_slice(head) };
    let after = at + PINGORA.len();
    for part in [&head[..at], b"\r\nServer: ", answer::SERVER.as_bytes(), b"\r\n", &head[after..]] {
        held.extend_from_slice(part);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() {
            let before = buf.filled().len();
            let this = &mut *self;
            let result = Pin::new(&mut this.socket).poll_read(cx, buf);
            if result.is_ready() {
                this.head.read(&buf.filled()[before..]);
                return result;
            }
            return this.head.poll(cx).map(Err);
        }
        let count = self.peeked.len().min(buf.remaining());
        buf.put_slice(&self.peeked[..count]);
        self.peeked.advance(count);
        if self.peeked.is_empty() {
            self.peeked = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.held.is_empty() && buf.len() <= MAX_HELD && buf.starts_with(HEAD_BEGINS) {
            hold(&mut self.held, buf);
            self.head.wrote_head(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        self.poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, &[]))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx, &[]))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[async_trait]
impl Peek for Connection {
    /// Fills `buf` with what comes first, or with less when that can't be HTTP/2's preface any more.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let (patience, stop) = (self.patience, self.stop.clone());
        tokio::select! {
            decided = tokio::time::timeout(patience, self.read_until_decided(buf.len())) => decided??,
            () = stop.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        let count = self.peeked.len().min(buf.len());
        buf[..count].copy_from_slice(&self.peeked[..count]);
        if self.peeked.starts_with(H2_PREFACE) {
            self.head.stop();
        } else {
            self.head.read(&self.peeked);
        }
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Connection {
    async fn shutdown(&mut self) {
        // The visitor may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Connection {
    fn id(&self) -> UniqueIDType {
        self.socket.as_raw_fd()
    }
}

impl Ssl for Connection {}

impl GetTimingDigest for Connection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest { established_ts: self.since, ..TimingDigest::default() })]
    }
}

impl GetProxyDigest for Connection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Connection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, peer) = listener.accept().await.unwrap();
        (Connection::new(socket, peer, &Timeouts::default(), CancellationToken::new()), visitor)
    }

    #[tokio::test]
    async fn a_head_leaves_with_its_body_or_when_flushed() {
        let (mut connection, mut visitor) = pair().await;
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        assert!(visitor.try_read(&mut [0; 1]).is_err(), "the head waits");
        let body = vec![b'x'; 1 << 20];
        let (written, read) = tokio::join!(
            async {
                connection.write_all(&body).await.unwrap();
                connection.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").await.unwrap();
                connection.flush().await
            },
            async {
                let mut all = vec![0; 19 + body.len() + 29];
                visitor.read_exact(&mut all).await.unwrap();
                all
            }
        );
        written.unwrap();
        assert!(read.starts_with(b"HTTP/1.1 200 OK\r\n\r\nxxx"));
        assert!(read.ends_with(b"xHTTP/1.1 304 Not Modified\r\n\r\n"));
    }

    #[tokio::test]
    async fn a_short_request_is_told_from_http_2_without_waiting_for_more() {
        let (mut connection, mut visitor) = pair().await;
        visitor.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut preface = [0; H2_PREFACE.len()];
        assert!(connection.try_peek(&mut preface).await.unwrap());
        assert_ne!(&preface, H2_PREFACE);
        let mut again = [0; 18];
        connection.read_exact(&mut again).await.unwrap();
        assert_eq!(&again, b"GET / HTTP/1.0\r\n\r\n");
    }

    #[tokio::test]
    async fn http_2s_preface_is_seen_even_in_pieces() {
        let (mut connection, mut visitor) = pair().await;
        let mut preface = [0; H2_PREFACE.len()];
        let (peeked, ()) = tokio::join!(connection.try_peek(&mut preface), async {
            visitor.write_all(b"PRI * HT").await.unwrap();
            visitor.flush().await.unwrap();
            visitor.write_all(&H2_PREFACE[8..]).await.unwrap();
        });
        assert!(peeked.unwrap());
        assert_eq!(&preface, H2_PREFACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_off() {
        let (mut connection, mut visitor) = pair().await;
        let drip = tokio::spawn(async move {
            visitor.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
            while visitor.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut read = Vec::new();
        let error = connection.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(read.starts_with(b"GET / HTTP/1.1"));
        drip.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_visitor_who_takes_nothing_is_cut_off() {
        let (mut connection, _visitor) = pair().await;
        let piece = vec![0; 1 << 20];
        let error = loop {
            if let Err(e) = connection.write_all(&piece).await {
                break e;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

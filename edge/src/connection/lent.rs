//! A connection while Pingora has it.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use http::StatusCode;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora_http::ResponseHeader;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Connection;
use crate::transport::{Arrival, Peer};

/// Where a connection that was lent comes back to.
#[derive(Clone, Debug, Default)]
pub(super) struct Home(Arc<Mutex<Option<Box<Connection>>>>);

impl Home {
    /// The connection, once Pingora has done with it.
    pub(super) fn take(&self) -> Option<Box<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A connection that Pingora has, for one request or for HTTP/2 until its end. It returns when this is dropped,
/// whatever happened, so that it can be closed with care.
#[derive(Debug)]
pub(crate) struct Lent {
    /// There until the drop.
    connection: Option<Box<Connection>>,
    home: Home,
}

impl Lent {
    pub(super) const fn new(connection: Box<Connection>, home: Home) -> Self {
        Self { connection: Some(connection), home }
    }

    /// What a request on it comes with.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.connection.as_deref().map(Origin::of)
    }

    fn get(self: Pin<&mut Self>) -> io::Result<&mut Connection> {
        self.get_mut().connection.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.0.lock().unwrap_or_else(PoisonError::into_inner) = self.connection.take();
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.get()?.poll_feed(cx, buf)
    }
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get()?.poll_take(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get()?.poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get()?.poll_shutdown(cx)
    }
}

#[async_trait]
impl Peek for Lent {
    /// Fills `buf` with what came first. HTTP/2 was told from HTTP/1 before the connection was lent.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let Some(connection) = &self.connection else { return Ok(false) };
        let count = connection.input.len().min(buf.len());
        buf[..count].copy_from_slice(&connection.input[..count]);
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Lent {
    async fn shutdown(&mut self) {
        // The visitor may be gone already.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for Lent {
    fn id(&self) -> UniqueIDType {
        self.connection.as_ref().map_or(-1, |c| c.transport.socket().as_raw_fd())
    }
}

/// Where requests come from, for as long as their connection is there.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) peer: Arc<Peer>,
    /// When the connection began.
    since: SystemTime,
    socket: RawFd,
}

impl Origin {
    fn of(connection: &Connection) -> Self {
        let Connection { transport, peer, since, .. } = connection;
        Self { peer: Arc::clone(peer), since: *since, socket: transport.socket().as_raw_fd() }
    }

    /// How a request on it came.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        Arrival { peer: &self.peer, since: self.since }
    }

    /// What the phases may ask of the connection.
    pub(crate) fn digest(&self) -> Digest {
        Digest {
            ssl_digest: self.ssl(),
            timing_digest: vec![Some(self.timing())],
            proxy_digest: self.proxy(),
            socket_digest: Some(Arc::new(self.socket())),
        }
    }

    fn ssl(&self) -> Option<Arc<SslDigest>> {
        let tls = self.peer.tls.as_ref()?;
        Some(Arc::new(SslDigest::new(tls.cipher, tls.version, None, None, Vec::new())))
    }

    fn timing(&self) -> TimingDigest {
        TimingDigest { established_ts: self.since, ..TimingDigest::default() }
    }

    /// Carries the [`crate::transport::Peer`] to the phases: see [`crate::transport::peer`].
    fn proxy(&self) -> Option<Arc<ProxyDigest>> {
        let nothing = ResponseHeader::build_no_case(StatusCode::OK, Some(0)).ok()?;
        Some(Arc::new(ProxyDigest::new(Box::new(nothing), Some(Box::new(Arc::clone(&self.peer))))))
    }

    fn socket(&self) -> SocketDigest {
        let digest = SocketDigest::from_raw_fd(self.socket);
        // The cell is new, so this sets it.
        let _ = digest.peer_addr.set(Some(self.peer.address.into()));
        digest
    }
}

impl Ssl for Lent {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.origin()?.ssl()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let tls = self.connection.as_ref()?.peer.tls.as_ref()?;
        Some(if tls.is_h2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Lent {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![self.origin().map(|origin| origin.timing())]
    }
}

impl GetProxyDigest for Lent {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.origin()?.proxy()
    }
}

impl GetSocketDigest for Lent {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::new(self.origin()?.socket()))
    }
}

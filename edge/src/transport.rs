//! What a connection's bytes travel on, and who is at its other end.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use pingora_core::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::routes::Table;

/// A visitor's bytes, in plain or within TLS.
#[derive(Debug)]
pub(crate) enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Within TLS, whose handshake is done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The visitor's address: that of the socket, or what a trusted proxy said with the PROXY protocol.
    pub(crate) address: SocketAddr,
    /// What the handshake agreed upon; `None` over plain HTTP.
    pub(crate) tls: Option<TlsFacts>,
}

impl Peer {
    /// A visitor without TLS.
    pub(crate) const fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// Age below which a connection counts as new: its visitor has seen nothing yet that a refusal would spoil.
const NEW: Duration = Duration::from_secs(1);

/// How a request came to the edge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// Who is at the other end of its connection.
    pub(crate) peer: &'a Peer,
    /// When the connection began.
    pub(crate) since: SystemTime,
}

impl Arrival<'_> {
    /// Whether its connection is new.
    pub(crate) fn is_new(&self) -> bool {
        SystemTime::now().duration_since(self.since).is_ok_and(|age| age < NEW)
    }
}

/// What a TLS handshake agreed upon.
#[derive(Clone, Debug)]
pub(crate) struct TlsFacts {
    /// The name that the visitor asked for (RFC 6066 section 3), in lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// Whether ALPN chose HTTP/2.
    pub(crate) is_h2: bool,
    /// Id of the certificate that was shown.
    pub(crate) certificate: Option<Arc<str>>,
    /// The certificate itself.
    pub(crate) shown: Option<Arc<::tls::Shown>>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub(crate) version: &'static str,
    /// The cipher suite's IANA name.
    pub(crate) cipher: &'static str,
    /// Whether an earlier session was resumed.
    pub(crate) resumed: bool,
}

/// Whether a request for `host` came on a connection that is not for it, and gets 421 (RFC 9110 section 15.5.20): its
/// certificate is neither this host's nor covers it. `host` is in lower case. Never without TLS.
pub(crate) fn is_misdirected(peer: &Peer, table: &Table, host: &str) -> bool {
    let Some(tls) = &peer.tls else { return false };
    // The usual case first; it costs one comparison.
    tls.server_name.as_deref() != Some(host)
        && (tls.certificate.is_none() || table.certificate(host) != tls.certificate.as_ref())
        && !tls.shown.as_ref().is_some_and(|shown| shown.covers(host))
}

/// Who sent the request of a session, over HTTP/1 and HTTP/2 alike. `None` only for sessions that come from
/// no visitor.
pub(crate) fn peer(session: &Session) -> Option<&Arc<Peer>> {
    // Pingora's TLS digest takes nothing of ours, so this travels with the digest of a proxied connection.
    let user_data = session.as_downstream().digest()?.proxy_digest.as_ref()?.user_data.as_deref()?;
    user_data.downcast_ref::<Arc<Peer>>()
}

/// What a session without a [`Peer`] is answered: it comes from nobody.
pub(crate) fn nobody() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "a session without a visitor")
}

/// When the connection of a session began; now for sessions that come from no visitor.
pub(crate) fn since(session: &Session) -> SystemTime {
    let digest = session.as_downstream().digest();
    let timing = digest.and_then(|d| d.timing_digest.first()).and_then(Option::as_ref);
    timing.map_or_else(SystemTime::now, |timing| timing.established_ts)
}

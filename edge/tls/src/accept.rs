//! A visitor's handshake, from the first byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::certificate::Challenge;
use rustls::{AlertDescription, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use crate::certificates::{Certificates, LoadError, Shown};
use crate::settings::{H2, Settings};
use crate::{alert, challenge};

/// Longest time in which a certificate authority closes a connection on which it saw a proof.
const CHALLENGE_END: Duration = Duration::from_secs(2);

/// Does visitors' handshakes.
#[derive(Debug)]
pub struct Acceptor {
    settings: Settings,
    certificates: Arc<Certificates>,
    /// Longest time from the first byte to the last of a handshake.
    deadline: Duration,
    /// Bounds how many handshakes compute at once.
    computing: Semaphore,
}

/// Which certificate a host has.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its id.
    pub id: Arc<str>,
    /// Id of the one that the host had before, as long as [`Certificates::renew`] was not told.
    pub renews: Option<Arc<str>>,
}

/// A visitor whose handshake is done.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The encrypted stream.
    pub stream: TlsStream<S>,
    /// The name that the visitor asked for, in lower case (RFC 6066 section 3).
    pub server_name: Box<str>,
    /// What was shown for it.
    pub shown: Arc<Shown>,
    /// Whether ALPN chose HTTP/2.
    pub is_h2: bool,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

/// Why there is no encrypted stream. The visitor was told by an alert where there is one for it.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The visitor took too long.
    #[error("the handshake took too long")]
    TooSlow,
    /// The visitor named no host, or one that has no certificate (alert `unrecognized_name`).
    #[error("there is no certificate for {}", .0.as_deref().unwrap_or("visitors who name no host"))]
    UnknownName(Option<Box<str>>),
    /// The name's certificate can't be used now (alert `internal_error`).
    #[error("the certificate of {name} can't be used: {source}")]
    Unavailable {
        /// The name.
        name: Box<str>,
        /// What is wrong.
        source: Arc<LoadError>,
    },
    /// A proof that was told can't be shown (alert `internal_error`).
    #[error("the proof of control over {name} can't be shown: {reason}")]
    BadChallenge {
        /// The name.
        name: Box<str>,
        /// What is wrong.
        reason: String,
    },
    /// It was no visitor: a certificate authority saw the proof that it looked for.
    #[error("a certificate authority saw the proof of control over {0}")]
    Proved(Box<str>),
    /// The visitor left, or speaks no TLS that is spoken here.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Acceptor {
    /// Handshakes that show `certificates` and take at most `deadline`.
    #[must_use]
    pub fn new(settings: Settings, certificates: Arc<Certificates>, deadline: Duration) -> Self {
        // As many as there are cores: more would not be quicker, and of those that wait none stands between a
        // request and its answer in the runtime's queue.
        let computing = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
        Self { settings, certificates, deadline, computing }
    }

    /// Does a handshake. `find` tells the certificate for a host in lower case; `challenges` are the proofs of
    /// control that are asked for now.
    ///
    /// # Errors
    /// When no encrypted stream comes about; then the visitor's stream is closed.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        find: impl FnOnce(&str) -> Option<Found>,
        challenges: impl FnOnce() -> Arc<[Challenge]>,
    ) -> Result<Accepted<S>, AcceptError> {
        let handshake = async {
            let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
            let name = start.client_hello().server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
            let Some(name) = name else {
                return Err(refuse(start, AlertDescription::UnrecognisedName, AcceptError::UnknownName(None)).await);
            };
            if challenge::is_asked(&start.client_hello())
                && let Some(proof) = challenge::find(&challenges(), &name)
            {
                return Err(self.prove(start, name, proof).await);
            }
            let Some(Found { id, renews }) = find(&name) else {
                let error = AcceptError::UnknownName(Some(name));
                return Err(refuse(start, AlertDescription::UnrecognisedName, error).await);
            };
            let shown = match self.certificates.get(&id, renews.as_ref(), &name).await {
                Ok(shown) => shown,
                Err(source) => {
                    let error = AcceptError::Unavailable { name, source };
                    return Err(refuse(start, AlertDescription::InternalError, error).await);
                }
            };
            let stream = self.answer(start, &shown.config).await?;
            let connection = stream.get_ref().1;
            let is_h2 = connection.alpn_protocol() == Some(H2);
            let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
            Ok(Accepted { stream, server_name: name, shown, is_h2, resumed })
        };
        tokio::time::timeout(self.deadline, handshake).await.unwrap_or(Err(AcceptError::TooSlow))
    }

    /// What follows the visitor's first message.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        start: StartHandshake<S>,
        config: &Arc<rustls::ServerConfig>,
    ) -> io::Result<TlsStream<S>> {
        // The semaphore is never closed.
        let turn = self.computing.acquire().await.map_err(io::Error::other)?;
        // The key exchange and the signature are computed within this call, which waits for nothing; so a slow
        // visitor never keeps a turn.
        let handshake = start.into_stream(Arc::clone(config));
        drop(turn);
        handshake.await
    }

    async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        start: StartHandshake<S>,
        name: Box<str>,
        proof: (&str, &str),
    ) -> AcceptError {
        let config = match challenge::config(&self.settings, proof) {
            Ok(config) => config,
            Err(e) => {
                let error = AcceptError::BadChallenge { name, reason: e.to_string() };
                return refuse(start, AlertDescription::InternalError, error).await;
            }
        };
        match self.answer(start, &config).await {
            Ok(mut stream) => {
                // Nothing is said on this connection; the authority only looks (RFC 8737 section 3).
                if tokio::time::timeout(CHALLENGE_END, stream.shutdown()).await.is_err() {
                    tracing::debug!(name = %name, "a certificate authority did not close its connection");
                }
                AcceptError::Proved(name)
            }
            Err(e) => e.into(),
        }
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut start: StartHandshake<S>,
    description: AlertDescription,
    error: AcceptError,
) -> AcceptError {
    alert::send(&mut start.io, description).await;
    error
}

#[cfg(test)]
mod tests;

//! Hands the listening sockets of a running edge to its successor, which may be another program, so that a new version
//! takes over without a connection that is refused.
//!
//! The running edge listens on a Unix socket in its folder ([`crate::Edge::offer`]). A starting one of the same user
//! connects ([`take`]), gets the sockets (`SCM_RIGHTS`), begins to serve, and says so ([`Ready::tell`]). Only then the
//! running one drains and ends; if the other ends before, nothing has happened. In between both accept from the same
//! sockets, and what waits to be accepted is never lost, because the sockets stay open throughout.
//!
//! On the wire the running edge sends one line, `edge-sockets 1 HTTP HTTPS`, with the numbers of sockets of each kind
//! and the sockets themselves in this order; the successor answers `ready`.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listener::{Listening, Sockets};

const NAME: &str = "handover.sock";
const NEW_NAME: &str = "handover.sock.new";
/// How the line begins; another form has another number.
const BEGINS: &str = "edge-sockets 1 ";
const READY: &[u8] = b"ready\n";
/// Longest line in bytes.
const MAX_LINE: usize = 64;
/// Most sockets that are handed over: the kernel passes up to 253 at once, and an edge has a few.
const MAX_SOCKETS: usize = 64;
/// Longest time in which the running edge sends its sockets, which are at hand.
const SOCKETS: Duration = Duration::from_secs(5);
/// Longest time in which a successor begins to serve. It may have to read large tables, and its predecessor serves
/// meanwhile, but another successor waits.
const START: Duration = Duration::from_secs(60);

/// Why sockets can't be handed over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The Unix socket can't be used.
    #[error("the socket {path} can't be used to hand over: {source}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The other side is a process of another user.
    #[error("a process of another user is at the other end of {0}")]
    Stranger(PathBuf),
    /// The other side speaks another protocol.
    #[error("the running edge hands over in a form that is not known here: end it, and start again")]
    Unknown,
    /// The other side did not answer.
    #[error("the other edge did not answer in time")]
    Silent,
}

/// Sockets of a running edge, and the word that it waits for.
#[derive(Debug)]
pub struct Taken {
    /// The sockets.
    pub sockets: Sockets,
    /// To be told when they are served.
    pub ready: Ready,
}

/// Tells the running edge that its sockets are served, so that it drains and ends. Dropped untold, the running edge
/// goes on as if nothing had been.
#[derive(Debug)]
#[must_use = "the running edge goes on until it is told"]
pub struct Ready {
    stream: UnixStream,
    path: PathBuf,
}

impl Ready {
    /// Tells it.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn tell(mut self) -> Result<(), HandoverError> {
        let told = self.stream.write_all(READY).await;
        told.map_err(|source| HandoverError::Socket { path: self.path, source })
    }
}

/// Takes the sockets of the edge that runs with this folder; `None` when none does. Must be called inside a Tokio
/// runtime.
///
/// # Errors
/// When one runs, but does not hand them over.
pub async fn take(folder: &Path) -> Result<Option<Taken>, HandoverError> {
    let path = folder.join(NAME);
    let failed = |source| HandoverError::Socket { path: path.clone(), source };
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        // The second is what an edge leaves that was killed.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    if !is_own(&stream).map_err(failed)? {
        return Err(HandoverError::Stranger(path));
    }
    let received = tokio::time::timeout(SOCKETS, receive(&stream)).await.map_err(|_| HandoverError::Silent)?;
    let (line, sockets) = received.map_err(failed)?;
    let (http, https) =
        counts(&line).filter(|(http, https)| http + https == sockets.len()).ok_or(HandoverError::Unknown)?;
    let mut all = sockets.into_iter().map(Listening::from_fd);
    let mut some = |count| all.by_ref().take(count).collect::<io::Result<Vec<_>>>().map_err(failed);
    let sockets = Sockets { http: some(http)?, https: some(https)? };
    Ok(Some(Taken { sockets, ready: Ready { stream, path } }))
}

fn counts(line: &str) -> Option<(usize, usize)> {
    let (http, https) = line.strip_prefix(BEGINS)?.strip_suffix('\n')?.split_once(' ')?;
    Some((http.parse().ok()?, https.parse().ok()?))
}

/// Whether the process at the other end is of this user.
fn is_own(stream: &UnixStream) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

async fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let (mut line, mut sockets) = (Vec::new(), Vec::new());
    while !line.ends_with(b"\n") {
        let got = stream.async_io(Interest::READABLE, || {
            let mut bytes = [0; MAX_LINE];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let message = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(all) = message {
                    sockets.extend(all);
                }
            }
            line.extend_from_slice(&bytes[..message.bytes]);
            Ok(message.bytes)
        });
        if got.await? == 0 || line.len() > MAX_LINE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((String::from_utf8_lossy(&line).into_owned(), sockets))
}

/// Copies of an edge's listening sockets. What waits in them is not lost before all copies are closed.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    http: Vec<OwnedFd>,
    https: Vec<OwnedFd>,
}

impl Copies {
    pub(crate) fn of(sockets: &Sockets) -> io::Result<Self> {
        let copy = |all: &[Listening]| all.iter().map(|one| one.as_fd().try_clone_to_owned()).collect();
        Ok(Self { http: copy(&sockets.http)?, https: io::Result::<Vec<_>>::from(copy(&sockets.https))? })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let copy = |all: &[OwnedFd]| all.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
        Ok(Self { http: copy(&self.http)?, https: copy(&self.https)? })
    }

    async fn send(&self, stream: &UnixStream) -> io::Result<()> {
        let line = format!("{BEGINS}{} {}\n", self.http.len(), self.https.len());
        let all: Vec<_> = self.http.iter().chain(&self.https).map(AsFd::as_fd).collect();
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(&all)) {
                    return Err(io::Error::other(format!("more than {MAX_SOCKETS} sockets can't be handed over")));
                }
                Ok(sendmsg(stream, &[IoSlice::new(line.as_bytes())], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
        // The buffer of a new connection takes a line at once.
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// An edge's offer to hand over its sockets, which ends when it is dropped, or the edge drains.
#[derive(Debug)]
pub struct Offer {
    taken: watch::Receiver<bool>,
    task: JoinHandle<()>,
    path: PathBuf,
    /// Number of the socket's file, which tells it from that of a successor.
    file: u64,
}

impl Offer {
    pub(crate) fn new(
        folder: &Path,
        copies: Copies,
        stop: CancellationToken,
        succeeded: CancellationToken,
    ) -> Result<Self, HandoverError> {
        let (path, new) = (folder.join(NAME), folder.join(NEW_NAME));
        let open = || {
            match fs::remove_file(&new) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let listener = UnixListener::bind(&new)?;
            // Nobody knows the name before it is safe.
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            let file = fs::metadata(&new)?.ino();
            fs::rename(&new, &path)?;
            Ok((listener, file))
        };
        let (listener, file) = open().map_err(|source| HandoverError::Socket { path: path.clone(), source })?;
        let (tell, taken) = watch::channel(false);
        let task = tokio::spawn(async move {
            tokio::select! {
                // The copies are closed, or visitors would wait for nobody.
                () = stop.cancelled() => {}
                () = hand_over(&listener, &copies) => {
                    succeeded.cancel();
                    tell.send_replace(true);
                }
            }
        });
        Ok(Self { taken, task, path, file })
    }

    /// Waits until a successor serves the sockets. The edge is to be drained then.
    pub async fn taken(&self) {
        let mut taken = self.taken.clone();
        if taken.wait_for(|taken| *taken).await.is_err() {
            // The edge drains for another reason; nobody can take over.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.task.abort();
        // A successor may have put its own in this place.
        if fs::metadata(&self.path).is_ok_and(|now| now.ino() == self.file)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "the socket to hand over can't be removed");
        }
    }
}

/// Returns when a successor serves.
async fn hand_over(listener: &UnixListener, copies: &Copies) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "successors can't be accepted");
                tokio::time::sleep(SOCKETS).await;
                continue;
            }
        };
        match tokio::time::timeout(START, hand_to(stream, copies)).await {
            Ok(Ok(())) => {
                tracing::info!("a successor has taken over the listening sockets");
                return;
            }
            Ok(Err(error)) => tracing::warn!(%error, "a successor ended before it served"),
            Err(_) => tracing::warn!("a successor did not begin to serve within {} s", START.as_secs()),
        }
    }
}

async fn hand_to(mut stream: UnixStream, copies: &Copies) -> io::Result<()> {
    if !is_own(&stream)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    copies.send(&stream).await?;
    let mut word = [0; READY.len()];
    stream.read_exact(&mut word).await?;
    if word == READY { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

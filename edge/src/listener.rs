//! The accept loop in front of Pingora's HTTP app, and its end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::ServerApp as _;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::connection::{self, Connection, Ending, Visits};
use crate::door::{Counted, Door, Entered};
use crate::h2::H2Limits;
use crate::lane::Lane;
use crate::proxy::{Phases, Proxy, UPSTREAM_POOL, UPSTREAM_TRIES};

/// Connections that wait to be accepted; the kernel cuts it to its own bound.
const BACKLOG: u32 = 4096;
/// Pause after an accept failed for want of descriptors or memory, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long visitors who came before the edge drained, but have asked nothing yet, may still ask: enough for a
/// handshake and a request that are on their way, so that nobody notices when another edge takes over.
const NEWCOMERS: Duration = Duration::from_secs(1);

/// Why an edge can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be listened on.
    #[error("can't listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The folder of the last good routes can't be made.
    #[error("can't create the edge's folder {path}: {source}")]
    Folder {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file that says which edge this is can't be used.
    #[error("the edge's id can't be kept in {path}: {source}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What TLS keeps can't be used: the key that seals it, certificates, keys of session tickets.
    #[error("TLS can't be started with {path}: {source}")]
    Tls {
        /// The edge's folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// There is no socket.
    #[error("an edge needs a socket to listen on")]
    NoSocket,
    /// A socket can't be copied for a successor.
    #[error("a listening socket can't be copied: {0}")]
    Copy(io::Error),
    /// The control plane's URL can't be used.
    #[error("`{0}` is no control plane's address: use `http://host:port` or `https://host`")]
    Feed(Url),
    /// The certificates that vouch for the control plane can't be used.
    #[error("the control plane's CA in {path} can't be used: {reason}")]
    FeedCa {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operator's address can't be listened on.
    #[error("can't listen for the operator on {addr}: {source}")]
    Admin {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The access log or the traces can't be used.
    #[error(transparent)]
    Observe(#[from] observe::StartError),
    /// The file of countries can't be used.
    #[error(transparent)]
    Geo(#[from] guard::GeoError),
    /// The token can't stand in an HTTP header.
    #[error("the feed's token has characters that an HTTP header can't carry")]
    Token,
}

/// A socket that listens, but from which nothing is accepted yet.
#[derive(Debug)]
pub struct Listening {
    /// The address, with the port that the system chose when it was asked to.
    pub addr: SocketAddr,
    socket: TcpListener,
}

impl Listening {
    /// A socket that listens already.
    pub(crate) fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(Self { addr: socket.local_addr()?, socket })
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sockets of an edge.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For visitors without TLS.
    pub http: Vec<Listening>,
    /// For visitors with TLS.
    pub https: Vec<Listening>,
}

impl From<Listening> for Sockets {
    fn from(http: Listening) -> Self {
        Self { http: vec![http], https: Vec::new() }
    }
}

/// Listens on an address; port 0 chooses a free one. Must be called inside a Tokio runtime.
///
/// # Errors
/// When the address is in use, or can't be used.
pub fn listen(addr: SocketAddr) -> Result<Listening, StartError> {
    let open = || {
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Or a restart waits for the last run's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        let socket = socket.listen(BACKLOG)?;
        Ok(Listening { addr: socket.local_addr()?, socket })
    };
    open().map_err(|source| StartError::Listen { addr, source })
}

/// What bounds visitors, beside the proxy's timeouts; as in [`crate::Config`].
pub(crate) struct Settings {
    pub(crate) max_connections: usize,
    pub(crate) requests: wire::Limits,
    pub(crate) min_rate: u32,
    pub(crate) h2: H2Limits,
}

/// The accept loops and all connections. Every listening socket shares one budget of connections.
pub(crate) struct Listener {
    shared: Arc<Shared>,
    /// Tells Pingora that no connection is to be used for another request.
    shutdown: watch::Sender<bool>,
    /// Closes old connections to apps.
    tending: AbortHandle,
}

/// What all accept loops share.
struct Shared {
    visits: Arc<Visits>,
    /// Whatever still runs ends now.
    cut: Ending,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    /// Places in the room.
    most: usize,
}

impl Listener {
    /// All but the sockets.
    pub(crate) fn new(proxy: Proxy, lane: Lane, settings: Settings) -> Self {
        let timeouts = proxy.timeouts();
        let conf = ServerConf {
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            max_retries: UPSTREAM_TRIES,
            ..ServerConf::default()
        };
        let proxy = Arc::new(proxy);
        let app = http_proxy(&Arc::new(conf), Phases(Arc::clone(&proxy)));

        let most = settings.max_connections.min(Semaphore::MAX_PERMITS);
        let (shutdown, watched) = watch::channel(false);
        let shared = Arc::new(Shared {
            visits: Arc::new(Visits {
                app: Arc::new(app),
                proxy,
                shutdown: watched,
                lane,
                drain: Ending::default(),
                newcomers: Ending::default(),
                timeouts,
                limits: settings.requests,
                min_rate: settings.min_rate,
                h2: settings.h2,
            }),
            cut: Ending::default(),
            connections: TaskTracker::new(),
            room: Arc::new(Semaphore::new(most)),
            most,
        });
        let tended = Arc::clone(&shared.visits.proxy);
        let tending = tokio::spawn(async move { tended.tend().await }).abort_handle();
        Self { shared, shutdown, tending }
    }

    /// Tells the connections in use, as long as the listener lives.
    pub(crate) fn used(&self) -> impl Fn() -> usize + use<> {
        let (room, most) = (Arc::clone(&self.shared.room), self.shared.most);
        move || most.saturating_sub(room.available_permits())
    }

    /// Accepts from one more socket, whose visitors come in by `door`.
    pub(crate) fn listen(&self, listening: Listening, door: Door) {
        let shared = Arc::clone(&self.shared);
        // Tracked, so that a drained listener's port is free.
        self.shared.connections.spawn(async move {
            tokio::select! {
                () = shared.visits.drain.wait() => {}
                () = accept(&shared, listening.socket, &door) => {}
            }
        });
    }

    pub(crate) async fn drain(&self, deadline: Duration) {
        let shared = &self.shared;
        shared.visits.drain.end();
        // Pingora wakes connections that are idle between requests, and ends busy ones after their answer.
        self.shutdown.send_replace(true);
        shared.visits.app.cleanup().await;
        shared.connections.close();
        let ended = async {
            let mut ended = std::pin::pin!(shared.connections.wait());
            tokio::select! {
                () = &mut ended => return,
                () = tokio::time::sleep(NEWCOMERS) => shared.visits.newcomers.end(),
            }
            ended.await;
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!(connections = shared.connections.len(), "connections that did not end in time are cut off");
            shared.cut.end();
            shared.connections.wait().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.visits.drain.end();
        self.shared.visits.newcomers.end();
        self.shared.cut.end();
        self.tending.abort();
    }
}

async fn accept(shared: &Arc<Shared>, listening: TcpListener, door: &Door) {
    loop {
        let (socket, address) = match listening.accept().await {
            Ok(accepted) => accepted,
            Err(e) if is_of_one_connection(&e) => continue,
            Err(e) => {
                tracing::error!(error = %e, "connections can't be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Asked for only now: a socket that nobody comes to would hold a place that another's visitor waits for.
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&shared.room).acquire_owned().await else { return };
        // Answers are written whole, so waiting to fill a segment would only delay their ends.
        if let Err(e) = socket.set_nodelay(true) {
            tracing::debug!(error = %e, "a connection was gone before it was accepted");
            continue;
        }
        // The task of a connection lives as long as the connection, and has room for the largest of its steps. So each
        // step but the waiting has a place of its own.
        let entering = Box::pin(enter(Arc::clone(shared), door.clone(), socket, address));
        let own = Arc::clone(shared);
        shared.connections.spawn(async move {
            tokio::select! {
                biased;
                () = own.cut.wait() => {}
                () = visit(&own.visits, entering) => {}
            }
            drop(place);
        });
    }
}

/// One visitor's connection, from its first byte to its last.
async fn visit(visits: &Arc<Visits>, entering: Pin<Box<impl Future<Output = Option<Inside>>>>) {
    if let Some((connection, place)) = entering.await {
        connection::serve(visits, connection).await;
        drop(place);
    }
}

/// A visitor's connection, and its places.
type Inside = (Box<Connection>, Counted);

/// Lets a visitor in, unless nobody is wanted any more before.
async fn enter(shared: Arc<Shared>, door: Door, socket: TcpStream, address: SocketAddr) -> Option<Inside> {
    let visits = &shared.visits;
    let entered = tokio::select! {
        entered = door.enter(socket, address) => entered,
        () = visits.newcomers.wait() => return None,
    };
    match entered {
        Ok(Entered { transport, peer, place }) => {
            Some((Box::new(Connection::new(transport, peer.into(), visits)), place))
        }
        Err(error) => {
            tracing::debug!(%error, "a visitor did not come in");
            None
        }
    }
}

/// Whether an accept failed because of the connection that would have been accepted.
fn is_of_one_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

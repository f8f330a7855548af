//! The accept loop in front of Pingora's HTTP app, and its end.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerOptions, ServerApp as _};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::{HttpProxy, http_proxy};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::Timeouts;
use crate::connection::Connection;
use crate::proxy::{Proxy, UPSTREAM_TRIES};

/// Connections that wait to be accepted; the kernel cuts it to its own bound.
const BACKLOG: u32 = 4096;
/// Pause after an accept failed for want of descriptors or memory, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Unused connections to apps that are kept, in all.
const UPSTREAM_POOL: usize = 1024;

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
    /// The control plane's URL can't be used.
    #[error("`{0}` is no control plane's address: use `http://host:port`")]
    Feed(Url),
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

/// The accept loop and all connections.
pub(crate) struct Listener {
    app: Arc<HttpProxy<Proxy>>,
    /// Tells Pingora that no connection is to be used for another request.
    shutdown: watch::Sender<bool>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Listener {
    pub(crate) fn start(listening: Listening, proxy: Proxy, max_connections: usize) -> Self {
        let timeouts = proxy.timeouts();
        let conf = ServerConf {
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            max_retries: UPSTREAM_TRIES,
            ..ServerConf::default()
        };
        let mut app = http_proxy(&Arc::new(conf), proxy);
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(timeouts.client_idle);
        app.server_options = Some(options);

        let (shutdown, _) = watch::channel(false);
        let listener = Self {
            app: Arc::new(app),
            shutdown,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let accepting = Accepting {
            socket: listening.socket,
            app: Arc::clone(&listener.app),
            shutdown: listener.shutdown.subscribe(),
            stop: listener.stop.clone(),
            cut: listener.cut.clone(),
            connections: listener.connections.clone(),
            room: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            timeouts,
        };
        let stop = listener.stop.clone();
        // Tracked, so that a drained listener's port is free.
        listener.connections.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = accepting.run() => {}
            }
        });
        listener
    }

    pub(crate) async fn drain(&self, deadline: Duration) {
        self.stop.cancel();
        // Pingora wakes connections that are idle between requests, and ends busy ones after their answer.
        self.shutdown.send_replace(true);
        self.app.cleanup().await;
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections that did not end in time are cut off");
            self.cut.cancel();
            self.connections.wait().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

struct Accepting {
    socket: TcpListener,
    app: Arc<HttpProxy<Proxy>>,
    shutdown: watch::Receiver<bool>,
    stop: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    timeouts: Timeouts,
}

impl Accepting {
    async fn run(self) {
        // The semaphore is never closed.
        while let Ok(place) = Arc::clone(&self.room).acquire_owned().await {
            let (socket, peer) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(e) if is_of_one_connection(&e) => continue,
                Err(e) => {
                    tracing::error!(error = %e, "connections can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Answers are written whole, so waiting to fill a segment would only delay their ends.
            if let Err(e) = socket.set_nodelay(true) {
                tracing::debug!(error = %e, "a connection was gone before it was accepted");
                continue;
            }
            let stream = Box::new(Connection::new(socket, peer, &self.timeouts, self.stop.clone()));
            let (app, shutdown, cut) = (Arc::clone(&self.app), self.shutdown.clone(), self.cut.clone());
            self.connections.spawn(async move {
                tokio::select! {
                    () = cut.cancelled() => {}
                    _ = app.process_new(stream, &shutdown) => {}
                }
                drop(place);
            });
        }
    }
}

/// Whether an accept failed because of the connection that would have been accepted.
fn is_of_one_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

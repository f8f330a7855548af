//! TLS for visitors, driven by the route table: which certificate a name has, proofs of control, ticket keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use ::tls::{AcceptError, Acceptor, Certificates, Found, TicketKeeper};
use arc_swap::ArcSwap;
use common::secret::MasterKey;
use tokio::net::TcpStream;
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConnection};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::listener::StartError;
use crate::routes::{self, Routes};
use crate::transport::{Peer, TlsFacts, Transport};

mod follow;
mod source;

/// Folder of certificates, below the edge's own.
const CERTIFICATES: &str = "certificates";

/// What every handshake needs.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    acceptor: Acceptor,
    routes: Arc<Routes>,
    /// Which certificates names had when the follower last looked.
    seen: Arc<ArcSwap<routes::Certificates>>,
}

/// Follows the table until `stop`: keys of session tickets, renewed certificates, and those no longer used.
pub(crate) struct Follower {
    keeper: TicketKeeper,
    certificates: Arc<Certificates>,
    routes: Arc<Routes>,
    seen: Arc<ArcSwap<routes::Certificates>>,
}

/// Settings of TLS, out of those of the edge.
pub(crate) struct Settings {
    folder: PathBuf,
    key_file: PathBuf,
    memory: u64,
    deadline: Duration,
    source: source::ControlPlane,
}

impl Settings {
    pub(crate) fn new(config: &Config, plane: ControlPlane) -> Self {
        Self {
            folder: config.folder.clone(),
            key_file: config.key_file.clone(),
            memory: config.certificate_bytes,
            deadline: config.timeouts.handshake,
            source: source::ControlPlane::new(plane),
        }
    }
}

/// Reads what is kept, and makes what is not there yet.
///
/// # Errors
/// When the folder can't be used.
pub(crate) fn start(settings: Settings, routes: &Arc<Routes>) -> Result<(Tls, Follower), StartError> {
    let Settings { folder, key_file, memory, deadline, source } = settings;
    let unusable = |source: io::Error| StartError::Tls { path: folder.clone(), source };
    if let Some(parent) = key_file.parent() {
        fs::create_dir_all(parent).map_err(unusable)?;
    }
    let master = MasterKey::load_or_create(&key_file).map_err(|e| unusable(io::Error::other(e)))?;
    let keeper = TicketKeeper::open(folder.clone(), master.clone()).map_err(|e| unusable(io::Error::other(e)))?;
    let settings = ::tls::Settings::new(keeper.tickets());
    let certificates =
        Certificates::open(folder.join(CERTIFICATES), master, Arc::new(source), settings.clone(), memory)
            .map_err(unusable)?;
    let certificates = Arc::new(certificates);
    let acceptor = Acceptor::new(settings, Arc::clone(&certificates), deadline);
    let seen = Arc::new(ArcSwap::from_pointee(routes.now().certificates().clone()));
    let tls = Tls(Arc::new(Shared { acceptor, routes: Arc::clone(routes), seen: Arc::clone(&seen) }));
    Ok((tls, Follower { keeper, certificates, routes: Arc::clone(routes), seen }))
}

impl Follower {
    /// Follows the table until `stop`.
    pub(crate) fn spawn(self, stop: CancellationToken) {
        tokio::spawn(follow::follow(self, stop));
    }
}

impl Tls {
    /// Does a visitor's handshake.
    ///
    /// # Errors
    /// When the visitor does not come in, which it was told.
    pub(crate) async fn enter(&self, socket: TcpStream, address: SocketAddr) -> io::Result<(Transport, Peer)> {
        let Shared { acceptor, routes, seen } = &*self.0;
        let find = |name: &str| {
            let id = Arc::clone(routes.now().certificate(name)?);
            let renews = routes::certificate(&seen.load(), name).filter(|before| **before != id).cloned();
            Some(Found { id, renews })
        };
        let challenges = || Arc::clone(routes.now().challenges());
        // Boxed, because it is large, and over before the rest of the connection begins.
        let accepted = Box::pin(acceptor.accept(socket, find, challenges)).await.map_err(|error| match error {
            AcceptError::Io(error) => error,
            error => io::Error::other(error),
        })?;
        let connection = accepted.stream.get_ref().1;
        let facts = TlsFacts {
            server_name: Some(accepted.server_name),
            is_h2: accepted.is_h2,
            certificate: Some(Arc::clone(accepted.shown.id())),
            shown: Some(accepted.shown),
            version: version(connection),
            cipher: cipher(connection),
            resumed: accepted.resumed,
        };
        Ok((Transport::Tls(Box::new(accepted.stream)), Peer { address, tls: Some(facts) }))
    }
}

fn version(connection: &ServerConnection) -> &'static str {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "",
    }
}

/// The name that IANA's registry of cipher suites has.
fn cipher(connection: &ServerConnection) -> &'static str {
    match connection.negotiated_cipher_suite().map(|suite| suite.suite()) {
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(suite) => suite.as_str().unwrap_or_default(),
        None => "",
    }
}

//! The data plane: it answers visitors.
//!
//! In: connections of visitors, the control plane's route feed, and the object store's manifests and
//! blobs. Out: files of static deployments, whatever running apps answer, and to the control plane which
//! routes are in use and which sleeping apps visitors ask for.
//!
//! It must never need the control plane to answer a request, answer one request out of two deployments,
//! wait for a lock or a disk to find a route, or show a visitor what failed inside. It knows neither the
//! control plane nor the deployer; they meet in `common` and on the wire.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::blob::ObjectStore;
use guard::{Connections, Geo, Guard};
use observe::Observer;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub mod config;
mod connection;
mod door;
mod h2;
pub mod handover;
mod lane;
mod listener;
mod proxy_protocol;
mod tls;
mod transport;
mod visit;

mod access;
mod admin;

mod control_plane;
mod feed;
mod identity;
mod routes;
mod wishes;

mod answer;
mod compress;
mod host;
mod page;
mod proxy;
mod request_id;

mod cache;
mod site;

pub use config::{Config, Timeouts};
pub use h2::H2Limits;
pub use listener::{Listening, Sockets, StartError, listen};
pub use observe::{AccessLog, LogTo, Otlp};
pub use wire::Limits as RequestLimits;

use admin::Admin;
use cache::Cache;
use control_plane::ControlPlane;
use door::{Door, Hall};
use handover::{Copies, HandoverError, Offer};
use lane::Lane;
use listener::Listener;
use proxy::{Front, Kept, Proxy, Watch};
use proxy_protocol::Proxies;
use routes::{Routes, last_good};
use wishes::Wishes;

/// Longest time in which an edge that ends tells the control plane what was served last.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running edge. Dropping it ends everything at once; [`Edge::drain`] ends it with care.
pub struct Edge {
    addr: SocketAddr,
    https_addr: Option<SocketAddr>,
    folder: PathBuf,
    /// For a successor; none once the edge drains.
    copies: Mutex<Option<Copies>>,
    listener: Listener,
    connected: watch::Receiver<bool>,
    stop_feed: CancellationToken,
    last_good: last_good::Keeper,
    feed: tokio::sync::Mutex<JoinHandle<()>>,
    /// Tells the feed that the last request has ended.
    ended: CancellationToken,
    /// Tells the feed that another process goes on as this edge.
    succeeded: CancellationToken,
    admin_addr: Option<SocketAddr>,
    observer: Arc<Observer>,
    /// Ended with the edge: what measures it, and the operator's listener.
    _tasks: JoinSet<()>,
}

impl Edge {
    /// Starts to serve: with the last good routes when there are any, and with the control plane's as soon
    /// as it tells them. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the configuration can't be used.
    pub fn start(sockets: impl Into<Sockets>, config: Config, store: ObjectStore) -> Result<Self, StartError> {
        let sockets = sockets.into();
        let copies = Copies::of(&sockets).map_err(StartError::Copy)?;
        let first = |all: &[Listening]| all.first().map(|listening| listening.addr);
        let https_addr = first(&sockets.https);
        let addr = first(&sockets.http).or(https_addr).ok_or(StartError::NoSocket)?;
        let plane = ControlPlane::new(&config)?;
        let tls_settings = tls::Settings::new(&config, plane.clone());
        let geo = config.geoip.as_deref().map(Geo::open).transpose()?;
        let settings = observe::Settings { access_log: config.access_log, otlp: config.otlp };
        let observer = Arc::new(Observer::start(settings)?);
        let admin_listener = config.admin.map(|addr| {
            let listening = admin::listen(addr).and_then(|socket| Ok((socket.local_addr()?, socket)));
            listening.map_err(|source| StartError::Admin { addr, source })
        });
        let admin_listener = admin_listener.transpose()?;
        std::fs::create_dir_all(&config.folder)
            .map_err(|source| StartError::Folder { path: config.folder.clone(), source })?;

        let routes = Arc::new(Routes::new(last_good::load(&config.folder)));
        let proxies = Arc::new(Proxies::new(config.proxy_protocol_from, config.timeouts.proxy_header));
        let visitors = Connections::new(config.client_connections, &config.unbounded_clients);
        let hall = Hall { proxies, visitors, metrics: Arc::clone(observer.metrics()) };
        let (guard, status) = (Arc::new(Guard::new(geo)), Arc::new(feed::Status::new()));
        let tls = if https_addr.is_some() { Some(tls::start(tls_settings, &routes)?) } else { None };
        let last_good = last_good::Keeper::start(config.folder.clone(), Arc::clone(&routes));
        let stop_feed = CancellationToken::new();
        let (wishes, wished) = Wishes::channel();
        let (announce, connected) = watch::channel(false);
        let kept = response_cache::Cache::with_system_clock(config.response_cache_bytes);
        let (ended, succeeded, drains) = (CancellationToken::new(), CancellationToken::new(), stop_feed.clone());
        let told = feed::Told {
            edge: identity::load_or_create(&config.folder)?,
            wished,
            observer: Arc::clone(&observer),
            status: Arc::clone(&status),
            drains,
            ended: ended.clone(),
            succeeded: succeeded.clone(),
        };
        let feed = tokio::spawn(feed::follow(plane, Arc::clone(&routes), kept.clone(), told, announce));

        let cache = Cache::new(store, config.cache_bytes, config.timeouts.store);
        let watch = Watch { guard: Arc::clone(&guard), observer: Arc::clone(&observer) };
        let lane = Lane::new(Arc::clone(&routes), cache.clone(), watch.clone(), config.trusted_proxies.clone());
        let front = Front { trusted_proxies: config.trusted_proxies, https_port: config.https_port };
        let proxy = Proxy::new(Arc::clone(&routes), cache, wishes, config.timeouts, front, Kept::new(kept), watch);
        let settings = listener::Settings {
            max_connections: config.max_connections,
            requests: config.requests,
            min_rate: config.min_rate,
            h2: config.h2,
        };
        let listener = Listener::new(proxy, lane, settings);
        for listening in sockets.http {
            tracing::info!(addr = %listening.addr, "the edge listens");
            listener.listen(listening, Door::plain(hall.clone()));
        }
        if let Some((tls, follower)) = tls {
            follower.spawn(stop_feed.clone());
            for listening in sockets.https {
                tracing::info!(addr = %listening.addr, "the edge listens for TLS");
                listener.listen(listening, Door::tls(hall.clone(), tls.clone()));
            }
        }
        let mut tasks = JoinSet::new();
        let (used, max_connections) = (listener.used(), config.max_connections);
        let tended = Arc::clone(&guard);
        tasks.spawn(async move { tended.tend(|| (used(), max_connections)).await });
        let admin_addr = admin_listener.as_ref().map(|(addr, _)| *addr);
        if let Some((addr, socket)) = admin_listener {
            tracing::info!(%addr, "the edge listens for the operator");
            let (observer, drains) = (Arc::clone(&observer), stop_feed.clone());
            let admin = Admin { observer, guard, routes, feed: status, drains, max_connections };
            tasks.spawn(admin::serve(admin, socket));
        }
        let (folder, copies) = (config.folder, Mutex::new(Some(copies)));
        Ok(Self {
            addr,
            https_addr,
            admin_addr,
            folder,
            copies,
            listener,
            connected,
            stop_feed,
            last_good,
            feed: tokio::sync::Mutex::new(feed),
            ended,
            succeeded,
            observer,
            _tasks: tasks,
        })
    }

    /// Where it listens for visitors with TLS.
    #[must_use]
    pub const fn https_addr(&self) -> Option<SocketAddr> {
        self.https_addr
    }

    /// Where the operator asks for `/metrics`, `/healthz` and `/readyz`.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Offers the listening sockets to a successor that starts with the same folder, by [`handover::take`]. When
    /// [`Offer::taken`] returns, this edge is to be drained.
    ///
    /// # Errors
    /// When the folder can't be used for it, or the edge drains already.
    pub fn offer(&self) -> Result<Offer, HandoverError> {
        let copies = match &*self.copies.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(copies) => copies.try_clone(),
            None => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let copies = copies.map_err(|source| HandoverError::Socket { path: self.folder.clone(), source })?;
        Offer::new(&self.folder, copies, self.stop_feed.clone(), self.succeeded.clone())
    }

    /// Where it listens: for visitors without TLS, if it does for them.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits until the control plane's routes are in use. Never ends while the control plane can't be reached.
    pub async fn connected(&self) {
        let mut connected = self.connected.clone();
        if connected.wait_for(|c| *c).await.is_err() {
            // The feed has ended, because the edge drains.
            std::future::pending::<()>().await;
        }
    }

    /// Stops to accept, closes idle connections, lets requests in flight end within `deadline`, cuts off
    /// the rest, and writes the last good routes.
    pub async fn drain(&self, deadline: Duration) {
        self.stop_feed.cancel();
        // Or the sockets would stay open, and visitors wait for nobody.
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.listener.drain(deadline).await;
        self.ended.cancel();
        // What was served last is told yet; nobody waits long for a control plane that does not listen.
        if tokio::time::timeout(LAST_WORDS, &mut *self.feed.lock().await).await.is_err() {
            tracing::warn!("the control plane was not told what was served last");
        }
        self.last_good.finish().await;
        self.observer.finish().await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop_feed.cancel();
        self.ended.cancel();
        self.feed.get_mut().abort();
    }
}

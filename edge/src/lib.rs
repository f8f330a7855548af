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
use std::sync::Arc;
use std::time::Duration;

use common::blob::ObjectStore;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub mod config;
mod connection;
mod listener;

mod feed;
mod routes;
mod wishes;

mod answer;
mod host;
mod page;
mod proxy;

mod cache;
mod site;

pub use config::{Config, Timeouts};
pub use listener::{Listening, StartError, listen};

use cache::Cache;
use listener::Listener;
use proxy::Proxy;
use routes::{Routes, last_good};
use wishes::Wishes;

/// A running edge. Dropping it ends everything at once; [`Edge::drain`] ends it with care.
pub struct Edge {
    addr: SocketAddr,
    listener: Listener,
    connected: watch::Receiver<bool>,
    stop_feed: CancellationToken,
    last_good: last_good::Keeper,
    feed: JoinHandle<()>,
}

impl Edge {
    /// Starts to serve: with the last good routes when there are any, and with the control plane's as soon
    /// as it tells them. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the configuration can't be used.
    pub fn start(listening: Listening, config: Config, store: ObjectStore) -> Result<Self, StartError> {
        let source = feed::Source::new(&config.feed, &config.feed_token)?;
        std::fs::create_dir_all(&config.folder)
            .map_err(|source| StartError::Folder { path: config.folder.clone(), source })?;

        let routes = Arc::new(Routes::new(last_good::load(&config.folder)));
        let last_good = last_good::Keeper::start(config.folder, Arc::clone(&routes));
        let stop_feed = CancellationToken::new();
        let (wishes, wished) = Wishes::channel();
        let (announce, connected) = watch::channel(false);
        let feed = tokio::spawn(feed::follow(source, Arc::clone(&routes), wished, announce, stop_feed.clone()));

        let cache = Cache::new(store, config.cache_bytes, config.timeouts.store);
        let proxy = Proxy::new(routes, cache, wishes, config.timeouts);
        let addr = listening.addr;
        let listener = Listener::start(listening, proxy, config.max_connections);
        tracing::info!(%addr, "the edge listens");
        Ok(Self { addr, listener, connected, stop_feed, last_good, feed })
    }

    /// Where it listens.
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
        self.listener.drain(deadline).await;
        self.last_good.finish().await;
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop_feed.cancel();
        self.feed.abort();
    }
}

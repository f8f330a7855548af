//! The one place that starts the edge.

use std::net::SocketAddr;
use std::path::PathBuf;

use common::blob::ObjectStore;
use common::secret::Secret;
use edge::{Config, Edge, Sockets};
use url::Url;

use super::{Addresses, TOKEN};

/// Where and of what an edge serves.
pub struct Serving {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
    pub folder: PathBuf,
    pub feed: Url,
}

/// Starts it, with the settings of the product.
pub fn start(serving: Serving, store: ObjectStore) -> anyhow::Result<(Edge, Addresses)> {
    let http = edge::listen(serving.http)?;
    let https = serving.https.map(edge::listen).transpose()?;
    let addresses = Addresses { http: http.addr, https: https.as_ref().map(|listening| listening.addr) };
    let config = Config::new(serving.feed, Secret::new(TOKEN), serving.folder);
    let sockets = Sockets { http: vec![http], https: https.into_iter().collect() };
    Ok((Edge::start(sockets, config, store)?, addresses))
}

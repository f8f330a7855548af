//! Connections that were used once and then are kept.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::handshake::{self, Sessions};
use crate::load::Target;
use crate::process::Process;

/// How many.
pub const CONNECTIONS: usize = 10_000;
/// How many are opened at once.
const AT_ONCE: usize = 64;
/// Longest time in which all are opened: below the minute after which servers may close the first ones.
const PATIENCE: Duration = Duration::from_secs(55);

/// An open connection, whatever it is; dropping it closes it.
type Held = Box<dyn Any + Send>;

/// Kilobytes (of 1000 bytes) that each connection costs the server.
pub async fn measure(process: &Process, target: &Target, tls: bool, certificate: &Path) -> anyhow::Result<f64> {
    let address = target.address(tls)?;
    let connector = if tls { Some(handshake::connector(certificate, Sessions::Forgotten)?) } else { None };
    let open = async |count| {
        let all = futures::stream::iter(0..count).map(|_| one(address, connector.clone()));
        let opened = tokio::time::timeout(PATIENCE, all.buffer_unordered(AT_ONCE).collect::<Vec<_>>());
        let opened = opened.await.with_context(|| format!("not all opened within {} s", PATIENCE.as_secs()))?;
        opened.into_iter().collect::<anyhow::Result<Vec<Held>>>().context("a connection could not be opened")
    };
    // The first ones make the server build what it needs once.
    let first = open(AT_ONCE).await?;
    let before = process.memory()?;
    let held = open(CONNECTIONS).await?;
    let after = process.memory()?;
    drop((first, held));
    ensure!(after >= before, "memory shrank from {before} to {after} bytes");
    Ok((after - before) as f64 / 1000.0 / CONNECTIONS as f64)
}

async fn one(address: SocketAddr, connector: Option<TlsConnector>) -> anyhow::Result<Held> {
    let Some(connector) = connector else {
        let mut socket = TcpStream::connect(address).await?;
        handshake::ask(&mut socket).await?;
        return Ok(Box::new(socket));
    };
    let mut stream = handshake::connect(address, &connector).await?;
    handshake::ask(&mut stream).await?;
    Ok(Box::new(stream))
}

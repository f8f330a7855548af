//! Connections that wait for the next request.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::quality::RandomState;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::link::Link;

/// Connections to one address that are kept: what a burst leaves behind beyond these is closed.
const PER_ADDRESS: usize = 256;
/// How often connections that waited too long are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections to apps that wait for the next request.
#[derive(Debug)]
pub struct Pool {
    kept: Mutex<Kept>,
    /// Most connections in all.
    most: usize,
    /// How long one waits.
    idle: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    count: usize,
    /// By address, the one that was used last at the end.
    links: HashMap<SocketAddr, Vec<(Instant, Box<Link>)>, RandomState>,
}

impl Pool {
    /// A pool of at most `most` connections, each of which waits no longer than `idle`.
    #[must_use]
    pub fn new(most: usize, idle: Duration) -> Self {
        Self { kept: Mutex::default(), most, idle }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that waits for a request to this address and has not been closed meanwhile.
    #[must_use]
    pub fn take(&self, address: SocketAddr) -> Option<Box<Link>> {
        loop {
            let (since, link) = {
                let mut kept = self.kept();
                let found = kept.links.get_mut(&address)?.pop()?;
                kept.count -= 1;
                found
            };
            if since.elapsed() < self.idle && link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// When the app accepts none within `limit`.
    pub async fn connect(&self, address: SocketAddr, limit: Duration) -> Result<Box<Link>, Failure> {
        let connect = tokio::time::timeout(limit, TcpStream::connect(address));
        let stream = connect.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Failure::Connect)?;
        // A request leaves whole, so waiting to fill a segment would only delay it.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        Ok(Box::new(Link::new(stream, address)))
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn put(&self, mut link: Box<Link>) {
        let address = link.address();
        link.rest();
        let mut kept = self.kept();
        if kept.count >= self.most {
            return;
        }
        let links = kept.links.entry(address).or_default();
        if links.len() < PER_ADDRESS {
            links.push((Instant::now(), link));
            kept.count += 1;
        }
    }

    /// Closes connections that have waited too long, for as long as this is polled.
    pub async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            let mut old = Vec::new();
            let mut kept = self.kept();
            kept.links.retain(|_, links| {
                // The oldest are in front.
                let over = links.iter().take_while(|(since, _)| since.elapsed() >= self.idle).count();
                old.extend(links.drain(..over));
                !links.is_empty()
            });
            kept.count -= old.len();
            // Closing is a system call each, so it happens without the lock.
            drop(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    async fn app() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_is_closed_or_speaks_unasked() {
        let (listener, address) = app().await;
        let pool = Pool::new(10, LIMIT);
        assert!(pool.take(address).is_none());
        let link = pool.connect(address, LIMIT).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        pool.put(link);
        let link = pool.take(address).unwrap();
        assert!(pool.take(address).is_none(), "it is lent once");
        pool.put(link);

        socket.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        let mut link = pool.take(address);
        while let Some(quiet) = link {
            // Its bytes are on their way.
            quiet.readable().await.unwrap();
            pool.put(quiet);
            link = pool.take(address);
        }
    }

    #[tokio::test]
    async fn no_more_connections_are_kept_than_allowed() {
        let (listener, address) = app().await;
        let pool = Pool::new(2, LIMIT);
        let mut sockets = Vec::new();
        let mut links = Vec::new();
        for _ in 0..3 {
            links.push(pool.connect(address, LIMIT).await.unwrap());
            sockets.push(listener.accept().await.unwrap());
        }
        links.into_iter().for_each(|link| pool.put(link));
        assert!(pool.take(address).is_some() && pool.take(address).is_some() && pool.take(address).is_none());
    }

    #[tokio::test]
    async fn a_connection_that_waited_too_long_is_closed() {
        let (listener, address) = app().await;
        let pool = std::sync::Arc::new(Pool::new(10, Duration::from_millis(1)));
        let link = pool.connect(address, LIMIT).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        pool.put(link);
        let sweeping = tokio::spawn({
            let pool = std::sync::Arc::clone(&pool);
            async move { pool.sweep().await }
        });
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest).await.unwrap();
        assert!(pool.take(address).is_none());
        sweeping.abort();
    }

    #[tokio::test]
    async fn an_address_where_nothing_listens_is_told() {
        let (listener, address) = app().await;
        drop(listener);
        let failure = Pool::new(10, LIMIT).connect(address, LIMIT).await.unwrap_err();
        assert!(matches!(failure, Failure::Connect(_)), "{failure}");
    }
}

//! What happens with an accepted socket before HTTP begins.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use guard::{Connections, Place};
use observe::{ConnectionKind, Handshake, Metrics, OpenConnection};
use tokio::net::TcpStream;

use crate::proxy_protocol::Proxies;
use crate::tls::Tls;
use crate::transport::{Peer, Transport};

/// What the visitors of one listening socket say before HTTP.
#[derive(Clone)]
pub(crate) struct Door {
    hall: Hall,
    tls: Option<Tls>,
}

/// What all doors share.
#[derive(Clone)]
pub(crate) struct Hall {
    pub(crate) proxies: Arc<Proxies>,
    /// Bounds the connections of each visitor.
    pub(crate) visitors: Connections,
    pub(crate) metrics: Arc<Metrics>,
}

/// A visitor who is in. Counts as one until this is dropped.
pub(crate) struct Entered {
    pub(crate) transport: Transport,
    pub(crate) peer: Peer,
    pub(crate) place: Counted,
}

/// A connection's places among its visitor's, and among all.
pub(crate) struct Counted {
    _place: Place,
    _open: OpenConnection,
}

impl Door {
    /// For visitors without TLS.
    pub(crate) const fn plain(hall: Hall) -> Self {
        Self { hall, tls: None }
    }

    /// For visitors with TLS.
    pub(crate) const fn tls(hall: Hall, tls: Tls) -> Self {
        Self { hall, tls: Some(tls) }
    }

    /// Lets a visitor in. Runs in a task of its own, so that whoever is slow here keeps nobody else waiting;
    /// it bounds by itself how long it takes.
    ///
    /// # Errors
    /// When the visitor does not come in: the connection is closed then.
    pub(crate) async fn enter(&self, mut socket: TcpStream, address: SocketAddr) -> io::Result<Entered> {
        let Hall { proxies, visitors, metrics } = &self.hall;
        let address = proxies.visitor(&mut socket, address).await?;
        // Before the handshake, which costs more than all else.
        let Some(place) = visitors.enter(address.ip()) else {
            metrics.connection_refused();
            return Err(io::Error::other("the visitor has too many connections"));
        };
        let kind = if self.tls.is_some() { ConnectionKind::Https } else { ConnectionKind::Http };
        let place = Counted { _place: place, _open: metrics.connection(kind) };
        let Some(tls) = &self.tls else {
            return Ok(Entered { transport: Transport::Plain(socket), peer: Peer::plain(address), place });
        };
        let entered = tls.enter(socket, address).await;
        metrics.handshake(match &entered {
            Ok((_, Peer { tls: Some(facts), .. })) if facts.resumed => Handshake::Resumed,
            Ok(_) => Handshake::Full,
            Err(_) => Handshake::Failed,
        });
        let (transport, peer) = entered?;
        Ok(Entered { transport, peer, place })
    }
}

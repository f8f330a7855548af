//! Addresses, and the servers that were started at them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::Context;
use dns::{
    Name,
    answer::Answers,
    key::ZoneKey,
    master,
    server::{Server, Settings},
    zone::Zone,
};
use hickory_proto::op::Message;
use testkit::keeper::Keeper;

use crate::{
    loose::{Loose, Reply},
    nsd,
};

/// Name servers of one test.
pub struct Net {
    network: [u8; 2],
    port: u16,
    used: u8,
    running: Vec<Running>,
}

/// What runs until the test ends.
enum Running {
    Nsd { _server: Keeper },
    Own { _server: Server },
    Loose { _server: Loose },
}

impl Net {
    /// A network of 127.0.0.0/8 at random, so that tests do not meet, and a free port in it.
    ///
    /// # Errors
    /// When there is no port or no folder to be had.
    pub fn new() -> anyhow::Result<Self> {
        let network = [rand::random_range(16..=250), rand::random_range(0..=255)];
        let socket = UdpSocket::bind((Ipv4Addr::new(127, network[0], network[1], 1), 0))?;
        let port = socket.local_addr()?.port();
        Ok(Self { network, port, used: 1, running: Vec::new() })
    }

    /// An address that nothing listens on yet.
    pub fn address(&mut self) -> IpAddr {
        self.used += 1;
        IpAddr::from([127, self.network[0], self.network[1], self.used])
    }

    /// The address with the port of all servers.
    pub fn socket(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.port)
    }

    /// All addresses that were given out, with the port, as settings have them.
    pub fn servers(&self) -> Vec<String> {
        let address = |last| SocketAddr::from((Ipv4Addr::new(127, self.network[0], self.network[1], last), self.port));
        (2..=self.used).map(|last| address(last).to_string()).collect()
    }

    /// Starts NSD at an address, with zones as pairs of origin and text, and waits until it answers for each.
    ///
    /// # Errors
    /// When it does not start, or refuses a zone.
    pub async fn nsd(&mut self, address: IpAddr, zones: &[(&str, &str)]) -> anyhow::Result<()> {
        let server = nsd::start(self.socket(address), zones).await?;
        self.running.push(Running::Nsd { _server: server });
        Ok(())
    }

    /// Serves a zone by the platform's own server, signed when there is a key. Further zones can be published.
    ///
    /// # Errors
    /// When the zone is broken, or the address taken.
    pub async fn own(
        &mut self,
        address: IpAddr,
        origin: &str,
        text: &str,
        key: Option<Arc<ZoneKey>>,
    ) -> anyhow::Result<Arc<Answers>> {
        let answers = Arc::new(Answers::default());
        answers.publish(Arc::new(zone(origin, text, key)?));
        let settings = Settings { listen: vec![self.socket(address)], rate: 0, burst: 0, transfer: Vec::new() };
        let server = Server::start(&settings, Arc::clone(&answers)).await?;
        self.running.push(Running::Own { _server: server });
        Ok(answers)
    }

    /// Serves whatever the function says, over UDP and TCP.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn loose(
        &mut self,
        address: IpAddr,
        reply: impl Fn(&Message, bool) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<()> {
        let server = Loose::start(self.socket(address), Arc::new(reply)).await?;
        self.running.push(Running::Loose { _server: server });
        Ok(())
    }
}

/// A zone as the platform's own server has it.
///
/// # Errors
/// All that would break it.
pub fn zone(origin: &str, text: &str, key: Option<Arc<ZoneKey>>) -> anyhow::Result<Zone> {
    let origin = Name::from_ascii(origin)?;
    let records = master::read(text, &origin).context("the zone's text")?;
    Zone::new(origin, records, key)
        .map_err(|problems| anyhow::anyhow!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))
}

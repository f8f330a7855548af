//! Shorthands over the peers.

use std::time::Duration;

use lookup::{Lookup, Name, RData, Record, Settings};
pub use peers::head;
use peers::{Net, World};

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A root and `example.`, which has the lines that the function makes.
pub async fn world(lines: impl FnOnce(&mut Net) -> String) -> World {
    let mut net = Net::new().unwrap();
    let lines = lines(&mut net);
    World::plain(net, &lines).await.unwrap()
}

pub fn settings(world: &World) -> Settings {
    Settings {
        roots: vec![world.root().parse().unwrap()],
        servers: world.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
        trust_anchors: world.anchors().try_into().unwrap(),
        server_timeout: Duration::from_millis(600),
        ..Settings::default()
    }
}

pub fn lookup(world: &World) -> Lookup {
    Lookup::new(settings(world))
}

/// Data in master-file form.
pub fn data(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.data.to_string()).collect()
}

pub fn a(owner: &str, address: &str) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(address.parse().unwrap()))
}

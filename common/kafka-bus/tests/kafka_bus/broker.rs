//! On a broker that is a process of its own.

use common::bus::conformance;
use testkit::tansu::Tansu;

use crate::kit::Machine;

#[tokio::test]
async fn the_bus_conforms_on_a_broker() {
    let (broker, store) = (Tansu::start(), tempfile::tempdir().unwrap());
    let machine = Machine::new(store.path());
    conformance(&machine.bus(&broker.address()).await).await.unwrap();
}

//! The port's own suite.

use common::runtime::AtShutdown;

use crate::kit::{World, settings};

#[tokio::test]
async fn processes_conform() {
    let world = World::new(settings()).await;
    common::runtime::conformance(&world.runtime, &world.registry, &world.node, AtShutdown::End).await.unwrap();
}

//! The port's own suite.

use common::runtime::AtShutdown;

use crate::kit::{World, run, settings};

#[test]
fn a_cluster_conforms() {
    run(async {
        let world = World::new(settings()).await;
        common::runtime::conformance(&world.runtime, &world.cluster.registry, "20.0.0", AtShutdown::GoOn)
            .await
            .unwrap();
    });
}

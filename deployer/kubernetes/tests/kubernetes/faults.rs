//! An API server that is killed, restarted and halted while apps run.

use std::time::Duration;

use common::revision::RevisionStatus;

use crate::kit::{SERVER, World, get, run_alone, settings};

#[test]
fn apps_go_on_while_the_api_server_is_away_and_what_happened_is_told_afterwards() {
    run_alone(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        let at = world.runtime.start(&app).await.unwrap().first();
        let kubernetes = &world.cluster.kubernetes;

        tokio::task::block_in_place(|| kubernetes.pause_api());
        assert!(get(at, "/say/paused").await.is_some());
        get(at, "/crash").await;
        tokio::task::block_in_place(|| kubernetes.resume_api());
        world.ledger.until(|s| matches!(s, RevisionStatus::Running { restarts: 1, .. })).await;

        tokio::task::block_in_place(|| kubernetes.restart_api());
        get(at, "/say/restarted").await;
        world.log_until(&app, "restarted").await;
        let started = world.runtime.start(&world.app(SERVER).await).await.unwrap();
        assert!(get(started.first(), "/").await.is_some());
        let records = world.log_until(&app, "restarted").await;
        let count = |text: &str| records.iter().filter(|record| record.text == text).count();
        assert_eq!([count("paused"), count("restarted"), count("out of luck")], [1, 1, 1]);
    });
}

#[test]
fn a_start_waits_for_an_api_server_that_comes_back() {
    run_alone(async {
        let world = World::new(settings()).await;
        let app = world.app(SERVER).await;
        tokio::task::block_in_place(|| world.cluster.kubernetes.pause_api());
        let runtime = world.runtime.clone();
        let starting = tokio::spawn(async move { runtime.start(&app).await });
        // Longer than one try of a request may take would be long for a test; that it waits at all is what counts.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!starting.is_finished());
        tokio::task::block_in_place(|| world.cluster.kubernetes.resume_api());
        assert!(starting.await.unwrap().is_ok());
    });
}

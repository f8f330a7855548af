//! Starts, and why they fail.

use std::time::Duration;

use common::runtime::StartError;
use kubernetes::{Quota, Settings};

use crate::kit::{SERVER, World, get, run, settings};
use crate::kubelet::OUT_OF_MEMORY;

#[test]
fn each_instance_answers_at_an_address_of_its_own() {
    run(async {
        let world = World::new(Settings { replicas: 2, ..settings() }).await;
        let endpoints = world.runtime.start(&world.app(SERVER).await).await.unwrap();
        let mut answers = Vec::new();
        for at in endpoints.iter() {
            assert_eq!(get(at, "/").await, Some(at.ip().to_string()));
            answers.push(at);
        }
        answers.dedup();
        assert_eq!(answers.len(), 2);
    });
}

#[test]
fn an_app_that_ends_is_told_with_how_and_its_last_lines_without_secrets() {
    run(async {
        let world = World::new(settings()).await;
        let app = world.app("console.error('no database at', process.env.SECRET); process.exit(3)").await;
        let error = world.runtime.start(&app).await.unwrap_err().to_string();
        assert!(error.contains("it ended with exit code 3") && error.contains("no database at ***"), "{error}");
        let hungry = world.app(&format!("process.exit({OUT_OF_MEMORY})")).await;
        let error = world.runtime.start(&hungry).await.unwrap_err().to_string();
        assert!(error.contains("more than its 512 MiB of memory"), "{error}");
        assert!(world.runtime.running().await.is_empty());
    });
}

#[test]
fn an_app_that_is_not_healthy_in_time_is_told_what_its_health_check_was_answered() {
    run(async {
        let world = World::new(Settings { start_timeout: Duration::from_secs(1), ..settings() }).await;
        let script = SERVER.replace("if (!hangs) response.end(process.env.HOST);", "response.writeHead(503).end();");
        let sick = common::ledger::App { health_path: Some("/health".to_owned()), ..world.app(&script).await };
        let error = world.runtime.start(&sick).await.unwrap_err();
        assert_eq!(error.code(), "app_unhealthy");
        assert!(error.to_string().contains("GET /health was answered with status 503"), "{error}");
        let silent = world.app("setInterval(() => {}, 1000)").await;
        let error = world.runtime.start(&silent).await.unwrap_err();
        assert_eq!(error.code(), "app_never_listened", "{error}");
    });
}

#[test]
fn an_app_for_which_there_is_no_room_is_told_what_the_scheduler_says() {
    run(async {
        let world = World::new(Settings { schedule_timeout: Duration::from_secs(3), ..settings() }).await;
        world.cluster.kubelet.is_full_for(&world.namespace());
        let error = world.runtime.start(&world.app(SERVER).await).await.unwrap_err();
        assert!(
            matches!(&error, StartError::NoRoom { detail, .. } if detail.contains("Insufficient memory")),
            "{error:?}"
        );
    });
}

#[test]
fn an_account_that_has_all_that_it_may_is_told_so() {
    run(async {
        let world = World::new(Settings { quota: Quota { pods: 1, ..Quota::default() }, ..settings() }).await;
        world.runtime.start(&world.app(SERVER).await).await.unwrap();
        let error = world.runtime.start(&world.app(SERVER).await).await.unwrap_err();
        assert!(matches!(&error, StartError::Quota(detail) if detail.contains("pods=1")), "{error:?}");
    });
}

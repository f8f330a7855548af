//! How apps end.

use std::time::Duration;

use common::revision::RevisionStatus;
use runtime::Settings;

use crate::kit::{SERVER, World, get, said, settings, texts, unpacked, with_env};

/// Far longer than a test: a drain that a test ends, or never sees the end of.
const LONG: Duration = Duration::from_secs(600);

/// Ends in an orderly way on SIGTERM, after some work.
const ORDERLY: &str = "
    process.on('SIGTERM', () => {
        console.log('got SIGTERM');
        setTimeout(() => { console.log('saved'); process.exit(0); }, 300);
    });
";

/// Does not end on SIGTERM.
const STUBBORN: &str = "process.on('SIGTERM', () => console.log('not me'));";

#[tokio::test]
async fn requests_in_flight_finish_before_the_app_is_told_to_end() {
    let world = World::new(Settings { drain_delay: Duration::from_secs(3), ..settings() }).await;
    // As most apps: nothing is done about SIGTERM.
    let script = "
        require('http').createServer((request, response) => {
            console.log('at work');
            setTimeout(() => response.end('done'), 1000);
        }).listen(process.env.PORT);
    ";
    let app = world.app(script).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    let answer = tokio::spawn(async move { get(at, "/").await });
    world.log_until(&app, "at work").await;
    world.runtime.stop(&app.deployment).await;
    assert_eq!(world.ledger.until(|_| true).await, RevisionStatus::Stopped, "told before the app ends");
    assert_eq!(answer.await.unwrap().as_deref(), Some("done"));
    world.log_until(&app, "Stopped.").await;
    assert_eq!(get(at, "/").await, None);
    assert_eq!(world.ledger.reports(), [RevisionStatus::Stopped]);
}

#[tokio::test]
async fn an_app_gets_sigterm_and_time_to_end_also_behind_a_shell() {
    let world = World::new(settings()).await;
    for command in ["node server.cjs", "true && node server.cjs; echo never said"] {
        let app = world.app_started_with(&format!("{ORDERLY}{SERVER}"), command).await;
        world.runtime.start(&app).await.unwrap();
        world.runtime.stop(&app.deployment).await;
        let log = world.log_until(&app, "Stopped.").await;
        assert_eq!(said(&log), ["listening", "got SIGTERM", "saved"], "{command}");
    }
}

#[tokio::test]
async fn an_app_that_does_not_end_is_killed_and_its_folder_is_gone() {
    let world = World::new(Settings { grace: Duration::from_millis(300), ..settings() }).await;
    let app = world.app(&format!("{STUBBORN}{SERVER}")).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    world.runtime.stop(&app.deployment).await;
    let log = world.log_until(&app, "Stopped.").await;
    let log = texts(&log);
    assert!(log.contains(&"not me"), "{log:#?}");
    assert!(log.contains(&"It did not end on SIGTERM and was killed."), "{log:#?}");
    assert_eq!(get(at, "/").await, None);
    // A start waits for what is still going on.
    world.runtime.start(&app).await.unwrap();
    assert_eq!(unpacked(&world).into_iter().collect::<Vec<_>>(), [app.deployment.to_string()]);
}

#[tokio::test]
async fn an_app_that_is_wanted_again_while_it_drains_just_goes_on() {
    let world = World::new(Settings { drain_delay: LONG, ..settings() }).await;
    let app = world.app(SERVER).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    let process = get(at, "/").await;
    world.runtime.stop(&app.deployment).await;
    world.ledger.until(|status| *status == RevisionStatus::Stopped).await;
    assert!(world.runtime.running().await.is_empty());
    assert_eq!(world.runtime.start(&app).await.unwrap().first(), at);
    assert_eq!(get(at, "/").await, process);
    assert_eq!(world.runtime.running().await, std::slice::from_ref(&app.deployment));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_and_a_start_at_the_same_moment_leave_it_running() {
    let world = World::new(Settings { drain_delay: LONG, ..settings() }).await;
    let app = world.app(SERVER).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    for _ in 0..100 {
        world.runtime.stop(&app.deployment).await;
        assert_eq!(world.runtime.start(&app).await.unwrap().first(), at);
        // The start was answered, so nothing may be told any more that came before it.
        let told = world.ledger.reports().len();
        tokio::task::yield_now().await;
        assert_eq!(world.ledger.reports().len(), told);
    }
    assert!(get(at, "/").await.is_some());
}

#[tokio::test]
async fn an_app_that_drains_is_started_anew_when_its_variables_have_changed() {
    let world = World::new(settings()).await;
    let script = "require('http').createServer((q, r) => r.end(process.env.COLOUR)).listen(process.env.PORT)";
    let app = world.app(script).await;
    let green = with_env(app.clone(), &[("COLOUR", "green")]);
    let at = world.runtime.start(&green).await.unwrap().first();
    assert_eq!(get(at, "/").await.as_deref(), Some("green"));
    world.runtime.stop(&app.deployment).await;
    let at = world.runtime.start(&with_env(app, &[("COLOUR", "blue")])).await.unwrap().first();
    assert_eq!(get(at, "/").await.as_deref(), Some("blue"));
}

#[tokio::test]
async fn a_shutdown_ends_all_within_its_time_and_tells_so() {
    let world = World::new(Settings { drain_delay: LONG, grace: LONG, ..settings() }).await;
    let orderly = world.app(&format!("{ORDERLY}{SERVER}")).await;
    let stubborn = world.app(&format!("{STUBBORN}{SERVER}")).await;
    let draining = world.app(SERVER).await;
    let mut at = Vec::new();
    for app in [&orderly, &stubborn, &draining] {
        at.push(world.runtime.start(app).await.unwrap().first());
    }
    world.runtime.stop(&draining.deployment).await;
    world.runtime.shutdown(Duration::from_secs(5)).await;
    for at in at {
        assert_eq!(get(at, "/").await, None);
    }
    assert_eq!(said(&world.log_until(&orderly, "Stopped.").await), ["listening", "got SIGTERM", "saved"]);
    let log = world.log_until(&stubborn, "Stopped.").await;
    assert!(texts(&log).contains(&"Stopping: the platform shuts down."), "{log:#?}");
    assert_eq!(world.ledger.reports(), [RevisionStatus::Stopped]);
    assert!(unpacked(&world).is_empty());
}

//! What ends or hangs is started again, and the control plane is told all of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::revision::RevisionStatus;
use runtime::Settings;

use crate::kit::{World, get, names, settings, texts, with_health};

/// Ends, or stops to answer, when it is told to.
const FRAGILE: &str = "
    let hangs = false;
    require('http').createServer((request, response) => {
        if (request.url === '/crash') { console.error('out of luck'); process.exit(5); }
        if (request.url === '/abort') process.abort();
        if (request.url === '/hang') hangs = true;
        if (!hangs) response.end(String(process.pid));
    }).listen(process.env.PORT);
";

fn is_running(status: &RevisionStatus) -> bool {
    status.endpoints().is_some()
}

#[tokio::test]
async fn an_app_that_crashes_is_started_again_with_the_reason_told() {
    let world = World::new(settings()).await;
    let app = world.app(FRAGILE).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    assert!(world.ledger.reports().is_empty(), "the caller reports the first start");

    get(at, "/crash").await;
    let status = world.ledger.until(is_running).await;
    let RevisionStatus::Running { endpoints, restarts: 1 } = &status else { panic!("{status:?}") };
    assert!(get(endpoints.first(), "/").await.is_some());
    get(endpoints.first(), "/abort").await;
    let status = world.ledger.until(|s| matches!(s, RevisionStatus::Running { restarts: 2, .. })).await;
    assert!(get(status.endpoints().unwrap().first(), "/").await.is_some());
    assert_eq!(world.runtime.start(&app).await.unwrap().first(), status.endpoints().unwrap().first());

    let reports = world.ledger.reports();
    assert_eq!(names(&reports), ["restarting", "running", "restarting", "running"]);
    let reasons: Vec<&str> = reports
        .iter()
        .filter_map(|r| if let RevisionStatus::Restarting { reason, .. } = r { Some(reason.as_str()) } else { None })
        .collect();
    let expected = ["The app ended: it ended with exit code 5.", "The app ended: it was ended by signal SIGABRT."];
    assert_eq!(reasons, expected);
    let log = world.log_until(&app, "SIGABRT").await;
    let log = texts(&log);
    let at = |text: &str| log.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {log:#?}"));
    assert!(at("Healthy") < at("out of luck") && at("out of luck") < at("exit code 5. It is started again in"));
}

#[tokio::test]
async fn an_app_whose_heap_is_full_is_told_to_have_run_out_of_memory() {
    // As Node says it: before so many frames that the line is not among the last ones.
    let says = "require('http').createServer(() => {
        const frames = Array.from({ length: 40 }, (_, n) => ` ${n}: 0xb8d0a3 node::Abort() [node]`).join('\\n');
        const error = 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory';
        require('fs').writeSync(2, `${error}\\n${frames}\\n`);
        process.abort();
    }).listen(process.env.PORT);";
    let world = World::new(settings()).await;
    let app = world.app(says).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    get(at, "/").await;
    let status = world.ledger.until(|status| matches!(status, RevisionStatus::Restarting { .. })).await;
    let RevisionStatus::Restarting { reason, .. } = status else { unreachable!("waited for") };
    let expected = "it ran out of memory: Node's heap filled its part of the";
    assert!(reason.contains(expected), "{reason}");
}

#[tokio::test]
async fn an_app_that_crashes_again_while_it_starts_is_tried_again() {
    let world = World::new(settings()).await;
    // Counts its starts beside its code; every second one fails.
    let script = format!(
        "const fs = require('fs');
         fs.appendFileSync('starts', 'x');
         if (fs.statSync('starts').size === 2) {{ console.error('not yet'); process.exit(9); }}
         {FRAGILE}"
    );
    let app = world.app(&script).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    get(at, "/crash").await;
    let status = world.ledger.until(is_running).await;
    assert!(matches!(status, RevisionStatus::Running { restarts: 2, .. }), "{status:?}");
    let reports = world.ledger.reports();
    assert_eq!(names(&reports), ["restarting", "restarting", "running"]);
    let RevisionStatus::Restarting { reason, restarts: 2, .. } = &reports[1] else { panic!("{reports:?}") };
    assert_eq!(reason, "The app ended before it was healthy: it ended with exit code 9.");
}

#[tokio::test]
async fn an_app_that_hangs_is_started_again() {
    let quick = Settings {
        liveness_every: Duration::from_millis(50),
        health_timeout: Duration::from_millis(500),
        liveness_failures: 2,
        ..settings()
    };
    let world = World::new(quick).await;
    let app = with_health(world.app(FRAGILE).await, "/");
    let at = world.runtime.start(&app).await.unwrap().first();
    let hanging = tokio::spawn(async move { get(at, "/hang").await });
    let status = world.ledger.until(is_running).await;
    assert!(get(status.endpoints().unwrap().first(), "/").await.is_some());
    assert_eq!(hanging.await.unwrap(), None);
    let first = world.ledger.reports().remove(0);
    let RevisionStatus::Restarting { reason, .. } = first else { panic!("{first:?}") };
    assert_eq!(reason, "The app failed its health check 2 times in a row: GET / was not answered within 500 ms.");
}

#[tokio::test]
async fn a_control_plane_that_is_away_is_told_when_it_is_back() {
    let world = World::new(settings()).await;
    let app = world.app(FRAGILE).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    world.ledger.failing.store(2, Ordering::Release);
    get(at, "/crash").await;
    let status = world.ledger.until(is_running).await;
    assert!(get(status.endpoints().unwrap().first(), "/").await.is_some());
    world.runtime.stop(&app.deployment).await;
    world.ledger.until(|status| *status == RevisionStatus::Stopped).await;
    assert_eq!(names(&world.ledger.reports()).last(), Some(&"stopped"));
}

#[tokio::test]
async fn an_app_that_the_control_plane_does_not_know_any_more_is_stopped() {
    let world = World::new(settings()).await;
    let app = world.app(FRAGILE).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    world.ledger.refusing.store(true, Ordering::Release);
    get(at, "/crash").await;
    world.log_until(&app, "Not started again").await;
    assert!(world.runtime.running().await.is_empty());
}

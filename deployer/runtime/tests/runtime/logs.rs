//! What apps say.

use common::bus::StreamName;
use runtime::Settings;

use crate::kit::{SERVER, World, settings, with_env};

#[tokio::test]
async fn both_streams_and_the_platforms_sentences_are_numbered_and_masked() {
    let world = World::new(settings()).await;
    let script = format!(
        "console.log('the key is', process.env.KEY); console.error('warning'); {}",
        SERVER.replace("'listening'", "'up with ' + process.env.KEY")
    );
    let app = with_env(world.app(&script).await, &[("KEY", "hunter22")]);
    world.runtime.start(&app).await.unwrap();
    world.runtime.stop(&app.deployment).await;
    let log = world.log_until(&app, "Stopped.").await;
    assert!(log.iter().map(|record| record.seq).eq(1..=log.len() as u64));
    let of = |stream: StreamName| log.iter().filter(move |r| r.stream == stream).map(|r| r.text.as_str());
    assert_eq!(of(StreamName::Stdout).collect::<Vec<_>>(), ["the key is ***", "up with ***"]);
    assert_eq!(of(StreamName::Stderr).collect::<Vec<_>>(), ["warning"]);
    let mut system = of(StreamName::System);
    assert!(system.next().unwrap().starts_with("Starting `node server.cjs` with Node "));
    assert!(system.next().unwrap().starts_with("Healthy after "));
}

#[tokio::test]
async fn a_flood_is_cut_and_the_log_says_how_much_was_dropped() {
    let world = World::new(Settings { log_lines_per_second: 100, ..settings() }).await;
    let script = format!("for (let n = 0; n < 20000; n++) console.log('line', n); {SERVER}");
    let app = world.app(&script).await;
    world.runtime.start(&app).await.unwrap();
    world.runtime.stop(&app.deployment).await;
    let log = world.log_until(&app, "Stopped.").await;
    let dropped: u64 = log
        .iter()
        .filter(|record| record.stream == StreamName::System)
        .filter_map(|record| record.text.strip_suffix(" lines were dropped: an app may log 100 lines per second."))
        .map(|number| number.parse::<u64>().unwrap())
        .sum();
    let passed = log.iter().filter(|record| record.stream == StreamName::Stdout).count() as u64;
    // And the line with which it says that it listens.
    assert_eq!(passed + dropped, 20_001);
    assert!(dropped > 0 && log.iter().map(|record| record.seq).eq(1..=log.len() as u64));
}

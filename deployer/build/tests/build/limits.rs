//! Builds that run away end with the reason named.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn an_endless_build_is_ended_and_the_time_is_named() {
    let mut trial = Trial::new(&[("package.json", PACKAGE), ("build.js", "setInterval(() => {}, 1000)")]);
    trial.limits.wall = Duration::from_secs(5);
    let built = trial.build().await;
    assert_eq!(built.error().code(), "limit_time");
    assert!(built.error().to_string().contains("longer than 5 seconds"), "{}", built.error());
}

#[tokio::test]
async fn a_build_that_prints_without_end_is_ended_and_the_bound_is_named() {
    let mut trial = Trial::new(&[("package.json", PACKAGE), ("build.js", "for (;;) console.log('again')")]);
    trial.limits.output.lines = 500;
    let built = trial.build().await;
    assert_eq!(built.error().code(), "limit_output");
    assert!(built.error().to_string().contains("500 lines"), "{}", built.error());
    assert!(built.log.len() < 600);
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_and_the_size_is_named() {
    let script =
        "const fs = require('fs'); const f = fs.openSync('big', 'w'); for (;;) fs.writeSync(f, Buffer.alloc(1 << 20))";
    let mut trial = Trial::new(&[("package.json", PACKAGE), ("build.js", script)]);
    trial.limits.file_size = 8 << 20;
    let built = trial.build().await;
    assert_eq!(built.error().code(), "limit_file_size");
}

#[tokio::test]
async fn a_build_that_is_given_up_leaves_no_process() {
    let mark = format!("given-up-{}", std::process::id());
    let package = PACKAGE.replace("node build.js", &format!("node build.js {mark}"));
    let script = "console.log('running'); setInterval(() => {}, 1000)";
    let trial = Trial::new(&[("package.json", &package), ("build.js", script)]);
    let runs = || {
        std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&mark)
        })
    };
    {
        let mut building = Box::pin(trial.build());
        while !runs() {
            let turn = tokio::time::timeout(Duration::from_millis(20), &mut building).await;
            assert!(turn.is_err(), "the build ended by itself");
        }
    }
    let gone = async {
        while runs() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("its processes are gone");
}

//! Builds that mean harm: each ends with its reason, and other sites keep answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;

use crate::support::{Platform, folder};

#[tokio::test]
async fn builds_that_run_wild_end_with_their_reason_while_other_sites_answer() {
    let platform = Arc::new(
        Platform::start_with(&[
            ("ASTROCLOUD_BUILDS_WALL", "20s"),
            ("ASTROCLOUD_BUILDS_MEMORY", "1GiB"),
            ("ASTROCLOUD_BUILDS_PROCESSES", "200"),
            ("ASTROCLOUD_BUILDS_DISK", "1GiB"),
            ("ASTROCLOUD_BUILDS_FILE_SIZE", "512MiB"),
        ])
        .await,
    );
    platform.deploy_live(folder(&[("index.html", "fine")]).path(), "good", &[]).await;
    let done = Arc::new(AtomicBool::new(false));
    let visitor = tokio::spawn({
        let (platform, done) = (platform.clone(), done.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(platform.get("good", "/").await.status, StatusCode::OK);
                tokio::time::sleep(crate::support::LOOK).await;
            }
        }
    });
    for (build, code, said) in [
        ("bomb() { bomb | bomb & }; bomb; sleep 15; echo survived", "limit_processes", "processes"),
        ("while :; do sleep 30 & done", "limit_processes", "processes"),
        ("dd if=/dev/zero of=big bs=1M count=10240", "limit_file_size", "512 MiB"),
        ("for n in 1 2 3 4; do dd if=/dev/zero of=big$n bs=1M count=400; done; sleep 60", "limit_disk", "1 GiB"),
        ("yes | head -n 10000000", "limit_output", "lines"),
        ("sleep 600", "limit_time", "20 seconds"),
        ("node -e 'const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))'", "limit_memory", "1 GiB"),
    ] {
        let source = folder(&[
            ("package.json", r#"{ "name": "wild", "scripts": { "build": "sh wild.sh" } }"#),
            ("wild.sh", build),
        ]);
        let (outcome, json) = platform.deploy(source.path(), "wild", &[]).await;
        assert_eq!((outcome.code, json["status"].as_str()), (Some(1), Some("failed")), "{build}: {json}");
        let id = json["deployment"].as_str().unwrap();
        let told = platform.api(reqwest::Method::GET, &format!("/deployments/{id}")).await;
        assert_eq!(told["reason"]["code"], code, "{build}: {told}");
        assert!(json["reason"].as_str().unwrap().contains(said), "{build}: {json}");
    }
    done.store(true, Ordering::Relaxed);
    visitor.await.unwrap();
}

#[tokio::test]
async fn a_build_sees_nothing_of_the_platform() {
    let platform = Platform::start_with(&[("PLATFORM_SECRET", "hunter22")]).await;
    let data = platform.folder.path().join("data").canonicalize().unwrap();
    let script = format!(
        "mkdir -p dist; echo start > dist/index.html; env >> dist/index.html; cat {0}/master.key {0}/api-token >> dist/index.html; ls {0} >> dist/index.html; cat /etc/shadow >> dist/index.html; true",
        data.display()
    );
    let source = folder(&[
        ("package.json", r#"{ "name": "spy", "scripts": { "build": "sh spy.sh 2>/dev/null" } }"#),
        ("spy.sh", &script),
    ]);
    let live = platform.deploy_live(source.path(), "spy", &[]).await;
    let told =
        platform.api(reqwest::Method::GET, &format!("/deployments/{}", live["deployment"].as_str().unwrap())).await;
    assert_ne!(told["isolation"], "none", "this host offers a sandbox");
    let seen = platform.get("spy", "/").await.body;
    let key = std::fs::read_to_string(data.join("master.key")).unwrap();
    for secret in ["hunter22", key.trim(), platform.ready.api_token.as_str(), "root:", "astrocloud.db"] {
        assert!(!seen.contains(secret), "{secret} is in {seen}");
    }
    assert!(seen.starts_with("start"));
}

#[tokio::test]
async fn a_canceled_build_leaves_no_process() {
    let platform = Platform::start().await;
    let source = folder(&[
        ("package.json", r#"{ "name": "long", "scripts": { "build": "sh build.sh" } }"#),
        ("build.sh", "echo begun; (setsid sleep 98765 &) ; sleep 98765"),
    ]);
    let at = source.path().to_str().unwrap().to_owned();
    let args = ["deploy", &at, "--project", "long", "--json"];
    let deploy = platform.cli(&args);
    let cancel = async {
        let id = crate::support::until("the build has begun", || async {
            let page = platform.api(reqwest::Method::GET, "/projects/long/deployments").await;
            let id = page["items"].get(0)?["id"].as_str()?.to_owned();
            platform.build_log(&id).await.contains("\nbegun").then_some(id)
        })
        .await;
        platform.cli(&["cancel", &id]).await.ok();
    };
    let (outcome, ()) = tokio::join!(deploy, cancel);
    assert_eq!(
        (outcome.code, outcome.json()["status"].as_str().map(str::to_owned)),
        (Some(1), Some("canceled".to_owned()))
    );
    crate::support::until("every process of the build is gone", || async {
        let left = std::process::Command::new("pgrep").args(["-f", "sleep 98765"]).output().unwrap();
        left.stdout.is_empty().then_some(())
    })
    .await;
}

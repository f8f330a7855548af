//! Node apps: started, checked, restarted, drained, rolled back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::support::{PATIENCE, Platform, answer, folder, host, until, within};

fn express(word: &str) -> TempDir {
    let code = format!(
        r#"
const app = require("express")();
app.get("/", (req, res) => res.send("{word} " + (process.env.WORD ?? "")));
app.get("/headers", (req, res) => res.json(req.headers));
app.get("/slow", (req, res) => setTimeout(() => res.send("slow"), 1500));
app.get("/events", (req, res) => {{
  res.set("content-type", "text/event-stream");
  res.flushHeaders();
  res.write("data: one\n\n");
  req.on("close", () => console.log("the listener is gone"));
}});
app.get("/crash", () => process.exit(3));
app.listen(process.env.PORT, () => console.log("listening with " + process.env.WORD));
"#
    );
    folder(&[
        (
            "package.json",
            r#"{ "name": "app", "scripts": { "start": "node server.js" }, "dependencies": { "express": "^5.1.0" } }"#,
        ),
        ("server.js", &code),
    ])
}

async fn runtime_log(platform: &Platform, deployment: &str) -> String {
    platform.cli(&["logs", deployment, "--runtime"]).await.ok().stdout
}

#[tokio::test]
async fn an_express_app_serves_streams_restarts_and_rolls_back() {
    let platform = Arc::new(Platform::start().await);
    let first = platform.deploy_live(express("one").path(), "api", &["--env", "WORD=hunter22"]).await;
    let id = first["deployment"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("api", "/").await.body, "one hunter22");
    let log = runtime_log(&platform, &id).await;
    assert!(log.contains("listening with ***") && !log.contains("hunter22"), "{log}");

    let forged = platform.request(Method::GET, "api", "/headers").header("x-forwarded-for", "6.6.6.6");
    let headers: serde_json::Value = serde_json::from_str(&answer(forged).await.body).unwrap();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");

    let mut events = platform.request(Method::GET, "api", "/events").send().await.unwrap();
    let event = within(PATIENCE, events.chunk()).await.unwrap().unwrap();
    assert_eq!(event, "data: one\n\n", "an event arrives while the answer is still open");
    drop(events);
    until("the app notices that the listener is gone", || async {
        runtime_log(&platform, &id).await.contains("the listener is gone").then_some(())
    })
    .await;

    // A crash: a reason is shown, and it is back by itself.
    let _ = platform.request(Method::GET, "api", "/crash").send().await;
    until("the app is back", || async {
        let deployment = platform.api(Method::GET, &format!("/deployments/{id}")).await;
        let revision = &deployment["revision"];
        (revision["status"] == "running" && revision["restarts"] == 1).then_some(())
    })
    .await;
    until("visitors get it again", || async {
        (platform.get("api", "/").await.status == StatusCode::OK).then_some(())
    })
    .await;
    assert!(runtime_log(&platform, &id).await.contains("exit code 3"));

    // A new deployment under load: no request fails, and one in flight is answered by the old app.
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let visitor = tokio::spawn({
        let (platform, done, answered) = (platform.clone(), done.clone(), answered.clone());
        async move {
            while !done.load(Ordering::Relaxed) {
                let home = platform.get("api", "/").await;
                assert_eq!(home.status, StatusCode::OK, "{}", home.body);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let slow = tokio::spawn({
        let platform = platform.clone();
        async move {
            let mut last = None;
            for _ in 0..4 {
                last = Some(platform.get("api", "/slow").await);
                assert_eq!(last.as_ref().map(|a| a.status), Some(StatusCode::OK));
            }
            last
        }
    });
    platform.deploy_live(express("two").path(), "api", &[]).await;
    assert_eq!(platform.get("api", "/").await.body, "two hunter22");
    slow.await.unwrap();
    // The first one's own address still answers, although it is not live: a visitor starts it.
    let own = host(&first["deployment_url"]);
    assert_eq!(platform.get(&own, "/").await.body, "one hunter22");
    let back = platform.cli(&["rollback", "--project", "api"]).await.ok();
    assert!(back.stdout.contains("http"), "{}", back.stdout);
    assert_eq!(platform.get("api", "/").await.body, "one hunter22");
    done.store(true, Ordering::Relaxed);
    visitor.await.unwrap();
    assert!(answered.load(Ordering::Relaxed) > 10);
}

/// With a registry, an app's image is there and its start is from there: also that of a rollback to an app which runs
/// nowhere any more.
#[tokio::test]
async fn an_app_runs_from_a_registry_and_so_does_the_one_before_it() {
    let registry = testkit::registry::Registry::start();
    let base = push_base(&registry.host());
    let url = format!("http://{}/astrocloud", registry.host());
    let platform =
        Platform::start_with(&[("ASTROCLOUD_REGISTRY_URL", &url), ("ASTROCLOUD_REGISTRY_BASE_IMAGE", &base)]).await;
    let source = |word: &str| {
        let code = format!("require('http').createServer((_, a) => a.end('{word}')).listen(process.env.PORT)");
        folder(&[
            ("package.json", r#"{ "name": "app", "scripts": { "start": "node server.js" } }"#),
            ("server.js", &code),
        ])
    };
    let first = platform.deploy_live(source("one").path(), "api", &[]).await;
    assert_eq!(platform.get("api", "/").await.body, "one");
    platform.deploy_live(source("two").path(), "api", &[]).await;
    assert_eq!(platform.get("api", "/").await.body, "two");
    let images = format!("http://{}/v2/astrocloud/api/tags/list", registry.host());
    let tags: serde_json::Value = reqwest::get(images).await.unwrap().json().await.unwrap();
    let tags: Vec<&str> = tags["tags"].as_array().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
    assert!(tags.contains(&first["deployment"].as_str().unwrap()) && tags.contains(&"latest"), "{tags:?}");

    // Nothing of what was unpacked outlives the platform, so what runs next is pulled.
    let platform = platform.kill_and_restart().await;
    platform.cli(&["rollback", "--project", "api"]).await.ok();
    assert_eq!(platform.get("api", "/").await.body, "one");
}

/// A base image without a file, which is enough where apps run as processes with this machine's Node.
fn push_base(host: &str) -> String {
    let layout = tempfile::tempdir().unwrap();
    let at = layout.path().join("layout").display().to_string();
    for arguments in [
        vec!["umoci".to_owned(), "init".to_owned(), "--layout".to_owned(), at.clone()],
        vec!["umoci".to_owned(), "new".to_owned(), "--image".to_owned(), format!("{at}:base")],
        ["skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false"]
            .map(ToOwned::to_owned)
            .into_iter()
            .chain([format!("oci:{at}:base"), format!("docker://{host}/images/node:any")])
            .collect(),
    ] {
        let output = std::process::Command::new(&arguments[0]).args(&arguments[1..]).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    format!("{host}/images/node:any")
}

#[tokio::test]
async fn a_fastify_app_is_back_after_the_platform_was_killed() {
    let platform = Platform::start().await;
    let source = folder(&[
        (
            "package.json",
            r#"{ "name": "app", "type": "module", "scripts": { "start": "node server.js" }, "dependencies": { "fastify": "^5.0.0" } }"#,
        ),
        (
            "server.js",
            r#"
import Fastify from "fastify";
const app = Fastify();
app.get("/", async () => ({ pid: process.pid }));
await app.listen({ port: process.env.PORT });
"#,
        ),
    ]);
    let live = platform.deploy_live(source.path(), "fast", &[]).await;
    let told = platform.api(Method::GET, &format!("/deployments/{}", live["deployment"].as_str().unwrap())).await;
    assert_eq!((told["kind"].as_str(), told["framework"].as_str()), (Some("node"), Some("Fastify")));
    assert_eq!(platform.get("fast", "/").await.status, StatusCode::OK);
    let platform = platform.kill_and_restart().await;
    until("the app is back", || async { (platform.get("fast", "/").await.status == StatusCode::OK).then_some(()) })
        .await;
}

#[tokio::test]
async fn an_app_that_never_listens_fails_with_the_reason_and_the_old_one_stays() {
    let platform = Platform::start_with(&[("ASTROCLOUD_APPS_START_TIMEOUT", "5s")]).await;
    let manifest = r#"{ "name": "app", "scripts": { "start": "node server.js" } }"#;
    let good = folder(&[
        ("package.json", manifest),
        ("server.js", "require('http').createServer((q, r) => r.end('good')).listen(process.env.PORT)"),
    ]);
    platform.deploy_live(good.path(), "app", &[]).await;
    for (code, said) in [
        ("setInterval(() => {}, 1000)", "PORT"),
        ("console.error('no database'); process.exit(4)", "exit code 4"),
        ("require('http').createServer((q, r) => r.end()).listen(0)", "PORT"),
    ] {
        let bad = folder(&[("package.json", manifest), ("server.js", code)]);
        let (outcome, json) = platform.deploy(bad.path(), "app", &[]).await;
        assert_eq!((outcome.code, json["status"].as_str()), (Some(1), Some("failed")), "{json}");
        assert!(json["reason"].as_str().unwrap().contains(said), "{code}: {json}");
        assert_eq!(platform.get("app", "/").await.body, "good");
    }
}

#[tokio::test]
async fn an_app_that_ends_by_itself_after_a_while_is_shown_with_its_reason_and_started_again() {
    let platform = Platform::start().await;
    let source = folder(&[
        ("package.json", r#"{ "name": "app", "scripts": { "start": "node server.js" } }"#),
        (
            "server.js",
            "require('http').createServer((q, r) => r.end('up')).listen(process.env.PORT); \
             setTimeout(() => { console.error('out of luck'); process.exit(9); }, 2000);",
        ),
    ]);
    let live = platform.deploy_live(source.path(), "app", &[]).await;
    let path = format!("/deployments/{}", live["deployment"].as_str().unwrap());
    let revision = || async { platform.api(Method::GET, &path).await["revision"].clone() };
    let down = until("the app has ended", || async {
        let revision = revision().await;
        (revision["status"] == "restarting").then_some(revision)
    })
    .await;
    assert!(down["reason"].as_str().unwrap().contains("exit code 9"), "{down}");
    assert!(down["retry_at"].is_string(), "{down}");
    until("the app is back", || async {
        let revision = revision().await;
        (revision["status"] == "running" && revision["restarts"] != 0).then_some(())
    })
    .await;
    let log = runtime_log(&platform, live["deployment"].as_str().unwrap()).await;
    assert!(log.contains("out of luck"), "{log}");
}

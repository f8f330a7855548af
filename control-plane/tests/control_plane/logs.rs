use common::bus::{Line, StreamName, Topic};
use common::id::DeploymentId;
use common::ledger::Output;
use common::time::Timestamp;
use serde_json::json;

use crate::support::{Platform, Socket, TOKEN};

fn lines(from: u64, to: u64) -> Vec<Line> {
    let line = |n: u64| Line { time: Timestamp::now(), stream: StreamName::Stdout, text: format!("line {n}") };
    (from..=to).map(line).collect()
}

fn path(id: &DeploymentId, after: u64) -> String {
    format!("/api/v1/deployments/{id}/logs?after={after}")
}

/// Reads to the end: the records' numbers, and the last state that was told.
async fn drain(socket: &mut Socket) -> (Vec<u64>, String) {
    let (mut seen, mut status) = (Vec::new(), String::new());
    while let Some(message) = socket.next().await {
        match message["type"].as_str().unwrap() {
            "records" => seen.extend(message["records"].as_array().unwrap().iter().map(|r| r["seq"].as_u64().unwrap())),
            "deployment" => message["deployment"]["status"].as_str().unwrap().clone_into(&mut status),
            _ => break,
        }
    }
    (seen, status)
}

#[tokio::test]
async fn early_and_late_followers_get_every_line_once_and_the_end() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    let topic = Topic::build(asked.id.clone());
    let mut early = platform.socket(&path(&asked.id, 0), TOKEN).await;
    let first = early.next().await.unwrap();
    assert_eq!(first["deployment"]["status"], "queued");
    let (_lease, work) = platform.claim().await;
    platform.bus.append(&topic, lines(1, 1500)).await.unwrap();
    let mut late = platform.socket(&path(&asked.id, 0), TOKEN).await;
    let mut again = platform.socket(&path(&asked.id, 1400), TOKEN).await;
    platform.bus.append(&topic, lines(1501, 1600)).await.unwrap();
    let ledger = platform.ledger();
    ledger.built(&work.claim).await.unwrap();
    ledger.succeeded(&work.claim, Output::Static).await.unwrap();
    // The platform's own last line follows the build's 1600.
    for (socket, from) in [(&mut early, 1), (&mut late, 1), (&mut again, 1401)] {
        let (seen, status) = drain(socket).await;
        assert_eq!(seen, (from..=1601).collect::<Vec<_>>());
        assert_eq!(status, "live");
    }
}

#[tokio::test]
async fn a_log_can_be_read_page_by_page_without_a_socket() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let live = platform.deploy("shop").await;
    let page = platform.get(&format!("/deployments/{}/logs", live.id)).await.body;
    assert_eq!(page["records"][0]["seq"], 1);
    assert_eq!(page["records"][0]["stream"], "system");
    assert_eq!(page["finished"], true);
    let rest = platform.get(&format!("/deployments/{}/logs?after=1", live.id)).await.body;
    assert_eq!(rest, json!({ "records": [], "finished": true }));
    let wrong = platform.get(&format!("/deployments/{}/logs?kind=audit", live.id)).await;
    assert_eq!(wrong.problem(), "invalid_request");
}

#[tokio::test]
async fn a_follower_of_an_apps_log_is_told_the_end_when_the_project_is_deleted() {
    let platform = Platform::start().await;
    platform.project("api").await;
    let app = platform.deploy_app("api", "api@sha256:1", "127.0.0.1:4001".parse().unwrap()).await;
    platform.bus.append(&Topic::runtime(app.id.clone()), lines(1, 2)).await.unwrap();
    let mut socket = platform.socket(&format!("/api/v1/deployments/{}/logs?kind=runtime", app.id), TOKEN).await;
    let mut seen = 0;
    while seen < 2 {
        seen += socket.next().await.unwrap()["records"].as_array().map_or(0, Vec::len);
    }
    platform.call(reqwest::Method::DELETE, "/projects/api", None).await;
    assert_eq!(socket.next().await.unwrap()["type"], "end");
    // What the app says while it is stopped goes nowhere.
    platform.bus.append(&Topic::runtime(app.id.clone()), lines(3, 3)).await.unwrap_err();
    assert!(!platform.folder().join("logs").join(app.id.as_str()).exists());
}

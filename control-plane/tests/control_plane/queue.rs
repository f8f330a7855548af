//! What waits on the queue, what need not wait any more, and what was given up.

use std::sync::Arc;

use common::api::{Deployment, DeploymentStatus, QueueStatus};
use redis_queue::{RedisQueue, Settings};
use reqwest::StatusCode;
use serde_json::json;
use testkit::redis::Redis;

use crate::support::{Platform, until};

async fn ask_git(platform: &Platform, branch: Option<&str>) -> Deployment {
    let source = json!({ "type": "git", "url": "https://git.example/shop.git", "branch": branch });
    let answer = platform.post("/projects/shop/deployments", json!({ "source": source })).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    serde_json::from_value(answer.body).unwrap()
}

async fn status(platform: &Platform) -> QueueStatus {
    serde_json::from_value(platform.get("/queue").await.body).unwrap()
}

#[tokio::test]
async fn a_newer_deployment_of_a_branch_takes_the_place_of_those_that_wait() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    let building = ask_git(&platform, None).await;
    platform.claim().await;
    let upload = platform.ask("shop").await;
    let older = ask_git(&platform, None).await;
    let other = ask_git(&platform, Some("preview")).await;
    let newer = ask_git(&platform, None).await;

    let older = platform.read(&older.id).await;
    assert_eq!((older.status, older.superseded_by), (DeploymentStatus::Canceled, Some(newer.id.clone())));
    let reason = older.reason.unwrap();
    assert!(reason.code == "superseded" && reason.message.contains(newer.id.as_str()), "{reason:?}");
    assert_eq!(platform.read(&building.id).await.status, DeploymentStatus::Building);
    for waits in [&upload, &other, &newer] {
        assert_eq!(platform.read(&waits.id).await.status, DeploymentStatus::Queued);
    }
    assert_eq!(status(&platform).await.jobs.unwrap().waiting, 3);
}

#[tokio::test]
async fn while_the_queue_is_away_deployments_say_so_and_afterwards_none_is_lost() {
    let redis = Redis::start();
    let queue = Arc::new(RedisQueue::new(redis.url().parse().unwrap(), Settings::default()).unwrap());
    let platform = Platform::start_on_queue(queue).await;
    platform.project("shop").await;
    platform.project("blog").await;
    let before = platform.ask("shop").await;
    redis.kill();
    let asked = platform.ask("shop").await;
    let unwanted = platform.ask("blog").await;
    assert_eq!(asked.reason.as_ref().unwrap().code, "queue_away");
    assert!(asked.retry_at.is_some());
    let away = status(&platform).await;
    assert!(away.jobs.is_none() && away.away.is_some(), "{away:?}");
    let metrics = platform.get("/queue/metrics").await.body;
    assert!(metrics.as_str().unwrap().contains("astrocloud_queue_up 0"), "{metrics}");
    let canceled = platform.post(&format!("/deployments/{}/cancel", unwanted.id), json!({})).await;
    assert_eq!(canceled.body["status"], "canceled");

    // It comes back with nothing, and gets what the rows say.
    redis.begin();
    for expected in [&before, &asked] {
        let (lease, work) = platform.claim().await;
        assert_eq!(work.claim.deployment, expected.id);
        platform.queue.complete(&lease).await.unwrap();
    }
    let back = until(|| async { status(&platform).await.jobs }).await;
    assert_eq!((back.waiting, back.leased), (0, 0));
    let reason = platform.read(&asked.id).await.reason;
    assert!(reason.is_none_or(|reason| reason.code != "queue_away"));
}

#[tokio::test]
async fn what_was_given_up_is_listed_until_it_is_asked_for_again() {
    let mut platform = Platform::start().await;
    platform.project("shop").await;
    let asked = platform.ask("shop").await;
    let early = platform.post(&format!("/queue/dead/{}/replay", asked.id), json!({})).await;
    assert_eq!((early.status, early.problem()), (StatusCode::CONFLICT, "not_dead"));
    for _ in 0..3 {
        platform.claim().await;
        platform = platform.restart().await;
    }
    assert_eq!(status(&platform).await.dead, 1);
    let dead = platform.get("/queue/dead").await.body;
    assert_eq!(dead["items"][0]["id"], asked.id.as_str());
    assert_eq!(dead["items"][0]["reason"]["code"], "worker_lost");

    let again = platform.post(&format!("/queue/dead/{}/replay", asked.id), json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let (_, work) = platform.claim().await;
    assert_eq!(again.body["id"], work.claim.deployment.as_str());
    assert_eq!(work.source, asked.source);
    assert_eq!(status(&platform).await.dead, 0);
    let twice = platform.post(&format!("/queue/dead/{}/replay", asked.id), json!({})).await;
    assert_eq!(twice.problem(), "not_dead");
}

//! Several control planes on one database.

use common::api::DeploymentStatus;
use common::id::EdgeId;
use common::revision::RevisionStatus;
use common::secret::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{DEPLOYER_TOKEN, Platform, Socket, TOKEN, until, within};

async fn first() -> Platform {
    Platform::start_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await
}

async fn second(first: &Platform) -> Platform {
    let second = first.second_with(|config| config.deployer_token = Some(Secret::new(DEPLOYER_TOKEN))).await;
    until(|| async { (first.control_planes().await.len() == 2).then_some(()) }).await;
    second
}

/// Applies what comes until a message is one that is waited for.
async fn apply_until(edge: &mut Socket, so: impl Fn(&Value) -> bool) -> Value {
    loop {
        let message = edge.apply().await;
        if so(&message) {
            return message;
        }
    }
}

fn names(message: &Value, host: &str) -> bool {
    message["upsert"].as_array().is_some_and(|routes| routes.iter().any(|route| route["host"] == host))
}

#[tokio::test]
async fn a_deployment_is_live_once_the_edges_of_every_control_plane_have_it() {
    let first = first().await;
    let second = second(&first).await;
    let (here, there) = (EdgeId::new(), EdgeId::new());
    let (mut here, mut there) = (first.edge_of(&here).await, second.edge_of(&there).await);
    here.apply().await;
    there.apply().await;
    first.project("shop").await;
    let asked = first.ask("shop").await;
    let (_, work) = first.claim().await;
    let ledger = first.ledger();
    ledger.built(&work.claim).await.unwrap();
    let succeeded = ledger.succeeded(&work.claim, common::ledger::Output::Static);
    let edges = async {
        apply_until(&mut here, |message| names(message, "shop.sites.localhost")).await;
        let told = there.next().await.unwrap();
        assert!(names(&told, "shop.sites.localhost"), "{told}");
        assert_eq!(first.read(&asked.id).await.status, DeploymentStatus::Activating, "an edge has not applied it yet");
        there.send(json!({ "type": "applied", "version": told["version"] })).await;
    };
    let (live, ()) = tokio::join!(succeeded, edges);
    assert!(live.unwrap());
    assert_eq!(second.read(&asked.id).await.status, DeploymentStatus::Live);
}

#[tokio::test]
async fn purges_policies_and_removals_reach_the_edges_of_every_control_plane() {
    let first = first().await;
    let second = second(&first).await;
    first.project("shop").await;
    first.deploy("shop").await;
    let mut edge = second.edge_of(&EdgeId::new()).await;
    edge.apply().await;

    let purge = first.post("/projects/shop/purge", json!({ "everything": true }));
    let told = apply_until(&mut edge, |message| message["purges"][0]["project"] == "shop");
    let (answer, _) = tokio::join!(purge, told);
    assert_eq!((&answer.body["edges"], &answer.body["late"]), (&json!(1), &json!(0)), "{}", answer.body);

    let policy = json!({ "https": { "redirect": true } });
    let set = first.call(Method::PATCH, "/projects/shop/edge", Some(policy));
    let told = apply_until(&mut edge, |message| names(message, "shop.sites.localhost"));
    tokio::join!(set, told);

    let removed = first.call(Method::DELETE, "/projects/shop", None);
    let told = apply_until(&mut edge, |message| {
        message["remove"].as_array().is_some_and(|hosts| hosts.contains(&json!("shop.sites.localhost")))
    });
    tokio::join!(removed, told);
}

#[tokio::test]
async fn an_edge_whose_control_plane_ended_is_waited_for_by_another_until_it_is_back() {
    let first = first().await;
    let second = second(&first).await;
    first.project("shop").await;
    first.deploy("shop").await;
    first.deploy("shop").await;
    let id = EdgeId::new();
    let mut edge = second.edge_of(&id).await;
    edge.apply().await;
    // It is known in the database by now.
    until(|| async { first.control_planes().await.iter().any(|plane| plane.edges == 1).then_some(()) }).await;
    second.end().await;
    drop(edge);
    let rollback = first.post("/projects/shop/rollback", json!({}));
    let back = async {
        let mut edge = first.edge_of(&id).await;
        loop {
            edge.apply().await;
        }
    };
    let answer = tokio::select! {
        answer = rollback => answer,
        () = back => unreachable!("it applies for ever"),
    };
    assert_eq!(answer.body["status"], "live", "{}", answer.body);
    assert!(answer.body["reason"].is_null(), "{}", answer.body);
}

#[tokio::test]
async fn people_and_deployers_hear_on_any_control_plane_what_happens_on_another() {
    let first = first().await;
    let second = second(&first).await;
    let endpoint: std::net::SocketAddr = "127.0.0.1:4001".parse().unwrap();
    let apps = first.two_apps("api", endpoint).await;
    let asked = first.ask("api").await;
    let mut follower = second.socket(&format!("/api/v1/deployments/{}/logs", asked.id), TOKEN).await;
    assert_eq!(follower.next().await.unwrap()["deployment"]["status"], "queued");
    first.claim().await;
    assert_eq!(follower.next().await.unwrap()["deployment"]["status"], "building");

    let ledger = second.ledger();
    let deployer = async {
        let wanted = loop {
            within(ledger.apps_changed()).await;
            if ledger.wanted_apps().await.unwrap().contains(&apps[0]) {
                break ledger.wanted_app(&apps[0]).await.unwrap().unwrap();
            }
        };
        assert!(wanted.once);
        ledger.revision(&apps[0], RevisionStatus::Running { endpoints: endpoint.into(), restarts: 0 }).await.unwrap();
    };
    first.ledger().revision(&apps[0], RevisionStatus::Stopped).await.unwrap();
    let (answer, ()) = tokio::join!(first.post("/projects/api/rollback", json!({})), deployer);
    assert_eq!(answer.body["status"], "live", "{}", answer.body);
}

//! Proofs of control: an authority is told to look only once every edge shows them.

use acme::challenge::Answer;
use serde_json::{Value, json};

use crate::support::{FEED, FEED_TOKEN, Platform, Socket, within};

fn answer(token: &str) -> Answer {
    let (host, token) = ("shop.example".to_owned(), token.to_owned());
    Answer::Http01 { host, key_authorization: format!("{token}.thumb"), token }
}

fn challenge(token: &str) -> Value {
    json!({
        "type": "http01", "host": "shop.example", "token": token, "key_authorization": format!("{token}.thumb"),
    })
}

/// Asks the edges to show an answer, on a task of its own.
fn publish(platform: &Platform, token: &'static str) -> tokio::task::JoinHandle<Result<(), String>> {
    let proofs = platform.plane.issuing().proofs();
    tokio::spawn(async move { proofs.publish(&[answer(token)]).await.map_err(|e| e.to_string()) })
}

/// The next change of challenges that an edge applies.
async fn shown(edge: &mut Socket) -> Value {
    loop {
        let message = edge.apply().await;
        if !message["challenges"].is_null() {
            return message["challenges"].clone();
        }
    }
}

#[tokio::test]
async fn a_proof_counts_once_every_edge_shows_it_and_goes_when_it_is_withdrawn() {
    let platform = Platform::start().await;
    let (mut first, mut second) = (platform.socket(FEED, FEED_TOKEN).await, platform.socket(FEED, FEED_TOKEN).await);
    first.apply().await;
    second.apply().await;
    let mut published = publish(&platform, "one");
    assert_eq!(shown(&mut first).await, json!([challenge("one")]));
    // The second edge has been told, and has not applied it.
    let told = second.next().await.unwrap();
    assert!(futures::poll!(&mut published).is_pending());
    second.send(json!({ "type": "applied", "version": told["version"] })).await;
    within(published).await.unwrap().unwrap();

    // That of another order stands beside it, also for edges that come later and after a restart.
    let published = publish(&platform, "two");
    assert_eq!(shown(&mut first).await, json!([challenge("one"), challenge("two")]));
    second.apply().await;
    within(published).await.unwrap().unwrap();
    let platform = platform.restart().await;
    let mut edge = platform.socket(FEED, FEED_TOKEN).await;
    assert_eq!(shown(&mut edge).await, json!([challenge("one"), challenge("two")]));
    platform.plane.issuing().proofs().withdraw(&[answer("one")]).await.unwrap();
    assert_eq!(shown(&mut edge).await, json!([challenge("two")]));
}

#[tokio::test]
async fn an_edge_that_is_away_for_a_moment_is_waited_for_and_one_that_ended_is_not() {
    let platform = Platform::start().await;
    let mut stays = platform.edge("stays").await;
    let mut leaves = platform.edge("leaves").await;
    let mut breaks = platform.edge("breaks").await;
    for edge in [&mut stays, &mut leaves, &mut breaks] {
        edge.apply().await;
    }
    leaves.close().await;
    drop(breaks);
    let mut published = publish(&platform, "one");
    shown(&mut stays).await;
    assert!(futures::poll!(&mut published).is_pending(), "one edge is away");
    let mut back = platform.edge("breaks").await;
    assert_eq!(shown(&mut back).await, json!([challenge("one")]));
    within(published).await.unwrap().unwrap();
}

#[tokio::test]
async fn edges_of_every_control_plane_show_what_any_of_them_publishes() {
    let first = Platform::start().await;
    let second = first.beside().await;
    let (mut near, mut far) = (first.edge("near").await, second.edge("far").await);
    near.apply().await;
    far.apply().await;
    let mut published = publish(&first, "one");
    shown(&mut near).await;
    assert!(futures::poll!(&mut published).is_pending(), "the other control plane's edge has not got it");
    assert_eq!(shown(&mut far).await, json!([challenge("one")]));
    within(published).await.unwrap().unwrap();
    second.plane.issuing().proofs().withdraw(&[answer("one")]).await.unwrap();
    assert_eq!(shown(&mut near).await, json!([]));
}

#[tokio::test]
async fn a_record_that_nobody_can_set_is_said_so() {
    let platform = Platform::start().await;
    let record = Answer::Dns01 { record: "_acme-challenge.shop.example".into(), value: "v".into() };
    let failed = platform.plane.issuing().proofs().publish(&[record]).await.unwrap_err().to_string();
    assert!(failed.contains("_acme-challenge.shop.example") && failed.contains("zone"), "{failed}");
}

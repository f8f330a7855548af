//! Certificates of names that are wanted no longer.

use std::sync::Arc;

use acme::challenge::{Challenges, Method};
use acme::clock::Clock as _;
use acme::entry::{RevocationReason, Track};
use acme::failure::Failure;
use serde_json::json;

use crate::testkit::{Engine, Small};

const NAME: &str = "a.example.com";

async fn issued() -> (Arc<Small>, Engine) {
    let small = Small::start().await;
    let shelf: Arc<dyn Challenges> = small.shelf();
    let engine = Engine::new(&shelf, vec![(small.authority("small"), None)]);
    engine.want(&[NAME], &[Method::Http01]).await;
    engine.issued(NAME).await;
    (small, engine)
}

#[tokio::test]
async fn what_was_issued_for_a_retired_name_is_revoked_again_and_again_until_it_is() {
    let (small, engine) = issued().await;
    small.books().keeps = true;
    engine.manager.retire(NAME, RevocationReason::CessationOfOperation).await.unwrap();
    let entry = engine.entry(NAME).await;
    assert!(!entry.is_wanted() && entry.current.is_none(), "it is served no more at once: {entry:?}");
    engine.settle().await;
    let entry = engine.entry(NAME).await;
    let Track::Revoking { reason: Some(Failure::Unreachable { .. }), next } = entry.track else {
        panic!("{:?}", entry.track)
    };
    assert!(next > engine.clock.now() && entry.next == next);
    small.books().keeps = false;
    engine.clock.set(next);
    engine.settle().await;
    assert_eq!(small.books().revoked, [json!(5)], "cessationOfOperation, once");
    assert!(engine.store.entry(NAME).await.unwrap().is_none(), "nothing is left of it");
    engine.manager.retire(NAME, RevocationReason::CessationOfOperation).await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_wanted_again_gets_another_certificate_and_the_old_one_is_revoked_all_the_same() {
    let (small, engine) = issued().await;
    let old = engine.entry(NAME).await.current.unwrap();
    small.books().keeps = true;
    engine.manager.retire(NAME, RevocationReason::CessationOfOperation).await.unwrap();
    engine.settle().await;
    engine.want(&[NAME], &[Method::Http01]).await;
    let new = engine.issued(NAME).await;
    assert_ne!(new.id, old.id);
    let entry = engine.entry(NAME).await;
    assert_eq!((entry.revoke.len(), &entry.revoke[0].id), (1, &old.id));
    small.books().keeps = false;
    engine.clock.set(entry.next);
    engine.settle().await;
    assert_eq!(small.books().revoked, [json!(5)]);
    assert_eq!(engine.entry(NAME).await.current.unwrap().id, new.id);
}

#[tokio::test]
async fn an_order_that_runs_ends_with_the_wish_for_it() {
    let small = Small::start().await;
    let shelf: Arc<dyn Challenges> = small.shelf();
    let engine = Engine::new(&shelf, vec![(small.authority("small"), None)]);
    engine.want(&[NAME], &[Method::Http01]).await;
    let lease = acme::store::Lease {
        name: NAME,
        holder: "another process",
        now: engine.clock.now(),
        until: engine.clock.now().after(std::time::Duration::from_secs(30)),
    };
    assert!(engine.store.lease(&lease).await.unwrap());
    let entry = engine.entry(NAME).await;
    engine.manager.retire(NAME, RevocationReason::CessationOfOperation).await.unwrap();
    engine.store.save(&entry, &lease).await.unwrap_err();
    engine.settle().await;
    assert!(engine.store.entry(NAME).await.unwrap().is_none());
    let books = small.books();
    assert_eq!((books.placed.len(), books.revoked.len()), (0, 0));
}

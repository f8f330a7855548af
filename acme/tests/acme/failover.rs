//! Several authorities in order: another one issues when one does not, and why is kept.

use std::sync::Arc;
use std::time::Duration;

use acme::authority::Authority;
use acme::challenge::{Answer, ChallengeError, Challenges, Method};
use acme::client::Client;
use acme::entry::Track;
use acme::entry::{Order, Step};
use acme::failure::Failure;
use acme::issuer::{Issuer as _, Wanted};
use acme::store::memory::Memory;
use async_trait::async_trait;
use common::time::Timestamp;

use crate::testkit::{Edges, Engine, Options, Pebble, keys};

#[tokio::test]
async fn an_authority_that_is_away_or_refuses_is_passed_over_and_the_reason_is_kept() {
    let mut first = Pebble::start(Options { blocked: vec!["blocked.example.com"], ..Options::default() }).await;
    let second = Pebble::beside(&first, Options::default()).await;
    let edges = Edges::of(&first).await;
    let lines = vec![(first.authority("first"), None), (second.authority("second"), None)];
    let engine = Engine::new(&edges.port(), lines);
    engine.want(&["blocked.example.com"], &[Method::Http01]).await;
    let current = engine.issued("blocked.example.com").await;
    assert_eq!(current.authority, "second");
    assert!(matches!(&current.passed_over[..], [t] if matches!(t.failure, Failure::Refused { .. })), "{current:?}");
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    assert_eq!(engine.issued("a.example.com").await.authority, "first");
    first.stop();
    engine.want(&["b.example.com"], &[Method::Http01]).await;
    let current = engine.issued("b.example.com").await;
    assert_eq!(current.authority, "second");
    let [tried] = &current.passed_over[..] else { panic!("{current:?}") };
    assert_eq!(tried.authority, "first");
    assert!(matches!(tried.failure, Failure::Unreachable { .. }), "{tried:?}");
}

#[tokio::test]
async fn with_every_authority_away_the_name_waits_and_says_why_and_until_when() {
    let mut pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let authority = pebble.authority("only");
    pebble.stop();
    let engine = Engine::new(&edges.port(), vec![(authority, None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    let Track::Failing { reason: Failure::Unreachable { detail }, next } = &entry.track else {
        panic!("{:?}", entry.track)
    };
    assert!(detail.contains("refused"), "{detail}");
    let wait = next.since(acme::clock::Clock::now(&*engine.clock));
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(300), "{wait:?}");
}

/// Edges that never come back.
struct Silent;

#[async_trait]
impl Challenges for Silent {
    async fn publish(&self, _answers: &[Answer]) -> Result<(), ChallengeError> {
        std::future::pending().await
    }
    async fn withdraw(&self, _answers: &[Answer]) -> Result<(), ChallengeError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn edges_that_do_not_show_the_proof_are_not_held_against_the_authority() {
    let authority = Authority { api_roots: Some(String::new()), ..Authority::new("ca", "https://ca.invalid/") };
    let clock = Arc::new(acme::clock::System);
    let client = Client::new(authority, Arc::new(Memory::default()), Arc::new(Silent), keys(), clock).unwrap();
    let order = Order {
        authority: "ca".into(),
        rehearsal: false,
        step: Step::Answering { url: "https://ca.invalid/order/1".into(), answers: Vec::new() },
        since: Timestamp::now(),
        replaces: None,
        tried: Vec::new(),
        restarts: 0,
    };
    let wanted = Wanted { names: &["a.example.com".to_owned()], methods: &[Method::Http01] };
    let failed = client.advance(&order, wanted).await.unwrap_err();
    assert!(matches!(failed, Failure::Challenges { .. }) && !failed.is_the_authoritys(), "{failed:?}");
}

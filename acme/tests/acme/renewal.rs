//! What Pebble does not speak: renewal information, profiles, persistent records, and refusals of a kind.

use std::sync::Arc;
use std::time::Duration;

use acme::challenge::{Answer, Challenges, Method};
use acme::clock::Clock as _;
use acme::entry::Track;
use acme::failure::Failure;
use acme::limits::Limits;

use crate::testkit::{Engine, Small};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn shelf(small: &Small) -> Arc<dyn Challenges> {
    small.shelf()
}

#[tokio::test]
async fn a_certificate_is_renewed_in_the_authoritys_window_and_names_the_one_that_it_replaces() {
    let small = Small::start().await;
    let engine = Engine::new(&shelf(&small), vec![(small.authority("small"), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    let old = engine.issued("a.example.com").await;
    let window = old.window.clone().unwrap();
    let entry = engine.entry("a.example.com").await;
    let Track::Active { renew_at } = entry.track else { panic!("{:?}", entry.track) };
    assert!(renew_at >= window.start && renew_at < window.end, "{renew_at} in {window:?}");
    // It is asked again after six hours, as it said; and now it wants the certificate gone at once.
    // Its wait is measured by the system's clock, so that a part of a second may be gone.
    let wait = entry.next.since(engine.clock.now());
    assert!(wait > Duration::from_secs(21_000) && wait <= Duration::from_secs(21_600), "{wait:?}");
    let renewal_id = old.renewal_id.clone().unwrap();
    let past = engine.clock.now().as_millis() / 1000 - 60;
    small.books().windows.insert(renewal_id.clone(), (past - 60, past));
    engine.clock.set(entry.next);
    let new = engine.issued("a.example.com").await;
    assert_ne!(new.id, old.id);
    assert_eq!(small.books().placed.last().unwrap()["replaces"], renewal_id);
}

#[tokio::test]
async fn an_authority_that_does_not_take_the_replacement_is_asked_for_a_plain_renewal() {
    let small = Small::start().await;
    let engine = Engine::new(&shelf(&small), vec![(small.authority("small"), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    let old = engine.issued("a.example.com").await;
    let renewal_id = old.renewal_id.clone().unwrap();
    let past = engine.clock.now().as_millis() / 1000 - 60;
    small.books().windows.insert(renewal_id.clone(), (past - 60, past));
    // Somebody else named it as replaced.
    let other = Engine::new(&shelf(&small), vec![(small.authority("small"), None)]);
    other.want(&["b.example.com"], &[Method::Http01]).await;
    let mut entry = other.entry("b.example.com").await;
    entry.current = Some(acme::entry::Current { next_look: other.clock.now().after(DAY), ..old.clone() });
    let lease = acme::store::Lease {
        name: "b.example.com",
        holder: "test",
        now: other.clock.now(),
        until: other.clock.now().after(DAY),
    };
    assert!(other.store.lease(&lease).await.unwrap());
    other.store.save(&entry, &lease).await.unwrap();
    other.store.release("b.example.com", "test").await.unwrap();
    other.issued("b.example.com").await;
    assert_eq!(small.books().placed.last().unwrap()["replaces"], renewal_id);
    engine.clock.set(engine.entry("a.example.com").await.next);
    let new = engine.issued("a.example.com").await;
    assert_ne!(new.id, old.id);
    assert!(small.books().placed.last().unwrap()["replaces"].is_null());
}

#[tokio::test]
async fn a_profile_is_asked_for_and_one_that_is_not_offered_is_refused_by_name() {
    let small = Small::start().await;
    let mut authority = small.authority("small");
    authority.profile = Some("shortlived".into());
    let engine = Engine::new(&shelf(&small), vec![(authority.clone(), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    let current = engine.issued("a.example.com").await;
    assert_eq!(current.lifetime(), DAY * 6);
    assert_eq!(small.books().placed[0]["profile"], "shortlived");
    authority.profile = Some("eternal".into());
    let engine = Engine::new(&shelf(&small), vec![(authority, None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    let Track::Failing { reason: Failure::Refused { detail }, .. } = &entry.track else { panic!("{:?}", entry.track) };
    assert!(detail.contains("eternal") && detail.contains("classic"), "{detail}");
}

#[tokio::test]
async fn a_persistent_record_proves_a_wildcard_and_stays_for_the_next_order() {
    let small = Small::start().await;
    let engine = Engine::new(&shelf(&small), vec![(small.authority("small"), None)]);
    engine.want(&["a.example.com", "*.a.example.com"], &[Method::DnsPersist01]).await;
    engine.issued("a.example.com").await;
    let shown = small.shelf().answers.lock().unwrap().clone();
    let values: Vec<&str> = shown
        .iter()
        .map(|answer| match answer {
            Answer::DnsPersist01 { record, value } if record == "_validation-persist.a.example.com" => value.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values.len(), 2);
    assert!(values.iter().all(|value| value.starts_with("small.example; accounturi=https://")), "{values:?}");
    assert!(values.iter().any(|value| value.ends_with("; policy=wildcard")), "{values:?}");
}

#[tokio::test]
async fn a_limit_that_the_authority_names_is_waited_for_and_caa_is_told_apart() {
    let small = Small::start().await;
    let engine = Engine::new(&shelf(&small), vec![(small.authority("small"), None)]);
    small.books().refuse = Some((429, "rateLimited", Some(7200)));
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    let Track::RateLimited { reason: Failure::RateLimited { .. }, next } = entry.track else {
        panic!("{:?}", entry.track)
    };
    assert_eq!(next.since(engine.clock.now()), Duration::from_secs(7200));
    small.books().refuse = Some((403, "caa", None));
    engine.clock.set(next);
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    assert!(matches!(entry.track, Track::CaaBlocked { .. }), "{:?}", entry.track);
    small.books().refuse = Some((503, "serverInternal", None));
    engine.clock.set(entry.next);
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    assert!(matches!(entry.track, Track::Failing { reason: Failure::Unreachable { .. }, .. }), "{:?}", entry.track);
    small.books().refuse = None;
    engine.clock.set(entry.next);
    engine.issued("a.example.com").await;
}

#[tokio::test]
async fn orders_beyond_a_limit_wait_for_their_turn_and_do_not_reach_the_authority() {
    let small = Small::start().await;
    let mut authority = small.authority("small");
    authority.limits = Limits::lets_encrypt();
    let engine = Engine::new(&shelf(&small), vec![(authority, None)]);
    for i in 0..60 {
        engine.want(&[&format!("n{i}.example.com")], &[Method::Http01]).await;
    }
    engine.settle().await;
    let placed = small.books().placed.len();
    // 50 are published; a margin is left to others.
    assert_eq!(placed, 48);
    let mut waiting = 0;
    for i in 0..60 {
        let entry = engine.entry(&format!("n{i}.example.com")).await;
        if let Track::RateLimited { reason, next } = &entry.track {
            assert!(reason.to_string().contains("small/domain/example.com"), "{reason}");
            assert!(*next > engine.clock.now());
            waiting += 1;
        }
    }
    assert_eq!(waiting, 12);
}

//! Names get certificates, by every method, and what is broken is told.

use std::time::Duration;

use acme::authority::ExternalAccount;
use acme::challenge::Method;
use acme::check::Trust;
use acme::entry::{RevocationReason, Track};
use acme::failure::Failure;
use common::secret::{KeyRing, MasterKey, Secret};
use x509_parser::parse_x509_certificate;

use crate::testkit::{Edges, Engine, Options, Pebble, engine_with, master_key};

#[tokio::test]
async fn a_name_gets_a_certificate_by_each_method_and_nothing_is_left_shown() {
    // An authority that takes its time, as real ones do.
    let pebble = Pebble::start(Options { sleepy: true, ..Options::default() }).await;
    let edges = Edges::of(&pebble).await;
    let mut authority = pebble.authority("pebble");
    authority.trust = Trust::Roots(pebble.root(0).await);
    authority.contacts = vec!["mailto:ops@example.com".into()];
    let engine = Engine::new(&edges.port(), vec![(authority, None)]);
    engine.want(&["http.example.com"], &[Method::Http01]).await;
    engine.want(&["tls.example.com", "www.tls.example.com"], &[Method::TlsAlpn01]).await;
    engine.want(&["dns.example.com", "*.dns.example.com"], &[Method::Http01, Method::Dns01]).await;
    let mut news = engine.manager.news();
    for name in ["http.example.com", "tls.example.com", "dns.example.com"] {
        let current = engine.issued(name).await;
        let certificate = engine.manager.certificate(&current.id).await.unwrap().unwrap();
        assert!(certificate.chain_pem.matches("BEGIN CERTIFICATE").count() >= 2);
        assert!(certificate.key_pem.reveal().contains("PRIVATE KEY"));
        let kept = engine.store.certificate(&current.id).await.unwrap().unwrap();
        assert!(!kept.sealed_key.contains("PRIVATE"));
        assert!(news.recv().await.is_ok());
    }
    assert_eq!(edges.count(), 0);
    let account = engine.store.account("pebble").await.unwrap().unwrap();
    assert!(!account.contains("key") && !account.contains("http"));
}

#[tokio::test]
async fn a_name_that_does_not_answer_is_tried_again_with_growing_waits_and_rehearsed_first() {
    let pebble = Pebble::start(Options::default()).await;
    let staging = Pebble::beside(&pebble, Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let lines = vec![(pebble.authority("real"), Some(staging.authority("staging")))];
    let engine = Engine::new(&edges.port(), lines);
    edges.deaf.store(true, std::sync::atomic::Ordering::SeqCst);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    let Track::Failing { reason: Failure::Validation { name, detail }, next } = &entry.track else {
        panic!("{:?}", entry.track)
    };
    assert_eq!(name, "a.example.com");
    assert!(detail.contains("404") || detail.contains("unauthorized"), "{detail}");
    assert_eq!((entry.failures, entry.next), (1, *next));
    assert_eq!(pebble.logged("Added order"), 1);
    engine.clock.set(*next);
    engine.settle().await;
    // Only the staging side was asked.
    assert_eq!((pebble.logged("Added order"), staging.logged("Added order")), (1, 1));
    let entry = engine.entry("a.example.com").await;
    assert_eq!(entry.failures, 2);
    // It is mended: rehearsed, and then in earnest.
    edges.deaf.store(false, std::sync::atomic::Ordering::SeqCst);
    engine.manager.check_now("a.example.com").await.unwrap();
    let current = engine.issued("a.example.com").await;
    assert_eq!(current.authority, "real");
    assert_eq!(engine.entry("a.example.com").await.failures, 0);
    assert!(staging.logged("Issued certificate") >= 1);
}

#[tokio::test]
async fn an_account_is_bound_to_one_elsewhere_where_the_authority_wants_it() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = Pebble::start(Options { external: Some(("kid-1", key)), ..Options::default() }).await;
    let edges = Edges::of(&pebble).await;
    let mut authority = pebble.authority("pebble");
    let engine = Engine::new(&edges.port(), vec![(authority.clone(), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.settle().await;
    let entry = engine.entry("a.example.com").await;
    let Track::Failing { reason: Failure::Refused { detail }, .. } = &entry.track else { panic!("{:?}", entry.track) };
    assert!(detail.contains("xternal"), "{detail}");
    authority.external_account = Some(ExternalAccount { id: "kid-1".into(), key: Secret::new(key) });
    let engine = Engine::new(&edges.port(), vec![(authority, None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.issued("a.example.com").await;
}

#[tokio::test]
async fn the_preferred_chain_is_chosen_among_those_that_are_offered() {
    let pebble = Pebble::start(Options { alternates: 2, ..Options::default() }).await;
    let edges = Edges::of(&pebble).await;
    let root = pebble.root(2).await;
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(root.as_bytes()).unwrap();
    let der: rustls_pki_types::CertificateDer<'_> = der;
    let name = parse_x509_certificate(&der)
        .unwrap()
        .1
        .subject()
        .iter_common_name()
        .next()
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let mut authority = pebble.authority("pebble");
    authority.preferred_chain = Some(name);
    // Only the chain that is preferred leads there.
    authority.trust = Trust::Roots(root);
    let engine = Engine::new(&edges.port(), vec![(authority, None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    engine.issued("a.example.com").await;
}

#[tokio::test]
async fn a_certificate_whose_chain_leads_elsewhere_does_not_take_the_place_of_a_good_one() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let engine = Engine::new(&edges.port(), vec![(pebble.authority("pebble"), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    let good = engine.issued("a.example.com").await;
    let stranger = Pebble::start(Options::default()).await;
    let mut broken = pebble.authority("pebble");
    broken.trust = Trust::Roots(stranger.root(0).await);
    let again = crate::testkit::engine(engine.store.clone(), &edges.port(), vec![(broken, None)]);
    again.manager.replace("a.example.com", RevocationReason::Superseded).await.unwrap();
    again.settle().await;
    let entry = again.entry("a.example.com").await;
    assert!(matches!(&entry.track, Track::Failing { reason: Failure::BadCertificate { .. }, .. }), "{:?}", entry.track);
    assert_eq!(entry.current.unwrap().id, good.id);
    assert!(again.manager.certificate(&good.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_replaced_certificate_is_revoked_once_the_new_one_is_there() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let engine = Engine::new(&edges.port(), vec![(pebble.authority("pebble"), None)]);
    engine.want(&["a.example.com"], &[Method::Http01]).await;
    let old = engine.issued("a.example.com").await;
    engine.manager.replace("a.example.com", RevocationReason::KeyCompromise).await.unwrap();
    let new = engine.issued("a.example.com").await;
    assert_ne!(old.id, new.id);
    assert!(engine.entry("a.example.com").await.revoke.is_empty());
    for (current, status) in [(&old, "Revoked"), (&new, "Valid")] {
        let kept = engine.store.certificate(&current.id).await.unwrap().unwrap();
        let der: rustls_pki_types::CertificateDer<'_> =
            rustls_pki_types::pem::PemObject::from_pem_slice(kept.chain_pem.as_bytes()).unwrap();
        let serial = parse_x509_certificate(&der).unwrap().1.tbs_certificate.serial.to_str_radix(16);
        assert_eq!(pebble.status_of(&serial).await, status);
    }
}

#[tokio::test]
async fn a_new_master_key_takes_over_every_certificate_and_the_account() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let old = Engine::new(&edges.port(), vec![(pebble.authority("pebble"), None)]);
    old.want(&["a.example.com"], &[Method::Http01]).await;
    let current = old.issued("a.example.com").await;
    let key = || {
        let folder = tempfile::tempdir().unwrap();
        MasterKey::load_or_create(&folder.path().join("master.key")).unwrap()
    };
    let new = key();
    let both = KeyRing::new(new.clone(), vec![master_key()]);
    let rotated = engine_with(both, old.store.clone(), &edges.port(), vec![(pebble.authority("pebble"), None)]);
    assert_eq!(rotated.manager.reseal().await.unwrap(), 1);
    assert_eq!(rotated.manager.reseal().await.unwrap(), 0);
    rotated.want(&["b.example.com"], &[Method::Http01]).await;
    rotated.issued("b.example.com").await;
    // The old key is needed no longer, and opens nothing.
    let lines = || vec![(pebble.authority("pebble"), None)];
    let alone = engine_with(new.into(), old.store.clone(), &edges.port(), lines());
    assert!(alone.manager.certificate(&current.id).await.unwrap().is_some());
    alone.want(&["c.example.com"], &[Method::Http01]).await;
    alone.issued("c.example.com").await;
    assert!(old.manager.certificate(&current.id).await.is_err());
    assert_eq!(pebble.logged("Added order"), 3);
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_the_old_one_serves_until_then() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let engine = Engine::new(&edges.port(), vec![(pebble.authority("pebble"), None)]);
    engine.want(&["a.example.com"], &[Method::TlsAlpn01]).await;
    let old = engine.issued("a.example.com").await;
    // Pebble 2.4 has no renewal information, so that the time follows from the life alone.
    assert_eq!(old.window, None);
    let entry = engine.entry("a.example.com").await;
    let Track::Active { renew_at } = entry.track else { panic!("{:?}", entry.track) };
    let part = renew_at.since(old.not_before).as_secs_f64() / old.lifetime().as_secs_f64();
    assert!((0.58..0.67).contains(&part), "{part}");
    engine.clock.set(renew_at.before(Duration::from_secs(1)));
    assert_eq!(engine.manager.work().await.unwrap(), Some(renew_at));
    assert_eq!(engine.entry("a.example.com").await.current.unwrap().id, old.id);
}

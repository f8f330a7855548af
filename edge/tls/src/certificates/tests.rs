#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use common::secret::Secret;
use rcgen::KeyPair;

use super::*;
use crate::testkit::{Authority, Memory, certificates};

fn id(text: &str) -> Arc<str> {
    text.into()
}

fn ids(texts: &[&str]) -> HashSet<Arc<str>> {
    texts.iter().map(|text| id(text)).collect()
}

#[tokio::test]
async fn many_visitors_of_a_cold_name_cause_one_fetch_and_a_restart_none() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let source = Memory::new(vec![authority.issue("a1", &["a.example"])]);
    let store = Arc::new(certificates(folder.path(), &source));
    let all = (0..50).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.get(&id("a1"), None, "a.example").await.unwrap() })
    });
    for visitor in all.collect::<Vec<_>>() {
        assert!(visitor.await.unwrap().covers("a.example"));
    }
    assert_eq!(source.fetches(), 1);

    source.take("a1");
    let again = certificates(folder.path(), &source);
    assert_eq!(&**again.get(&id("a1"), None, "a.example").await.unwrap().id(), "a1");
    assert_eq!(source.fetches(), 1);
}

#[tokio::test]
async fn files_are_sealed_and_readable_by_the_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Authority::new().issue("a1", &["a.example"]);
    let source = Memory::new(vec![certificate.clone()]);
    certificates(folder.path(), &source).get(&id("a1"), None, "a.example").await.unwrap();
    let path = folder.path().join("certificates/a1.certificate");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("BEGIN") && !text.contains("a.example"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing half-written is left");

    fs::write(&path, "damaged").unwrap();
    let again = certificates(folder.path(), &source);
    assert!(again.get(&id("a1"), None, "a.example").await.is_ok(), "a damaged file is fetched again");
    assert_eq!(source.fetches(), 2);
}

#[tokio::test]
async fn what_can_not_be_used_is_refused_and_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let good = authority.issue("good", &["a.example"]);
    let foreign = Secret::new(KeyPair::generate().unwrap().serialize_pem());
    let broken = |id: &str| Certificate { id: id.to_owned(), ..good.clone() };
    let source = Memory::new(vec![
        Certificate { key_pem: foreign, ..broken("foreign-key") },
        Certificate { chain_pem: String::new(), ..broken("empty-chain") },
        Certificate { chain_pem: good.chain_pem.repeat(11), ..broken("long-chain") },
        Certificate { chain_pem: good.chain_pem.replace("MII", "AAA"), ..broken("no-certificate") },
        Certificate { key_pem: Secret::new("none"), ..broken("no-key") },
    ]);
    source.all.lock().unwrap().insert("swapped".to_owned(), good.clone());
    let store = certificates(folder.path(), &source);
    for (name, reason) in [
        ("foreign-key", "key"),
        ("empty-chain", "0 certificates"),
        ("long-chain", "11 certificates"),
        ("no-certificate", "certificate"),
        ("no-key", "PEM"),
        ("swapped", "`good`"),
        ("unknown", "no such certificate"),
        ("../etc/passwd", "no certificate's id"),
        ("", "no certificate's id"),
    ] {
        let error = store.get(&id(name), None, "a.example").await.unwrap_err().to_string();
        assert!(error.contains(reason), "{name}: {error}");
    }
    assert_eq!(fs::read_dir(folder.path().join("certificates")).unwrap().count(), 0);
    let fetches = source.fetches();
    assert!(store.get(&id("unknown"), None, "a.example").await.is_err());
    assert_eq!(source.fetches(), fetches, "a failure is remembered for a moment");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_once_it_is_here_and_the_old_one_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let source = Memory::new(vec![authority.issue("a1", &["*.sites.example"])]);
    let store = certificates(folder.path(), &source);
    let shown = async |store: &Certificates, new: &str| {
        store
            .get(&id(new), None, "a.sites.example")
            .await
            .map(|shown| shown.id().to_string())
            .map_err(|e| e.to_string())
    };
    assert_eq!(shown(&store, "a1").await.unwrap(), "a1");

    // Told twice in a row, and the control plane has neither.
    store.renew(&id("a1"), &id("a2")).await;
    store.renew(&id("a2"), &id("a3")).await;
    assert_eq!(shown(&store, "a3").await.unwrap(), "a1");
    store.sweep(ids(&["a3"])).await;
    assert_eq!(shown(&store, "a3").await.unwrap(), "a1", "what is still shown is not swept");

    let restarted = certificates(folder.path(), &source);
    assert_eq!(shown(&restarted, "a3").await.unwrap(), "a1", "after a restart too");
    assert!(restarted.get(&id("a3"), None, "a.b.sites.example").await.is_err(), "not for hosts that it does not cover");

    source.put(authority.issue("a3", &["*.sites.example"]));
    restarted.renew(&id("a1"), &id("a3")).await;
    assert_eq!(shown(&restarted, "a3").await.unwrap(), "a3");
    restarted.sweep(ids(&["a3"])).await;
    let files: Vec<_> =
        fs::read_dir(folder.path().join("certificates")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(files, ["a3.certificate"]);
}

#[tokio::test]
async fn a_visitor_who_is_quicker_than_the_news_of_a_renewal_is_shown_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new(vec![Authority::new().issue("a1", &["a.example"])]);
    let store = certificates(folder.path(), &source);
    store.get(&id("a1"), None, "a.example").await.unwrap();
    for _ in 0..2 {
        assert_eq!(&**store.get(&id("a2"), Some(&id("a1")), "a.example").await.unwrap().id(), "a1");
    }
    assert!(store.get(&id("a3"), Some(&id("never")), "a.example").await.is_err());
}

#[tokio::test]
async fn a_renewal_of_a_name_that_nobody_visits_fetches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new(vec![Authority::new().issue("b2", &["b.example"])]);
    let store = certificates(folder.path(), &source);
    store.renew(&id("b1"), &id("b2")).await;
    assert_eq!(source.fetches(), 0);
    assert_eq!(fs::read_dir(folder.path().join("certificates")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_visitor_does_not_wait_for_a_renewed_certificate_that_is_slow() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let source = Memory::new(vec![authority.issue("a1", &["a.example"])]);
    let store = Arc::new(certificates(folder.path(), &source));
    store.get(&id("a1"), None, "a.example").await.unwrap();

    // A source like the first, but every answer waits.
    let slow = Arc::new(Memory { gate: Semaphore::new(0), ..Arc::into_inner(Memory::new(Vec::new())).unwrap() });
    slow.put(authority.issue("a2", &["a.example"]));
    let store = Arc::new(certificates(folder.path(), &slow));
    store.shared.on_disk(|disk| disk.note_renewal("a1", "a2")).await.unwrap();
    assert_eq!(&**store.get(&id("a2"), None, "a.example").await.unwrap().id(), "a1");
    slow.gate.add_permits(1);
    while store.shared.fetching().contains("a2") {
        tokio::task::yield_now().await;
    }
    assert_eq!(&**store.get(&id("a2"), None, "a.example").await.unwrap().id(), "a2");
    assert_eq!(slow.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_holds_up_nothing_that_is_on_disk_and_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let source = Memory::new(vec![Authority::new().issue("a1", &["a.example"])]);
    certificates(folder.path(), &source).get(&id("a1"), None, "a.example").await.unwrap();

    let hanging = Arc::new(Memory { gate: Semaphore::new(0), ..Arc::into_inner(Memory::new(Vec::new())).unwrap() });
    let store = Arc::new(certificates(folder.path(), &hanging));
    let waiting: Vec<_> = (0..2 * MAX_FETCHING)
        .map(|i| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.get(&id(&format!("cold{i}")), None, "cold.example").await })
        })
        .collect();
    while hanging.fetches() < MAX_FETCHING {
        tokio::task::yield_now().await;
    }
    assert!(store.get(&id("a1"), None, "a.example").await.is_ok());
    for visitor in waiting {
        assert!(matches!(*visitor.await.unwrap().unwrap_err(), LoadError::TooSlow));
    }
}

#[tokio::test]
async fn memory_is_bounded_by_what_certificates_take() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let all: Vec<_> = (0..400).map(|i| authority.issue_for(&format!("c{i}"), &["c.example"], &key)).collect();
    let source = Memory::new(all);
    let store = certificates(folder.path(), &source);
    for i in 0..400 {
        store.get(&id(&format!("c{i}")), None, "c.example").await.unwrap();
    }
    store.shared.loaded.run_pending_tasks().await;
    assert!(store.shared.loaded.weighted_size() <= 1 << 20);
    assert!(store.get(&id("c0"), None, "c.example").await.is_ok());
    assert_eq!(source.fetches(), 400, "what left the memory is still on disk");
}

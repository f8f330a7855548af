//! A process that dies at any step of an order is followed by one that goes on with the same order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use acme::challenge::Method;
use acme::clock::System;
use acme::entry::{Entry, Track};
use acme::manager::Manager;
use acme::store::memory::Memory;
use acme::store::{BucketChange, Lease, SealedCertificate, Store, StoreError};
use async_trait::async_trait;
use common::time::Timestamp;
use tokio::sync::Notify;

use crate::testkit::{Edges, Options, PATIENCE, Pebble, engine, keys, manager};

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// A moment before its nth write is stored.
    Before(usize),
    /// A moment after.
    After(usize),
}

/// A store that stands still for ever at one write.
struct Dying {
    inner: Arc<Memory>,
    death: Death,
    writes: AtomicUsize,
    died: Notify,
}

impl Dying {
    async fn write<T>(&self, write: impl Future<Output = T>) -> T {
        let n = self.writes.fetch_add(1, Ordering::SeqCst);
        if self.death == Death::Before(n) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        let written = write.await;
        if self.death == Death::After(n) {
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
        written
    }
}

#[async_trait]
impl Store for Dying {
    async fn add(&self, entry: &Entry) -> Result<bool, StoreError> {
        self.inner.add(entry).await
    }
    async fn entry(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.entry(name).await
    }
    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.inner.remove(name).await
    }
    async fn look_at(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.inner.look_at(name, at, now).await
    }
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.due(now, limit).await
    }
    async fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next(now).await
    }
    async fn lease(&self, lease: &Lease<'_>) -> Result<bool, StoreError> {
        self.write(self.inner.lease(lease)).await
    }
    async fn seize(&self, lease: &Lease<'_>) -> Result<bool, StoreError> {
        self.inner.seize(lease).await
    }
    async fn release_all(&self, holder: &str) -> Result<(), StoreError> {
        self.inner.release_all(holder).await
    }
    async fn finish(&self, lease: &Lease<'_>) -> Result<(), StoreError> {
        self.inner.finish(lease).await
    }
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        self.write(self.inner.release(name, holder)).await
    }
    async fn save(&self, entry: &Entry, lease: &Lease<'_>) -> Result<(), StoreError> {
        self.write(self.inner.save(entry, lease)).await
    }
    async fn certificate(&self, id: &str) -> Result<Option<SealedCertificate>, StoreError> {
        self.inner.certificate(id).await
    }
    async fn add_certificate(&self, certificate: &SealedCertificate) -> Result<(), StoreError> {
        self.write(self.inner.add_certificate(certificate)).await
    }
    async fn reseal(&self, id: &str, old: &str, new: &str) -> Result<(), StoreError> {
        self.inner.reseal(id, old, new).await
    }
    async fn certificate_ids(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.inner.certificate_ids(after, limit).await
    }
    async fn account(&self, authority: &str) -> Result<Option<String>, StoreError> {
        self.inner.account(authority).await
    }
    async fn set_account(&self, authority: &str, old: Option<&str>, new: Option<&str>) -> Result<bool, StoreError> {
        self.write(self.inner.set_account(authority, old, new)).await
    }
    async fn buckets(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.inner.buckets(keys).await
    }
    async fn set_buckets(&self, changes: &[BucketChange]) -> Result<bool, StoreError> {
        self.write(self.inner.set_buckets(changes)).await
    }
}

/// Writes of a whole order, from the lease to its release.
async fn writes(pebble: &Pebble, edges: &Arc<Edges>) -> usize {
    let store = dying(Arc::new(Memory::default()), Death::Before(usize::MAX));
    let whole = engine(store.clone(), &edges.port(), vec![(pebble.authority("whole"), None)]);
    whole.want(&["whole.example.com"], &[Method::Http01]).await;
    whole.issued("whole.example.com").await;
    store.writes.load(Ordering::SeqCst)
}

fn dying(inner: Arc<Memory>, death: Death) -> Arc<Dying> {
    Arc::new(Dying { inner, death, writes: AtomicUsize::new(0), died: Notify::new() })
}

/// Gives how many orders the authority was asked for.
async fn dies_and_is_followed(pebble: &Pebble, edges: &Arc<Edges>, death: Death) -> Result<usize, String> {
    let memory = Arc::new(Memory::default());
    let store = dying(memory.clone(), death);
    let name = "a.example.com";
    let lines = || vec![(pebble.authority("pebble"), None)];
    let before = pebble.logged("Added order");
    let first = engine(store.clone(), &edges.port(), lines());
    first.want(&[name], &[Method::Http01]).await;
    tokio::select! {
        _ = first.manager.work() => return Err("it did not die".into()),
        () = store.died.notified() => {}
        () = tokio::time::sleep(PATIENCE) => return Err("it hangs elsewhere".into()),
    }
    drop(first);
    let left = memory.entry(name).await.unwrap().unwrap();
    let url = left.order.as_ref().and_then(|order| order.step.url()).map(str::to_owned);
    let second = engine(memory.clone(), &edges.port(), lines());
    // Nobody else works on it while the lease lasts.
    second.clock.advance(Duration::from_secs(121));
    let current = second.issued(name).await;
    let entry = second.entry(name).await;
    let orders = pebble.logged("Added order") - before;
    if !matches!(entry.track, Track::Active { .. }) || edges.count() != 0 {
        return Err(format!("{:?}, {} answers left", entry.track, edges.count()));
    }
    // An order whose address was stored is the only one; a certificate that was stored is the one that is served.
    if url.is_some() && orders != 1 {
        return Err(format!("{orders} orders although {url:?} was known"));
    }
    let ids = memory.certificate_ids("", 9).await.unwrap();
    if ids != [current.id] {
        return Err(format!("certificates {ids:?}"));
    }
    Ok(orders)
}

#[tokio::test]
async fn an_order_survives_a_death_at_every_write_and_is_resumed_not_repeated() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let writes = writes(&pebble, &edges).await;
    assert!(writes >= 9, "{writes}");
    let (mut failed, mut repeated) = (Vec::new(), Vec::new());
    for n in 0..writes {
        for death in [Death::Before(n), Death::After(n)] {
            match dies_and_is_followed(&pebble, &edges, death).await {
                Ok(1) => {}
                Ok(orders) => repeated.push((death, orders)),
                Err(why) => failed.push(format!("{death:?}: {why}")),
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    // The authority had the order, and its address was not stored: the one death that leaves an order behind.
    assert!(matches!(repeated[..], [(Death::Before(_), 2)]), "{repeated:?}");
}

/// By the system's clock: one that a process moves by itself takes the other's leases for over.
#[tokio::test]
async fn two_processes_at_once_place_one_order_for_a_name() {
    let pebble = Pebble::start(Options::default()).await;
    let edges = Edges::of(&pebble).await;
    let memory: Arc<dyn Store> = Arc::new(Memory::default());
    let process = || {
        let lines = vec![(pebble.authority("pebble"), None)];
        manager(keys(), memory.clone(), &edges.port(), lines, Arc::new(System))
    };
    let (one, other) = (process(), process());
    let names: Vec<String> = (0..6).map(|i| format!("n{i}.example.com")).collect();
    for name in &names {
        one.want(vec![name.clone()], vec![Method::Http01]).await.unwrap();
    }
    let both = async { tokio::join!(rest(&one), rest(&other)) };
    tokio::time::timeout(PATIENCE, both).await.expect("both come to rest");
    for name in &names {
        let entry = memory.entry(name).await.unwrap().unwrap();
        assert!(matches!(entry.track, Track::Active { .. }), "{:?}", entry.track);
        assert_eq!(entry.order, None);
    }
    assert_eq!(pebble.logged("Added order"), 6);
}

/// Works until nothing is left to be done soon, also by whoever has a lease.
async fn rest(manager: &Manager) {
    const SOON: Duration = Duration::from_secs(60);
    while let Some(wait) = manager.work().await.unwrap().map(|next| next.since(Timestamp::now())) {
        if wait > SOON {
            return;
        }
        tokio::time::sleep(wait.min(Duration::from_millis(200))).await;
    }
}

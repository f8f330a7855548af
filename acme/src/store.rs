//! The port to where accounts, entries, certificates, leases and buckets are kept, and what each adapter must do.
//!
//! Nothing secret passes it in the clear: keys are sealed before. An adapter needs rows and compare-and-set, nothing
//! else; SQL has both.

use std::time::Duration;

use async_trait::async_trait;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::challenge::Method;
use crate::entry::{Current, Entry};

pub mod memory;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The lease on a name is another's, or ran out: its work is another's now.
    #[error("the lease on {0} was lost")]
    LeaseLost(String),
    /// What is stored can't be read: it was written by something else, or sealed with another key.
    #[error("what is stored of {what} can't be read: {detail}")]
    Unreadable {
        /// Of what.
        what: String,
        /// Why not.
        detail: String,
    },
    /// The store is away.
    #[error("the certificate store is away: {0}")]
    Away(String),
}

/// A certificate as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCertificate {
    /// Follows from the certificate, so that to keep it twice is to keep it once.
    pub id: String,
    /// The entry that it is for.
    pub name: String,
    /// The chain, the host's own certificate first, PEM.
    pub chain_pem: String,
    /// The private key, PKCS #8 in PEM, encrypted with the master key.
    pub sealed_key: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Who works on a name, and until when.
#[derive(Clone, Debug)]
pub struct Lease<'a> {
    /// The entry's name.
    pub name: &'a str,
    /// Who: another text for each process.
    pub holder: &'a str,
    /// The time now.
    pub now: Timestamp,
    /// Until when nobody else works on it.
    pub until: Timestamp,
}

/// A bucket's change by compare-and-set.
#[derive(Clone, Debug)]
pub struct BucketChange {
    /// Which.
    pub key: String,
    /// What was read: when it is full.
    pub old: Option<Timestamp>,
    /// What it becomes.
    pub new: Option<Timestamp>,
}

/// The port.
#[async_trait]
pub trait Store: Send + Sync {
    /// Adds an entry; false when its name has one.
    async fn add(&self, entry: &Entry) -> Result<bool, StoreError>;
    /// An entry by its name.
    async fn entry(&self, name: &str) -> Result<Option<Entry>, StoreError>;
    /// Removes an entry. Whoever works on it can't save any more.
    async fn remove(&self, name: &str) -> Result<(), StoreError>;
    /// Sets when an entry is looked at again, to now or later, unless somebody works on it.
    async fn look_at(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError>;
    /// Names of entries whose time has come and that nobody works on, the longest due first, at most `limit`.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<String>, StoreError>;
    /// When the next entry's time comes, of those that nobody works on; else when the first lease runs out.
    async fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Takes or extends the lease on an entry; false when another has it.
    async fn lease(&self, lease: &Lease<'_>) -> Result<bool, StoreError>;
    /// Takes the lease on an entry from whoever has it: what they do is wanted no longer, and they can't save it. False
    /// when there is no such entry.
    async fn seize(&self, lease: &Lease<'_>) -> Result<bool, StoreError>;
    /// Gives a lease back. One that was lost is no error.
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError>;
    /// Gives all leases of a holder back.
    async fn release_all(&self, holder: &str) -> Result<(), StoreError>;
    /// Removes an entry under its lease.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease is another's or ran out; nothing is removed then.
    async fn finish(&self, lease: &Lease<'_>) -> Result<(), StoreError>;
    /// Saves an entry under its lease, which is extended.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when the lease is another's or ran out; nothing is saved then.
    async fn save(&self, entry: &Entry, lease: &Lease<'_>) -> Result<(), StoreError>;

    /// A certificate by its id.
    async fn certificate(&self, id: &str) -> Result<Option<SealedCertificate>, StoreError>;
    /// Adds a certificate; one that has this id stays as it is.
    async fn add_certificate(&self, certificate: &SealedCertificate) -> Result<(), StoreError>;
    /// Replaces a certificate's sealed key, if it is still `old`.
    async fn reseal(&self, id: &str, old: &str, new: &str) -> Result<(), StoreError>;
    /// Ids of certificates after `after`, in order, at most `limit`.
    async fn certificate_ids(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// The sealed account with an authority.
    async fn account(&self, authority: &str) -> Result<Option<String>, StoreError>;
    /// Sets or removes the sealed account with an authority, if it is still `old`; false when it is not.
    async fn set_account(&self, authority: &str, old: Option<&str>, new: Option<&str>) -> Result<bool, StoreError>;

    /// When buckets are full again, in the order of the keys; none for one that is full.
    async fn buckets(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StoreError>;
    /// Changes buckets, all or none; false when one was no longer as it was read.
    async fn set_buckets(&self, changes: &[BucketChange]) -> Result<bool, StoreError>;
}

/// What every adapter must do; called by each adapter's tests with an empty store.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(store: &dyn Store) -> Result<(), String> {
    entries(store).await?;
    leases(store).await?;
    certificates(store).await?;
    accounts_and_buckets(store).await
}

const MINUTE: Duration = Duration::from_secs(60);

fn ensure(held: bool, what: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(what.to_owned()) }
}

fn text(error: StoreError) -> String {
    error.to_string()
}

fn at(minutes: u32) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).after(MINUTE * minutes)
}

fn wanted(name: &str, minutes: u32) -> Entry {
    Entry::new(vec![name.to_owned(), format!("www.{name}")], vec![Method::Http01], at(minutes))
}

async fn entries(store: &dyn Store) -> Result<(), String> {
    let (a, b) = (wanted("a.example", 2), wanted("b.example", 1));
    ensure(store.add(&a).await.map_err(text)? && store.add(&b).await.map_err(text)?, "entries are added")?;
    ensure(!store.add(&wanted("a.example", 9)).await.map_err(text)?, "a name has one entry")?;
    ensure(store.entry("a.example").await.map_err(text)? == Some(a), "an entry reads back whole")?;
    ensure(store.entry("www.a.example").await.map_err(text)?.is_none(), "only the first name is the key")?;
    ensure(store.due(at(0), 9).await.map_err(text)?.is_empty(), "nothing is due before its time")?;
    ensure(store.next(at(0)).await.map_err(text)? == Some(at(1)), "the next time is known")?;
    ensure(store.due(at(3), 9).await.map_err(text)? == ["b.example", "a.example"], "the longest due is first")?;
    ensure(store.due(at(3), 1).await.map_err(text)? == ["b.example"], "no more than asked for")?;
    store.look_at("b.example", at(7), at(0)).await.map_err(text)?;
    ensure(store.due(at(3), 9).await.map_err(text)? == ["a.example"], "an entry's time is set")
}

async fn leases(store: &dyn Store) -> Result<(), String> {
    let lease = |holder, now, until| Lease { name: "a.example", holder, now: at(now), until: at(until) };
    ensure(store.lease(&lease("one", 3, 5)).await.map_err(text)?, "a free entry is leased")?;
    ensure(!store.lease(&lease("two", 4, 6)).await.map_err(text)?, "to one only")?;
    ensure(store.lease(&lease("one", 4, 6)).await.map_err(text)?, "who extends it")?;
    ensure(store.due(at(4), 9).await.map_err(text)?.is_empty(), "what is leased is not due")?;
    ensure(store.next(at(4)).await.map_err(text)? == Some(at(6)), "but when its lease ends")?;
    ensure(store.next(at(6)).await.map_err(text)? == Some(at(2)), "and then its own time counts again")?;
    store.look_at("a.example", at(9), at(4)).await.map_err(text)?;
    let mut entry = store.entry("a.example").await.map_err(text)?.ok_or("the entry is there")?;
    ensure(entry.next == at(2), "nor is its time set by others")?;
    entry.failures = 7;
    store.save(&entry, &lease("one", 5, 8)).await.map_err(text)?;
    ensure(!store.lease(&lease("two", 7, 9)).await.map_err(text)?, "saving extends the lease")?;
    ensure(store.lease(&lease("two", 8, 10)).await.map_err(text)?, "one that ran out is free")?;
    entry.failures = 8;
    let late = store.save(&entry, &lease("one", 9, 11)).await;
    ensure(matches!(late, Err(StoreError::LeaseLost(_))), "who lost it can't save")?;
    store.release("a.example", "one").await.map_err(text)?;
    ensure(!store.lease(&lease("three", 9, 12)).await.map_err(text)?, "nor release another's")?;
    let kept = store.entry("a.example").await.map_err(text)?.map(|e| e.failures);
    ensure(kept == Some(7), "what was saved is what counts")?;
    store.release("a.example", "two").await.map_err(text)?;
    ensure(store.due(at(9), 9).await.map_err(text)? == ["a.example", "b.example"], "what is released is due again")?;
    ensure(store.lease(&lease("one", 9, 12)).await.map_err(text)?, "and leased again")?;
    store.remove("a.example").await.map_err(text)?;
    let gone = store.save(&entry, &lease("one", 10, 12)).await;
    ensure(matches!(gone, Err(StoreError::LeaseLost(_))), "an entry that was removed is not brought back")?;
    ensure(store.entry("a.example").await.map_err(text)?.is_none(), "and is gone")?;
    let nobody = Lease { name: "c.example", holder: "one", now: at(9), until: at(10) };
    ensure(!store.lease(&nobody).await.map_err(text)?, "what is not there is not leased")?;
    ensure(!store.seize(&nobody).await.map_err(text)?, "nor seized")?;

    let of_b = |holder: &'static str| Lease { name: "b.example", holder, now: at(9), until: at(12) };
    ensure(store.lease(&of_b("one")).await.map_err(text)?, "another entry is leased")?;
    ensure(store.seize(&of_b("two")).await.map_err(text)?, "a lease is taken from who has it")?;
    let entry = store.entry("b.example").await.map_err(text)?.ok_or("the entry is there")?;
    let robbed = store.save(&entry, &of_b("one")).await;
    ensure(matches!(robbed, Err(StoreError::LeaseLost(_))), "who can't save then")?;
    let robbed = store.finish(&of_b("one")).await;
    ensure(matches!(robbed, Err(StoreError::LeaseLost(_))), "nor remove")?;
    store.release_all("one").await.map_err(text)?;
    ensure(!store.lease(&of_b("three")).await.map_err(text)?, "nor release what is another's")?;
    store.release_all("two").await.map_err(text)?;
    ensure(store.lease(&of_b("three")).await.map_err(text)?, "who gives all back")?;
    store.finish(&of_b("three")).await.map_err(text)?;
    ensure(store.entry("b.example").await.map_err(text)?.is_none(), "an entry is removed by who has its lease")?;
    store.add(&entry).await.map_err(text)?;
    Ok(())
}

async fn certificates(store: &dyn Store) -> Result<(), String> {
    let certificate = |id: &str, sealed_key: &str| SealedCertificate {
        id: id.into(),
        name: "b.example".into(),
        chain_pem: "chain".into(),
        sealed_key: sealed_key.into(),
        not_after: at(99),
    };
    let first = certificate("c1", "k1");
    store.add_certificate(&first).await.map_err(text)?;
    store.add_certificate(&certificate("c1", "k2")).await.map_err(text)?;
    store.add_certificate(&certificate("c2", "k1")).await.map_err(text)?;
    ensure(store.certificate("c1").await.map_err(text)? == Some(first), "an id never changes its contents")?;
    ensure(store.certificate("c9").await.map_err(text)?.is_none(), "an unknown one is none")?;
    ensure(store.certificate_ids("", 9).await.map_err(text)? == ["c1", "c2"], "ids are listed in order")?;
    ensure(store.certificate_ids("c1", 9).await.map_err(text)? == ["c2"], "page by page")?;
    store.reseal("c1", "other", "k3").await.map_err(text)?;
    let key = || async { Ok::<_, String>(store.certificate("c1").await.map_err(text)?.map(|c| c.sealed_key)) };
    ensure(key().await? == Some("k1".into()), "a key that changed meanwhile stays")?;
    store.reseal("c1", "k1", "k3").await.map_err(text)?;
    ensure(key().await? == Some("k3".into()), "a key is sealed anew")?;
    // A certificate with all its facts reads back with its entry.
    let mut entry = store.entry("b.example").await.map_err(text)?.ok_or("the entry is there")?;
    entry.current = Some(Current {
        id: "c1".into(),
        authority: "ca".into(),
        names: entry.names.clone(),
        not_before: at(0),
        not_after: at(99),
        renewal_id: Some("aki.serial".into()),
        window: None,
        next_look: at(50),
        passed_over: Vec::new(),
    });
    let lease = Lease { name: "b.example", holder: "one", now: at(20), until: at(21) };
    ensure(store.lease(&lease).await.map_err(text)?, "the entry is leased")?;
    store.save(&entry, &lease).await.map_err(text)?;
    store.release("b.example", "one").await.map_err(text)?;
    ensure(store.entry("b.example").await.map_err(text)? == Some(entry), "an entry reads back with its certificate")
}

async fn accounts_and_buckets(store: &dyn Store) -> Result<(), String> {
    ensure(store.account("ca").await.map_err(text)?.is_none(), "there is no account at first")?;
    ensure(store.set_account("ca", None, Some("one")).await.map_err(text)?, "one is set")?;
    ensure(!store.set_account("ca", None, Some("two")).await.map_err(text)?, "once")?;
    ensure(store.set_account("ca", Some("one"), Some("two")).await.map_err(text)?, "and replaced by who knows it")?;
    ensure(store.account("ca").await.map_err(text)?.as_deref() == Some("two"), "the new one counts")?;
    ensure(store.set_account("ca", Some("two"), None).await.map_err(text)?, "or removed")?;
    ensure(store.account("ca").await.map_err(text)?.is_none(), "then there is none")?;

    let keys = ["x".to_owned(), "y".to_owned()];
    ensure(store.buckets(&keys).await.map_err(text)? == [None, None], "buckets are full at first")?;
    let change = |key: &str, old, new| BucketChange { key: key.into(), old, new: Some(new) };
    let both = [change("x", None, at(1)), change("y", None, at(2))];
    ensure(store.set_buckets(&both).await.map_err(text)?, "several change at once")?;
    let one_is_late = [change("x", Some(at(1)), at(5)), change("y", None, at(5))];
    ensure(!store.set_buckets(&one_is_late).await.map_err(text)?, "unless one changed meanwhile")?;
    let now = store.buckets(&keys).await.map_err(text)?;
    ensure(now == [Some(at(1)), Some(at(2))], "then none changes")
}

//! The store in memory: for tests and simulations, and for programs that may begin anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use common::time::Timestamp;
use tokio::sync::Mutex;

use super::{BucketChange, Lease, SealedCertificate, Store, StoreError};
use crate::entry::Entry;

/// The adapter.
#[derive(Default)]
pub struct Memory(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    entries: HashMap<String, Row>,
    /// Entries by their time.
    times: BTreeSet<(Timestamp, String)>,
    /// Leased entries.
    leased: BTreeSet<String>,
    certificates: BTreeMap<String, SealedCertificate>,
    accounts: HashMap<String, String>,
    buckets: HashMap<String, Timestamp>,
}

struct Row {
    entry: Entry,
    lease: Option<(String, Timestamp)>,
}

impl Row {
    fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.as_ref().is_some_and(|(_, until)| *until > now)
    }

    fn is_held(&self, lease: &Lease<'_>) -> bool {
        self.lease.as_ref().is_some_and(|(of, until)| of == lease.holder && *until > lease.now)
    }
}

impl Rows {
    fn is_leased(&self, name: &str, now: Timestamp) -> bool {
        self.leased.contains(name) && self.entries.get(name).is_some_and(|row| row.is_leased(now))
    }

    fn remove(&mut self, name: &str) {
        if let Some(row) = self.entries.remove(name) {
            self.times.remove(&(row.entry.next, name.to_owned()));
            self.leased.remove(name);
        }
    }

    fn set_time(&mut self, name: &str, old: Timestamp, new: Timestamp) {
        self.times.remove(&(old, name.to_owned()));
        self.times.insert((new, name.to_owned()));
    }
}

#[async_trait]
impl Store for Memory {
    async fn add(&self, entry: &Entry) -> Result<bool, StoreError> {
        let mut rows = self.0.lock().await;
        if rows.entries.contains_key(entry.name()) {
            return Ok(false);
        }
        rows.times.insert((entry.next, entry.name().to_owned()));
        rows.entries.insert(entry.name().to_owned(), Row { entry: entry.clone(), lease: None });
        Ok(true)
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.0.lock().await.entries.get(name).map(|row| row.entry.clone()))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.0.lock().await.remove(name);
        Ok(())
    }

    async fn look_at(&self, name: &str, at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        if rows.is_leased(name, now) {
            return Ok(());
        }
        if let Some(row) = rows.entries.get_mut(name) {
            let old = std::mem::replace(&mut row.entry.next, at);
            rows.set_time(name, old, at);
        }
        Ok(())
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        let rows = self.0.lock().await;
        let due = rows.times.iter().take_while(|(at, _)| *at <= now).filter(|(_, name)| !rows.is_leased(name, now));
        Ok(due.take(limit).map(|(_, name)| name.clone()).collect())
    }

    async fn next(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.0.lock().await;
        let free = rows.times.iter().find(|(_, name)| !rows.is_leased(name, now)).map(|(at, _)| *at);
        let leases = rows.leased.iter().filter_map(|name| rows.entries.get(name)?.lease.as_ref()).map(|(_, at)| *at);
        let leases = leases.filter(|until| *until > now);
        Ok(free.into_iter().chain(leases.min()).min())
    }

    async fn lease(&self, lease: &Lease<'_>) -> Result<bool, StoreError> {
        let mut rows = self.0.lock().await;
        let Some(row) = rows.entries.get_mut(lease.name) else { return Ok(false) };
        if row.lease.as_ref().is_some_and(|(holder, until)| holder != lease.holder && *until > lease.now) {
            return Ok(false);
        }
        row.lease = Some((lease.holder.to_owned(), lease.until));
        rows.leased.insert(lease.name.to_owned());
        Ok(true)
    }

    async fn seize(&self, lease: &Lease<'_>) -> Result<bool, StoreError> {
        let mut rows = self.0.lock().await;
        let Some(row) = rows.entries.get_mut(lease.name) else { return Ok(false) };
        row.lease = Some((lease.holder.to_owned(), lease.until));
        rows.leased.insert(lease.name.to_owned());
        Ok(true)
    }

    async fn release_all(&self, holder: &str) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        let Rows { entries, leased, .. } = &mut *rows;
        for (name, row) in entries {
            if row.lease.as_ref().is_some_and(|(of, _)| of == holder) {
                row.lease = None;
                leased.remove(name);
            }
        }
        Ok(())
    }

    async fn finish(&self, lease: &Lease<'_>) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        if !rows.entries.get(lease.name).is_some_and(|row| row.is_held(lease)) {
            return Err(StoreError::LeaseLost(lease.name.to_owned()));
        }
        rows.remove(lease.name);
        Ok(())
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        if let Some(row) = rows.entries.get_mut(name)
            && row.lease.as_ref().is_some_and(|(of, _)| of == holder)
        {
            row.lease = None;
            rows.leased.remove(name);
        }
        Ok(())
    }

    async fn save(&self, entry: &Entry, lease: &Lease<'_>) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        let Some(row) = rows.entries.get_mut(lease.name).filter(|row| row.is_held(lease)) else {
            return Err(StoreError::LeaseLost(lease.name.to_owned()));
        };
        row.lease = Some((lease.holder.to_owned(), lease.until));
        let old = std::mem::replace(&mut row.entry, entry.clone());
        rows.set_time(lease.name, old.next, entry.next);
        Ok(())
    }

    async fn certificate(&self, id: &str) -> Result<Option<SealedCertificate>, StoreError> {
        Ok(self.0.lock().await.certificates.get(id).cloned())
    }

    async fn add_certificate(&self, certificate: &SealedCertificate) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        rows.certificates.entry(certificate.id.clone()).or_insert_with(|| certificate.clone());
        Ok(())
    }

    async fn reseal(&self, id: &str, old: &str, new: &str) -> Result<(), StoreError> {
        let mut rows = self.0.lock().await;
        if let Some(certificate) = rows.certificates.get_mut(id).filter(|c| c.sealed_key == old) {
            new.clone_into(&mut certificate.sealed_key);
        }
        Ok(())
    }

    async fn certificate_ids(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let rows = self.0.lock().await;
        Ok(rows.certificates.keys().filter(|id| id.as_str() > after).take(limit).cloned().collect())
    }

    async fn account(&self, authority: &str) -> Result<Option<String>, StoreError> {
        Ok(self.0.lock().await.accounts.get(authority).cloned())
    }

    async fn set_account(&self, authority: &str, old: Option<&str>, new: Option<&str>) -> Result<bool, StoreError> {
        let mut rows = self.0.lock().await;
        if rows.accounts.get(authority).map(String::as_str) != old {
            return Ok(false);
        }
        match new {
            Some(new) => rows.accounts.insert(authority.to_owned(), new.to_owned()),
            None => rows.accounts.remove(authority),
        };
        Ok(true)
    }

    async fn buckets(&self, keys: &[String]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let rows = self.0.lock().await;
        Ok(keys.iter().map(|key| rows.buckets.get(key).copied()).collect())
    }

    async fn set_buckets(&self, changes: &[BucketChange]) -> Result<bool, StoreError> {
        let mut rows = self.0.lock().await;
        if changes.iter().any(|change| rows.buckets.get(&change.key).copied() != change.old) {
            return Ok(false);
        }
        for change in changes {
            match change.new {
                Some(new) => rows.buckets.insert(change.key.clone(), new),
                None => rows.buckets.remove(&change.key),
            };
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_ports_promises() {
        assert_eq!(super::super::conformance(&Memory::default()).await, Ok(()));
    }
}

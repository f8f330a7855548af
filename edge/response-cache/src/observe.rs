//! What the answer to a HEAD tells of what is kept (RFC 9111 section 4.3.5).

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use common::policy::CachePolicy;
use http::{HeaderMap, Method, StatusCode, header};

use crate::cache::Cache;
use crate::directives::Directives;
use crate::entry::{Entry, Head, ensure_date};
use crate::handle::Ask;
use crate::store::{self, Asked, Terms};
use crate::validate;

impl Cache {
    /// Tells what an app answered to a HEAD that did not go through the cache: what is kept is fresh again when
    /// the answer is of the same state, and not used any more when it is of another.
    pub fn observe_head(&self, ask: &Ask<'_>, status: StatusCode, answer: &HeaderMap) {
        if *ask.method != Method::HEAD || status != StatusCode::OK {
            return;
        }
        let key = ask.key();
        let Some(variants) = self.inner.shelf.get(&key) else { return };
        let Some(entry) = variants.entries.iter().find(|e| e.head.selection.fits(ask.headers)) else { return };
        let _keeps = self.inner.gate.read().unwrap_or_else(PoisonError::into_inner);
        let is_entry = |other: &Arc<Entry>| Arc::ptr_eq(other, entry);
        if entry.head.status != status || !validate::is_same(answer, &entry.head.headers, entry.length) {
            return self.inner.shelf.drop_those(&variants.place, is_entry);
        }
        // A purge may have come since it was looked for.
        let is_kept = self.inner.shelf.get(&key).is_some_and(|now| now.entries.iter().any(is_entry));
        let now = self.now();
        if is_kept && let Some(newer) = freshened(entry, answer, ask, now) {
            self.inner.shelf.put(&variants.place, Arc::new(newer), is_entry);
        }
    }
}

fn freshened(entry: &Entry, answer: &HeaderMap, ask: &Ask<'_>, now: SystemTime) -> Option<Entry> {
    let asked = Asked::of(ask.headers, &Directives::of(ask.headers));
    let (headers, terms) = updated(entry, answer, ask.policy, asked, (now, now));
    terms.may_store(ask.policy, asked, entry.head.status, &headers).ok()?;
    let head = Arc::new(rebuilt(entry, headers, terms, ask.headers));
    Some(Entry { head, body: Arc::clone(&entry.body), length: entry.length })
}

/// The fields of a kept answer, with those of a newer one without a body, and the terms that they set. Cookies of
/// the newer one that must not be kept are left out.
pub(crate) fn updated(
    entry: &Entry,
    newer: &HeaderMap,
    policy: CachePolicy,
    asked: Asked,
    times: (SystemTime, SystemTime),
) -> (HeaderMap, Terms) {
    let mut newer = newer.clone();
    store::strip_hop_by_hop(&mut newer);
    ensure_date(&mut newer, times.1);
    let mut headers = entry.head.headers.clone();
    validate::update(&mut headers, &newer);
    let terms = Terms::of(asked, entry.head.status, &headers, times);
    if !terms.shares_cookies(policy) {
        headers.remove(header::SET_COOKIE);
    }
    (headers, terms)
}

/// A kept answer's head with other fields; its tags stay unless the newer answer has its own.
pub(crate) fn rebuilt(entry: &Entry, headers: HeaderMap, terms: Terms, request: &HeaderMap) -> Head {
    let mut head = Head::new(entry.head.status, headers, terms, request);
    if head.tags.is_empty() {
        head.tags = entry.head.tags.clone();
    }
    head
}

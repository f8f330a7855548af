//! Brings an answer from the app: to those who wait, and into what is kept.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use common::policy::CachePolicy;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::is_error;
use crate::cache::Cache;
use crate::directives::delta;
use crate::entry::{Entry, Head, ensure_date};
use crate::fetched::{FetchError, Fetched, Unanswered};
use crate::fill::{Fill, MAX_KEPT, Settled, Streaming};
use crate::observe::{rebuilt, updated};
use crate::store::{self, Asked, Refusal, Terms};
use crate::validate;

/// Fetches in a task of its own, which does not end with the visitor.
pub(super) fn start<Fut>(cache: &Cache, fill: &Arc<Fill>, policy: CachePolicy, asked: Asked, fetched: Fut)
where
    Fut: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
{
    let fetch = Fetch { cache: cache.clone(), fill: Arc::clone(fill), policy, asked, sent: cache.now() };
    tokio::spawn(async move {
        match Box::pin(fetched).await {
            Ok(fetched) => fetch.receive(fetched).await,
            Err(error) => fetch.fill.end(Err(error)),
        }
    });
}

struct Fetch {
    cache: Cache,
    fill: Arc<Fill>,
    policy: CachePolicy,
    asked: Asked,
    sent: SystemTime,
}

impl Fetch {
    async fn receive(&self, fetched: Fetched) {
        let times = (self.sent, self.cache.now());
        let Fetched { head, mut body } = fetched;
        if head.status == StatusCode::NOT_MODIFIED
            && let Some(entry) = &self.fill.validates
        {
            return self.validated(entry, &head.headers, times);
        }
        let length = head.headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes).and_then(delta);
        let streaming = self.streaming(head.status, head.headers, length, times);
        let kept = streaming.kept.clone();
        self.fill.settle(Settled::Streaming(Arc::new(streaming)));
        if kept.is_none() {
            self.cache.inner.flights.end(&self.fill);
        }
        let mut total = 0;
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    total += piece.len() as u64;
                    if self.fill.push(piece).await.is_err() {
                        return;
                    }
                }
                Err(error) => return self.fill.end(Err(error)),
            }
        }
        if length.is_some_and(|length| length != total) {
            let detail = format!("the answer has {total} bytes instead of {}", length.unwrap_or_default());
            return self.fill.end(Err(FetchError::new(Unanswered::Broken, &detail)));
        }
        if let Some(head) = kept
            && let Some(pieces) = self.fill.pieces()
        {
            self.keep(Entry::new(head, pieces));
        }
        self.fill.end(Ok(()));
    }

    /// Decides about an answer with a body.
    fn streaming(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        length: Option<u64>,
        times: (SystemTime, SystemTime),
    ) -> Streaming {
        ensure_date(&mut headers, times.1);
        let mut full = headers.clone();
        store::strip_hop_by_hop(&mut full);
        full.remove(store::CACHE_TAG);
        let terms = Terms::of(self.asked, status, &headers, times);
        let stands_in = |entry: &Arc<Entry>| entry.head.life.serves_if_error(times.1, true, None);
        let decision = if length.is_some_and(|length| length > MAX_KEPT as u64) {
            Err(Refusal::Address)
        } else if is_error(status) && self.fill.validates.as_ref().is_some_and(stands_in) {
            // What is kept is better than this, for as long as it may be used.
            Err(Refusal::Once)
        } else {
            terms.may_store(self.policy, self.asked, status, &headers)
        };
        let kept = decision.is_ok().then(|| Arc::new(Head::new(status, headers, terms, &self.fill.request)));
        if !is_error(status)
            && let Err(refusal) = decision
        {
            self.not_kept(refusal);
        }
        let kept = kept.filter(|head| !self.fill.was_purged(&head.tags));
        Streaming { status, headers: full, kept }
    }

    /// The app gave an answer that is not to be kept: what is kept for the request is not right any more.
    fn not_kept(&self, refusal: Refusal) {
        let inner = &self.cache.inner;
        if refusal == Refusal::Address {
            inner.unkept.insert(self.fill.place.key.clone(), self.cache.now());
        }
        if let Some(old) = &self.fill.validates {
            let _keeps = inner.gate.read().unwrap_or_else(PoisonError::into_inner);
            inner.shelf.drop_those(&self.fill.place, |entry| Arc::ptr_eq(entry, old));
        }
    }

    /// What is kept is right.
    fn validated(&self, entry: &Arc<Entry>, newer: &HeaderMap, times: (SystemTime, SystemTime)) {
        if !validate::is_of(newer, &entry.head.headers) {
            // It speaks of another state than was asked about; so it says nothing of how long this one is fresh.
            return self.fill.settle(Settled::Validated { entry: Arc::clone(entry), stored: false });
        }
        let (headers, terms) = updated(entry, newer, self.policy, self.asked, times);
        let may_store = terms.may_store(self.policy, self.asked, entry.head.status, &headers);
        let head = Arc::new(rebuilt(entry, headers, terms, &self.fill.request));
        let newer = Entry { head, body: Arc::clone(&entry.body), length: entry.length };
        let (entry, stored) = match may_store {
            Ok(()) => self.keep(newer),
            Err(refusal) => {
                self.not_kept(refusal);
                (Arc::new(newer), false)
            }
        };
        self.fill.settle(Settled::Validated { entry, stored });
    }

    /// Keeps an answer, unless it was purged while it was on its way.
    fn keep(&self, entry: Entry) -> (Arc<Entry>, bool) {
        let entry = Arc::new(entry);
        let inner = &self.cache.inner;
        let _keeps = inner.gate.read().unwrap_or_else(PoisonError::into_inner);
        let stored = !self.fill.was_purged(&entry.head.tags);
        if stored {
            let is_replaced = |other: &Arc<Entry>| {
                other.head.selection.fits(&self.fill.request)
                    || self.fill.validates.as_ref().is_some_and(|old| Arc::ptr_eq(old, other))
            };
            inner.shelf.put(&self.fill.place, Arc::clone(&entry), is_replaced);
        }
        (entry, stored)
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        // Nobody waits for ever, whatever ended the fetch.
        self.fill.end(Err(FetchError::new(Unanswered::Broken, &"the fetch was given up")));
        self.cache.inner.flights.end(&self.fill);
    }
}

//! The fetches that are under way, by address: one serves all who ask for the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;

use crate::fill::{Fill, Reader, Settled, Streaming};

/// Most addresses that are fetched at a time: fetches do not end with their visitors, so those must not begin any
/// number.
const MAX_FILLS: usize = 4096;

/// What there is for a request among the fetches that are under way.
pub(crate) enum Joined {
    /// An answer that fits is being read.
    Reads(Arc<Streaming>, Reader),
    /// One is awaited that may fit.
    Waits(Arc<Fill>),
    /// There was none: this one is the request's own, with its reader.
    Begun(Arc<Fill>, Reader),
    /// There was none, and there are too many for another one.
    Full,
}

/// The fetches that are under way.
#[derive(Default)]
pub(crate) struct Flights {
    fills: Mutex<HashMap<Box<str>, Vec<Arc<Fill>>>>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Arc<Fill>>>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a fetch, or begins one. `waits` is whether the request may wait to learn if one fits, `shares` whether
    /// it may have the answer of one at all.
    pub(crate) fn join(
        &self,
        key: &str,
        request: &HeaderMap,
        shares: bool,
        waits: bool,
        begin: impl FnOnce() -> Fill,
    ) -> Joined {
        let mut fills = self.lock();
        for fill in fills.get(key).into_iter().flatten().filter(|fill| shares && !fill.is_doomed()) {
            match fill.settled() {
                None if waits => return Joined::Waits(Arc::clone(fill)),
                Some(Settled::Streaming(streaming)) if is_for(&streaming, request) => {
                    if let Some(reader) = fill.join() {
                        return Joined::Reads(streaming, reader);
                    }
                }
                _ => {}
            }
        }
        if fills.len() >= MAX_FILLS {
            return Joined::Full;
        }
        let fill = Arc::new(begin());
        let reader = fill.first_reader();
        fills.entry(key.into()).or_default().push(Arc::clone(&fill));
        Joined::Begun(fill, reader)
    }

    /// Begins a fetch unless one is under way, or too many are.
    pub(crate) fn begin_alone(&self, key: &str, begin: impl FnOnce() -> Fill) -> Option<Arc<Fill>> {
        let mut fills = self.lock();
        if fills.contains_key(key) || fills.len() >= MAX_FILLS {
            return None;
        }
        let fill = Arc::new(begin());
        fills.insert(key.into(), vec![Arc::clone(&fill)]);
        Some(fill)
    }

    pub(crate) fn end(&self, fill: &Arc<Fill>) {
        let mut fills = self.lock();
        if let Some(of_key) = fills.get_mut(&fill.place.key) {
            of_key.retain(|other| !Arc::ptr_eq(other, fill));
            if of_key.is_empty() {
                fills.remove(&fill.place.key);
            }
        }
    }

    /// Calls `judge` for each fetch.
    pub(crate) fn each(&self, judge: impl Fn(&Fill)) {
        self.lock().values().flatten().for_each(|fill| judge(fill));
    }
}

/// Whether an answer that is being read may serve another request too.
pub(crate) fn is_for(streaming: &Streaming, request: &HeaderMap) -> bool {
    streaming.kept.as_ref().is_some_and(|head| head.is_reusable() && head.selection.fits(request))
}

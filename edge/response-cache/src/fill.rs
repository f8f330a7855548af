//! An answer on its way from the app: one writes it, any number read along.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;

use crate::entry::{Entry, Head, Place};
use crate::fetched::FetchError;

/// Largest body that is kept, in bytes: larger ones are few and would push out many.
pub(crate) const MAX_KEPT: usize = 8 << 20;
/// Bytes that wait for the slowest reader of an answer that is not kept: a few reads of a fast connection.
const WINDOW: usize = 256 << 10;

/// What came of a fetch.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    /// An answer, whose body is being read.
    Streaming(Arc<Streaming>),
    /// What was kept is right, and is this now.
    Validated {
        entry: Arc<Entry>,
        stored: bool,
    },
    Failed(FetchError),
}

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) status: StatusCode,
    /// The fields for the one who asked.
    pub(crate) headers: HeaderMap,
    /// The head for everybody, when the answer is to be kept.
    pub(crate) kept: Option<Arc<Head>>,
}

/// An answer on its way.
pub(crate) struct Fill {
    pub(crate) place: Arc<Place>,
    /// The fields of the request that began it, as the visitor sent them.
    pub(crate) request: HeaderMap,
    /// What it validates.
    pub(crate) validates: Option<Arc<Entry>>,
    state: Mutex<State>,
    /// The answer has come on.
    grown: watch::Sender<()>,
    /// Readers have.
    read: watch::Sender<()>,
    /// Whether it was purged: then it is not kept, and nobody joins it.
    doomed: AtomicBool,
    /// Bytes that fills hold together.
    held_by_all: Arc<AtomicU64>,
    /// The most that they may.
    budget: u64,
}

#[derive(Debug)]
struct State {
    settled: Option<Settled>,
    pieces: VecDeque<Bytes>,
    /// Number of the first piece that is still here.
    first: usize,
    /// Bytes of the pieces that are here.
    held: usize,
    /// Those of them that are counted in `held_by_all`.
    counted: u64,
    /// Whether all pieces stay, to be kept.
    keeps: bool,
    /// The next piece of each reader.
    readers: HashMap<u64, usize>,
    next_reader: u64,
    end: Option<Result<(), FetchError>>,
    /// Tags that were purged before it was known which ones the answer has.
    purged_tags: Vec<Box<str>>,
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Nobody reads an answer that is not kept.
pub(crate) struct Abandoned;

impl Fill {
    pub(crate) fn new(
        place: Arc<Place>,
        request: HeaderMap,
        validates: Option<Arc<Entry>>,
        held_by_all: Arc<AtomicU64>,
        budget: u64,
    ) -> Self {
        let state = State {
            settled: None,
            pieces: VecDeque::new(),
            first: 0,
            held: 0,
            counted: 0,
            keeps: true,
            readers: HashMap::new(),
            next_reader: 0,
            end: None,
            purged_tags: Vec::new(),
        };
        let (grown, read) = (watch::channel(()).0, watch::channel(()).0);
        let doomed = AtomicBool::new(false);
        Self { place, request, validates, state: Mutex::new(state), grown, read, doomed, held_by_all, budget }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was purged.
    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Acquire)
    }

    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// A tag is purged: dooms it when its answer has the tag, or may turn out to.
    pub(crate) fn purge_tag(&self, tag: &str) {
        let mut state = self.state();
        let has = |tags: &[Box<str>]| tags.iter().any(|t| **t == *tag);
        let known = match &state.settled {
            Some(Settled::Streaming(streaming)) => streaming.kept.as_ref().is_some_and(|head| has(&head.tags)),
            Some(Settled::Validated { entry, .. }) => has(&entry.head.tags),
            Some(Settled::Failed(_)) | None => false,
        };
        if known || self.validates.as_ref().is_some_and(|entry| has(&entry.head.tags)) {
            self.doom();
        } else if state.settled.is_none() {
            state.purged_tags.push(tag.into());
        }
    }

    /// Whether one of these tags was purged while the answer was awaited.
    pub(crate) fn was_purged(&self, tags: &[Box<str>]) -> bool {
        let state = self.state();
        self.is_doomed() || tags.iter().any(|tag| state.purged_tags.contains(tag))
    }

    /// What came of it, if that is known.
    pub(crate) fn settled(&self) -> Option<Settled> {
        self.state().settled.clone()
    }

    /// Waits until it is known what came of it.
    pub(crate) async fn wait(&self) -> Settled {
        let mut grown = self.grown.subscribe();
        loop {
            grown.borrow_and_update();
            if let Some(settled) = self.settled() {
                return settled;
            }
            // The sender lives in `self`, so this can't fail.
            let _ = grown.changed().await;
        }
    }

    pub(crate) fn settle(&self, settled: Settled) {
        let mut state = self.state();
        if let Settled::Streaming(streaming) = &settled {
            state.keeps = streaming.kept.is_some();
            let tags = streaming.kept.as_ref().map(|head| &*head.tags).unwrap_or_default();
            if tags.iter().any(|tag| state.purged_tags.contains(tag)) {
                self.doom();
            }
        }
        if !matches!(settled, Settled::Streaming(_)) {
            state.end = Some(Ok(()));
        }
        state.settled = Some(settled);
        drop(state);
        self.grown.send_replace(());
    }

    /// Adds a piece, when the slowest reader of an answer that is not kept has come near.
    pub(crate) async fn push(&self, piece: Bytes) -> Result<(), Abandoned> {
        let mut read = self.read.subscribe();
        loop {
            read.borrow_and_update();
            {
                let mut state = self.state();
                if state.keeps && !self.has_room(state.held, piece.len()) {
                    state.keeps = false;
                    state.trim();
                    self.uncount(&mut state);
                }
                if !state.keeps && state.readers.is_empty() {
                    return Err(Abandoned);
                }
                if state.keeps || state.held < WINDOW {
                    if state.keeps {
                        state.counted += piece.len() as u64;
                        self.held_by_all.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    }
                    state.held += piece.len();
                    state.pieces.push_back(piece);
                    drop(state);
                    self.grown.send_replace(());
                    return Ok(());
                }
            }
            // The sender lives in `self`, so this can't fail.
            let _ = read.changed().await;
        }
    }

    fn has_room(&self, held: usize, more: usize) -> bool {
        held + more <= MAX_KEPT && self.held_by_all.load(Ordering::Relaxed) + more as u64 <= self.budget
    }

    fn uncount(&self, state: &mut State) {
        self.held_by_all.fetch_sub(std::mem::take(&mut state.counted), Ordering::Relaxed);
    }

    /// All pieces, when the answer is to be kept.
    pub(crate) fn pieces(&self) -> Option<Vec<Bytes>> {
        let state = self.state();
        state.keeps.then(|| state.pieces.iter().cloned().collect())
    }

    /// The answer is whole, or broken off.
    pub(crate) fn end(&self, result: Result<(), FetchError>) {
        let mut state = self.state();
        if state.settled.is_none()
            && let Err(error) = &result
        {
            state.settled = Some(Settled::Failed(error.clone()));
        }
        state.end.get_or_insert(result);
        self.uncount(&mut state);
        drop(state);
        self.grown.send_replace(());
    }

    /// Reads along from the first piece; `None` when that is gone.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Reader> {
        let state = self.state();
        (state.keeps && state.first == 0).then(|| self.attach(state))
    }

    /// The reader of the one who begins it.
    pub(crate) fn first_reader(self: &Arc<Self>) -> Reader {
        self.attach(self.state())
    }

    fn attach(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Reader {
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, 0);
        drop(state);
        Reader { grown: self.grown.subscribe(), fill: Arc::clone(self), id }
    }
}

impl State {
    /// Drops the pieces that every reader has had.
    fn trim(&mut self) {
        let slowest = self.readers.values().copied().min().unwrap_or(usize::MAX);
        while self.first < slowest
            && let Some(piece) = self.pieces.pop_front()
        {
            self.first += 1;
            self.held -= piece.len();
        }
    }
}

/// Reads an answer that is on its way.
#[derive(Debug)]
pub(crate) struct Reader {
    fill: Arc<Fill>,
    grown: watch::Receiver<()>,
    id: u64,
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            self.grown.borrow_and_update();
            {
                let mut state = self.fill.state();
                let at = state.readers.get(&self.id).copied().unwrap_or_default();
                if let Some(piece) = state.pieces.get(at.saturating_sub(state.first)).cloned() {
                    state.readers.insert(self.id, at + 1);
                    if !state.keeps {
                        state.trim();
                        drop(state);
                        self.fill.read.send_replace(());
                    }
                    return Ok(Some(piece));
                }
                if let Some(end) = &state.end {
                    return end.clone().map(|()| None);
                }
            }
            // The sender lives in the fill, so this can't fail.
            let _ = self.grown.changed().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.state();
        state.readers.remove(&self.id);
        if !state.keeps {
            state.trim();
        }
        drop(state);
        self.fill.read.send_replace(());
    }
}

#[cfg(test)]
mod tests;

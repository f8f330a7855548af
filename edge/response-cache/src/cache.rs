//! The cache: what is kept, and what is on its way.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use crate::flights::Flights;
use crate::shelf::Shelf;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Part of the memory that answers on their way may hold beside it.
const BUDGET_PART: u64 = 4;
/// Most requests that wait for the answer of another; further ones ask the app themselves.
const MAX_WAITING: usize = 8192;
/// Most addresses that are remembered as not to be kept.
const MAX_UNKEPT: usize = 16 << 10;
/// For how long requests for an address whose answer was not to be kept go to the app side by side, without
/// waiting for one another: as long as a developer takes to look again after a change.
pub(crate) const UNKEPT: Duration = Duration::from_secs(10);

/// A shared cache. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Cache {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) shelf: Shelf,
    pub(crate) flights: Flights,
    /// Whoever keeps an answer reads, whoever purges writes: so nothing that was purged is kept again.
    pub(crate) gate: RwLock<()>,
    /// Addresses whose answers were not to be kept, with when that was seen.
    pub(crate) unkept: quick_cache::sync::Cache<Box<str>, SystemTime>,
    pub(crate) waiting: Semaphore,
    pub(crate) held: Arc<AtomicU64>,
    pub(crate) budget: u64,
    clock: Clock,
}

impl Cache {
    /// An empty cache of at most so many bytes.
    #[must_use]
    pub fn new(bytes: u64, clock: Clock) -> Self {
        let inner = Inner {
            shelf: Shelf::new(bytes),
            flights: Flights::default(),
            gate: RwLock::new(()),
            unkept: quick_cache::sync::Cache::new(MAX_UNKEPT),
            waiting: Semaphore::new(MAX_WAITING),
            held: Arc::default(),
            budget: bytes / BUDGET_PART,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// An empty cache that reads the system's clock.
    #[must_use]
    pub fn with_system_clock(bytes: u64) -> Self {
        Self::new(bytes, Arc::new(SystemTime::now))
    }

    /// Bytes of what is kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner.shelf.bytes()
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.inner.clock)()
    }
}

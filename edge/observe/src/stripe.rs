//! What requests add up to. Threads count apart, so that cores do not meet; a reader adds the parts.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::usage::{LATENCY_BOUNDS_MS, Usage};
use foldhash::quality::RandomState;

use crate::access_log::Buffer;
use crate::record::{CacheResult, Protocol, Record};
use crate::usage::{self, MAX_PROJECTS};

/// Most parts: more cores than that share some.
const MAX_STRIPES: usize = 64;
/// Classes of statuses, and one for requests without an answer.
pub(crate) const CLASSES: usize = 6;

/// One part. Its lock is free except while a reader adds up.
#[derive(Debug, Default)]
pub(crate) struct Stripe {
    pub(crate) totals: Totals,
    pub(crate) log: Buffer,
    projects: HashMap<Box<str>, Usage, RandomState>,
}

/// What all requests add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// By protocol and class of status.
    pub(crate) requests: [[u64; CLASSES]; Protocol::ALL.len()],
    pub(crate) latencies: [u64; LATENCY_BOUNDS_MS.len() + 1],
    pub(crate) latency_micros: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) cache: [u64; CacheResult::ALL.len()],
    /// By reason, of which there are few.
    pub(crate) refused: Vec<(&'static str, u64)>,
    /// Requests of projects beyond [`MAX_PROJECTS`].
    pub(crate) uncounted: u64,
}

impl Stripe {
    pub(crate) fn count(&mut self, record: &Record<'_>) {
        self.totals.count(record);
        let Some(project) = record.project else { return };
        if let Some(usage) = self.projects.get_mut(project) {
            usage::count(usage, record);
        } else if self.projects.len() < MAX_PROJECTS {
            usage::count(self.projects.entry(project.into()).or_default(), record);
        } else {
            self.totals.uncounted += 1;
        }
    }
}

impl Totals {
    fn count(&mut self, record: &Record<'_>) {
        let class = record.status.and_then(usage::class).unwrap_or(CLASSES - 1);
        self.requests[record.protocol as usize][class] += 1;
        self.latencies[usage::bucket(record)] += 1;
        self.latency_micros += u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        self.bytes_in += record.bytes_in;
        self.bytes_out += record.bytes_out;
        if let Some(cache) = record.cache {
            self.cache[cache as usize] += 1;
        }
        if let Some(reason) = record.refused {
            self.refuse(reason, 1);
        }
    }

    fn refuse(&mut self, reason: &'static str, count: u64) {
        match self.refused.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum += count,
            None => self.refused.push((reason, count)),
        }
    }

    fn add(&mut self, other: &Self) {
        let sum = |to: &mut [u64], more: &[u64]| to.iter_mut().zip(more).for_each(|(to, more)| *to += more);
        for (to, more) in self.requests.iter_mut().zip(&other.requests) {
            sum(to, more);
        }
        sum(&mut self.latencies, &other.latencies);
        sum(&mut self.cache, &other.cache);
        self.latency_micros = self.latency_micros.saturating_add(other.latency_micros);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.uncounted += other.uncounted;
        for (reason, count) in &other.refused {
            self.refuse(reason, *count);
        }
    }
}

/// A part on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(Mutex<Stripe>);

/// All parts.
#[derive(Debug)]
pub(crate) struct Stripes(Box<[Apart]>);

thread_local! {
    /// Which part a thread counts in.
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}
static THREADS: AtomicUsize = AtomicUsize::new(0);

impl Stripes {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = cores.next_power_of_two().min(MAX_STRIPES);
        Self(std::iter::repeat_with(Apart::default).take(count).collect())
    }

    /// The part of this thread.
    pub(crate) fn own(&self) -> MutexGuard<'_, Stripe> {
        let own = OWN.get().unwrap_or_else(|| {
            let own = THREADS.fetch_add(1, Ordering::Relaxed);
            OWN.set(Some(own));
            own
        });
        locked(&self.0[own % self.0.len()])
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Stripe>> {
        self.0.iter().map(locked)
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for stripe in self.each() {
            totals.add(&stripe.totals);
        }
        totals
    }

    /// What projects were served since the last call, once a part and project.
    pub(crate) fn drain(&self) -> Vec<Usage> {
        let mut all = Vec::new();
        for mut stripe in self.each() {
            let projects = std::mem::take(&mut stripe.projects);
            drop(stripe);
            all.extend(projects.into_iter().map(|(name, usage)| Usage { project: name.into(), ..usage }));
        }
        all
    }
}

/// A panic elsewhere leaves the counts whole, so they are used on.
fn locked(stripe: &Apart) -> MutexGuard<'_, Stripe> {
    stripe.0.lock().unwrap_or_else(PoisonError::into_inner)
}

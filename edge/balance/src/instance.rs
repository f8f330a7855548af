//! What is known of one address: how busy it is, and whether it answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::probe::Check;

/// Failures in a row after which an address is left out: one may be chance, and a visitor's request that fails
/// is tried elsewhere.
const EJECT_AFTER: u32 = 3;
/// For how long an address is left out at first. A process that is started anew is there within seconds.
const FIRST_BACK_OFF: Duration = Duration::from_secs(2);
/// Longest time for which an address is left out: a trial request a minute costs nobody anything.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);

/// One address.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    since: Instant,
    /// Requests that it is answering.
    in_flight: AtomicUsize,
    /// Failures since it last answered.
    failures: AtomicU32,
    /// Until when it is left out, in milliseconds after `since`; zero when it is not. After that time one request
    /// at a time tries it, until one succeeds.
    ejected_until: AtomicU64,
    /// How often in a row it was left out.
    ejections: AtomicU32,
    /// Whether a trial request is on its way.
    on_trial: AtomicBool,
    /// Whether looking at it fails.
    pub(crate) is_down: AtomicBool,
    /// Whether somebody looks at it.
    pub(crate) is_probed: AtomicBool,
    /// When the last set that has it was dropped, in milliseconds after `since`.
    left: AtomicU64,
    check: Mutex<Option<Arc<Check>>>,
    /// How often any instance was left out.
    all_ejections: Arc<AtomicU64>,
}

/// Whether an instance may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    /// Left out until now: to be tried with one request.
    Trial,
    Bad,
}

impl Instance {
    pub(crate) fn new(address: SocketAddr, now: Instant, all_ejections: &Arc<AtomicU64>) -> Self {
        Self {
            address,
            since: now,
            in_flight: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            on_trial: AtomicBool::new(false),
            is_down: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
            left: AtomicU64::new(0),
            check: Mutex::new(None),
            all_ejections: Arc::clone(all_ejections),
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        // One more, because zero means never.
        let passed = now.saturating_duration_since(self.since).as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX - 1).saturating_add(1)
    }

    pub(crate) fn standing(&self, now: Instant) -> Standing {
        if self.is_down.load(Ordering::Relaxed) {
            return Standing::Bad;
        }
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => Standing::Good,
            until if self.millis(now) < until || self.on_trial.load(Ordering::Relaxed) => Standing::Bad,
            _ => Standing::Trial,
        }
    }

    pub(crate) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Becomes the one trial request, unless another is.
    pub(crate) fn begin_trial(&self) -> bool {
        !self.on_trial.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_trial(&self) {
        self.on_trial.store(false, Ordering::Release);
    }

    /// It answered.
    pub(crate) fn succeeded(&self, was_trial: bool) {
        // Written only when it changes, so that cores that read it are not disturbed.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if was_trial {
            self.ejected_until.store(0, Ordering::Relaxed);
            // Not to zero: what fails again soon is left out for longer.
            let fewer = |ejections: u32| Some(ejections.saturating_sub(1));
            let _ = self.ejections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
            tracing::info!(address = %self.address, "an instance of an app answers again");
        }
    }

    /// It failed: whether that is reason enough to leave it out.
    pub(crate) fn failed(&self, was_trial: bool) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= EJECT_AFTER || was_trial
    }

    /// Leaves it out for a while, longer each time.
    pub(crate) fn eject(&self, now: Instant) {
        self.all_ejections.fetch_add(1, Ordering::Relaxed);
        let before = self.ejections.fetch_add(1, Ordering::Relaxed);
        let back_off = FIRST_BACK_OFF.saturating_mul(1 << before.min(8)).min(LONGEST_BACK_OFF);
        self.ejected_until.store(self.millis(now + back_off), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        tracing::warn!(address = %self.address, ?back_off, "an instance of an app is left out");
    }

    /// A set that had it is gone.
    pub(crate) fn leave(&self, now: Instant) {
        self.left.store(self.millis(now), Ordering::Relaxed);
    }

    /// Since when no set has it, if none has.
    pub(crate) fn idle(&self, now: Instant) -> Duration {
        Duration::from_millis(self.millis(now).saturating_sub(self.left.load(Ordering::Relaxed)))
    }

    /// How it is looked at.
    pub(crate) fn check(&self) -> Option<Arc<Check>> {
        self.check.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it is looked at from now on.
    pub(crate) fn set_check(&self, check: Option<Arc<Check>>) {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = check;
    }
}

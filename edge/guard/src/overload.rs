//! Overload of the whole edge: requests that are new and cheap to refuse are refused first, so that those that are
//! under way, and visitors who are known, are still answered in time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Time between two measures.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// Lag of the event loop that means overload when even the least of a tick's samples has it: work then waits in a
/// queue that does not empty (the reasoning of CoDel, RFC 8289). One slow moment does not count.
const LAG_HIGH: Duration = Duration::from_millis(100);
/// Lag below which the edge recovers; between the two it stays as it is.
const LAG_LOW: Duration = Duration::from_millis(30);
/// Part of the connections in use, in percent, that means overload.
const CONNECTIONS_HIGH: usize = 95;
/// Part below which the edge recovers.
const CONNECTIONS_LOW: usize = 85;
/// Refused of 256 requests, of one kind.
const ALL: u32 = 256;
/// How much more is refused at each overloaded tick: all strangers' first requests after three seconds.
const UP: u32 = 43;
/// How much less at each good tick: slower than up, so that the edge does not swing.
const DOWN: u32 = 16;
/// Ticks in overload before anything is refused.
const PATIENCE: u32 = 2;
/// Of each kind, a few are always let in, so that recovery shows.
const ALWAYS_IN: u32 = 13;
/// When a refused visitor may come again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the edge measures of itself in one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Least lateness of a timer, of several samples.
    pub lag: Duration,
    /// Connections in use.
    pub connections: usize,
    /// Most connections at once; zero when unbounded.
    pub max_connections: usize,
}

/// How willingly a request is refused, the first first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first request of a connection, from somebody who is not logged in as far as one can see.
    NewStranger,
    /// A further request of such a visitor.
    Stranger,
    /// A request with a cookie or credentials.
    Known,
}

/// Decides which requests are refused because the edge has too much to do.
#[derive(Debug, Default)]
pub struct Overload {
    /// Refused of 256, for all three kinds one after the other.
    shed: AtomicU32,
    /// Overloaded ticks in a row.
    hot: AtomicU32,
    turn: AtomicU32,
    refused: AtomicU64,
}

impl Kind {
    /// Of a request that shows who sent it, or not, and is the first of its connection, or not.
    pub(crate) const fn of(is_known: bool, is_first: bool) -> Self {
        match (is_known, is_first) {
            (true, _) => Self::Known,
            (false, true) => Self::NewStranger,
            (false, false) => Self::Stranger,
        }
    }
}

impl Overload {
    /// Takes a tick's measures into account.
    pub fn observe(&self, measures: &Measures) {
        let used = |percent: usize| measures.max_connections.saturating_mul(percent) / 100;
        let bounded = measures.max_connections > 0;
        let is_hot = measures.lag >= LAG_HIGH || (bounded && measures.connections >= used(CONNECTIONS_HIGH).max(1));
        let is_cool = measures.lag < LAG_LOW && (!bounded || measures.connections < used(CONNECTIONS_LOW).max(1));
        let before = self.shed.load(Ordering::Relaxed);
        let hot = if is_hot { self.hot.load(Ordering::Relaxed).saturating_add(1) } else { 0 };
        self.hot.store(hot, Ordering::Relaxed);
        let shed = if is_hot && hot >= PATIENCE {
            (before + UP).min(3 * ALL)
        } else if is_cool {
            before.saturating_sub(DOWN)
        } else {
            before
        };
        self.shed.store(shed, Ordering::Relaxed);
        if (before == 0) != (shed == 0) {
            let lag_ms = u64::try_from(measures.lag.as_millis()).unwrap_or(u64::MAX);
            let connections = measures.connections;
            if shed > 0 {
                tracing::warn!(lag_ms, connections, "the edge is overloaded and refuses new visitors");
            } else {
                tracing::info!(lag_ms, connections, "the edge is no longer overloaded");
            }
        }
    }

    /// Whether requests are refused at present.
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        self.shed.load(Ordering::Relaxed) > 0
    }

    /// Whether no request of this kind is refused at present: of one that shows by a cookie or credentials who sent
    /// it, or not, and is the first of its connection, or not.
    #[must_use]
    pub fn spares(&self, is_known: bool, is_first: bool) -> bool {
        self.shed.load(Ordering::Relaxed) <= Kind::of(is_known, is_first) as u32 * ALL
    }

    /// Requests refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether this request is refused. `kind` is asked for only when some are.
    pub(crate) fn refuses(&self, kind: impl FnOnce() -> Kind) -> bool {
        let shed = self.shed.load(Ordering::Relaxed);
        if shed == 0 {
            return false;
        }
        let part = shed.saturating_sub(kind() as u32 * ALL).min(ALL - ALWAYS_IN);
        // Neighbouring turns fall far apart, so refusals are spread evenly (a Weyl sequence).
        let turn = self.turn.fetch_add(0x9E37_79B9, Ordering::Relaxed) >> 24;
        let refused = turn < part;
        if refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        refused
    }
}

/// Least lateness of a timer within a tick. Samples as it sleeps.
pub(crate) async fn lag() -> Duration {
    /// Samples in a tick.
    const SAMPLES: u32 = 10;
    let mut least = Duration::MAX;
    for _ in 0..SAMPLES {
        let due = tokio::time::Instant::now() + TICK / SAMPLES;
        tokio::time::sleep_until(due).await;
        least = least.min(tokio::time::Instant::now().saturating_duration_since(due));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Measures = Measures { lag: Duration::from_millis(1), connections: 10, max_connections: 1000 };
    const LATE: Measures = Measures { lag: Duration::from_millis(150), ..CALM };
    const BETWEEN: Measures = Measures { lag: Duration::from_millis(60), ..CALM };
    const FULL: Measures = Measures { connections: 990, ..CALM };

    fn refused(overload: &Overload, kind: Kind) -> usize {
        (0..1000).filter(|_| overload.refuses(|| kind)).count()
    }

    fn ticks(overload: &Overload, measures: &Measures, count: usize) {
        for _ in 0..count {
            overload.observe(measures);
        }
    }

    #[test]
    fn a_calm_edge_and_one_late_moment_refuse_nobody() {
        let overload = Overload::default();
        for measures in [&CALM, &BETWEEN, &LATE, &CALM, &FULL, &BETWEEN, &LATE] {
            overload.observe(measures);
            assert_eq!(refused(&overload, Kind::NewStranger), 0);
        }
        assert_eq!(overload.refused(), 0);
    }

    #[test]
    fn new_strangers_are_refused_first_and_known_visitors_last() {
        for measures in [&LATE, &FULL] {
            let overload = Overload::default();
            ticks(&overload, measures, 4);
            let [new, strangers, known] =
                [Kind::NewStranger, Kind::Stranger, Kind::Known].map(|kind| refused(&overload, kind));
            assert!((400..600).contains(&new) && strangers == 0 && known == 0, "{new} {strangers} {known}");
            assert!(!overload.spares(false, true) && overload.spares(false, false) && overload.spares(true, true));
            ticks(&overload, measures, 6);
            let [new, strangers, known] =
                [Kind::NewStranger, Kind::Stranger, Kind::Known].map(|kind| refused(&overload, kind));
            assert!(new > 900 && (300..700).contains(&strangers) && known == 0, "{new} {strangers} {known}");
            assert!(!overload.spares(false, false) && overload.spares(true, false));
            ticks(&overload, measures, 100);
            let known = refused(&overload, Kind::Known);
            assert!((900..1000).contains(&known), "a few are always let in: {known}");
        }
    }

    #[test]
    fn an_edge_recovers_slowly_and_not_while_it_is_in_doubt() {
        let overload = Overload::default();
        ticks(&overload, &LATE, 7);
        let before = refused(&overload, Kind::NewStranger);
        ticks(&overload, &BETWEEN, 100);
        assert!(refused(&overload, Kind::NewStranger).abs_diff(before) < 20);
        ticks(&overload, &CALM, 5);
        let after = refused(&overload, Kind::NewStranger);
        assert!(after > 0 && after < before, "{after} {before}");
        ticks(&overload, &CALM, 20);
        assert!(!overload.is_shedding() && refused(&overload, Kind::NewStranger) == 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_loop_that_is_in_time_has_no_lag() {
        assert!(lag().await < Duration::from_millis(5));
    }
}

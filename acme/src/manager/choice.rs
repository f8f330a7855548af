//! Which authority an order goes to, and when: the first in order that is not down and has room within its limits.

use std::time::Duration;

use common::time::Timestamp;

use super::outcome::revoke_again;
use super::{Line, Manager};
use crate::entry::{Entry, Order, Step, Track};
use crate::failure::{Failure, Tried};
use crate::limits::{How, Kind, Need, Verdict, admit, taken};
use crate::schedule::renew_at;
use crate::store::{BucketChange, StoreError};

/// Least time between two looks at a certificate that is good.
const LEAST_REST: Duration = Duration::from_secs(60);
/// First time that an authority that is down is not asked; it doubles with each further failure.
const FIRST_REST: Duration = Duration::from_secs(60);
/// Longest time that it is not asked: one attempt an hour finds out that it is back.
const LONGEST_REST: Duration = Duration::from_secs(60 * 60);
/// How far ahead a place in an authority's queue may lie: 300 orders each 3 hours are 16,800 in a week.
const HORIZON: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How often buckets that others change at the same time are tried.
const BUCKET_TRIES: u32 = 16;
/// Part of its life that a certificate must have left, after the wait, for a renewal to wait for its turn with the
/// authority that it came from, rather than go to the next.
const PATIENCE: f64 = 1.0 / 6.0;
/// Least wait of a refused name, and what it is spread by, so that many don't come at once for one token.
const SPREAD: Duration = Duration::from_secs(10 * 60);

/// An authority that is out of order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    failures: u32,
    until: Timestamp,
}

/// What an authority's limits say to an order.
enum Room {
    /// Now.
    Now,
    /// Its limits forbid it until then.
    Later { until: Timestamp, reason: Failure, queue: bool },
}

impl Manager {
    /// Begins an order when it is time to, else sets the time.
    pub(super) async fn begin(&self, entry: &mut Entry) -> Result<(), StoreError> {
        self.revoke_replaced(entry).await?;
        let now = self.clock.now();
        let must = entry.revoke.iter().any(|r| entry.current.as_ref().is_some_and(|c| c.id == r.id));
        if !must && entry.is_covered() {
            self.look_at_window(entry).await;
            if let Some(current) = &entry.current {
                let renew_at = renew_at(current);
                if renew_at > now {
                    entry.track = Track::Active { renew_at };
                    entry.next = renew_at.min(current.next_look.max(now.after(LEAST_REST)));
                    if let Some(again) = revoke_again(entry, now) {
                        entry.next = entry.next.min(again);
                    }
                    return Ok(());
                }
            }
        }
        self.choose(entry, Vec::new()).await
    }

    /// Begins an order with the first authority that was not tried and can take it.
    pub(super) async fn choose(&self, entry: &mut Entry, mut tried: Vec<Tried>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut waiting: Option<(&Line, Timestamp, bool)> = None;
        for line in &self.lines {
            if tried.iter().any(|t| t.authority == line.authority) {
                continue;
            }
            let passed = |failure| Tried { authority: line.authority.clone(), failure };
            if let Some(until) = self.down_until(&line.authority, now) {
                let detail = format!("it did not answer, and is asked again at {until}");
                tried.push(passed(Failure::Unreachable { detail }));
                continue;
            }
            if entry.rehearse && line.rehearsal.is_some() {
                return self.intend(entry, line, tried, now, true);
            }
            match self.room(entry, line, Duration::ZERO).await? {
                Room::Now => return self.intend(entry, line, tried, now, false),
                Room::Later { until, reason, queue } => {
                    tried.push(passed(reason));
                    if waiting.is_none_or(|(_, before, _)| until < before) {
                        waiting = Some((line, until, queue));
                    }
                    if is_patient(entry, line, until) {
                        break;
                    }
                }
            }
        }
        match waiting {
            Some((line, until, queue)) => self.queue(entry, line, tried, until, queue).await,
            None => {
                self.give_up(entry, tried);
                Ok(())
            }
        }
    }

    /// Waits for an authority's limits: with a place in its queue where there is one.
    async fn queue(
        &self,
        entry: &mut Entry,
        line: &Line,
        mut tried: Vec<Tried>,
        mut until: Timestamp,
        queue: bool,
    ) -> Result<(), StoreError> {
        let Some(at) = tried.iter().position(|t| t.authority == line.authority) else { return Ok(()) };
        let Tried { failure: reason, .. } = tried.remove(at);
        if queue {
            // What is granted is an order that begins later.
            match self.reserve(entry, line, HORIZON).await? {
                Verdict::Granted { at, .. } => {
                    self.intend(entry, line, tried, at, false)?;
                    if at > self.clock.now() {
                        entry.track = Track::RateLimited { reason, next: at };
                    }
                    return Ok(());
                }
                Verdict::Refused { until: later, .. } => until = later,
            }
        }
        let own = crate::schedule::share(&[entry.name(), &until.as_millis().to_string()]);
        let next = until.after(SPREAD.mul_f64(own));
        entry.track = Track::RateLimited { reason, next };
        entry.next = next;
        Ok(())
    }

    fn intend(
        &self,
        entry: &mut Entry,
        line: &Line,
        tried: Vec<Tried>,
        at: Timestamp,
        rehearsal: bool,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let authority = line.authority.clone();
        entry.track = match entry.current {
            Some(_) => Track::Renewing { authority, since: now },
            None => Track::Issuing { authority, since: now },
        };
        entry.order = Some(Order {
            authority: line.authority.clone(),
            rehearsal,
            step: Step::Intended { at },
            since: at,
            replaces: if rehearsal { None } else { replaced(entry, line) },
            tried,
            restarts: 0,
        });
        entry.next = at;
        Ok(())
    }

    async fn room(&self, entry: &Entry, line: &Line, horizon: Duration) -> Result<Room, StoreError> {
        match self.reserve(entry, line, horizon).await? {
            Verdict::Granted { .. } => Ok(Room::Now),
            Verdict::Refused { need, until } => {
                let needs = needs(entry, line);
                let queue = needs.get(need).is_some_and(|need| need.how == How::Reserve);
                let what = needs.get(need).map_or("", |need| &need.key);
                let reason = Failure::RateLimited {
                    detail: format!("we keep within the limit {what}, which allows the next at {until}"),
                    until: Some(until),
                };
                Ok(Room::Later { until, reason, queue })
            }
        }
    }

    /// Takes from the buckets of an order, all or none.
    async fn reserve(&self, entry: &Entry, line: &Line, horizon: Duration) -> Result<Verdict, StoreError> {
        let needs = needs(entry, line);
        let keys: Vec<String> = needs.iter().map(|need| need.key.clone()).collect();
        let _held = self.buckets.lock().await;
        for _ in 0..BUCKET_TRIES {
            let full = self.store.buckets(&keys).await?;
            let verdict = admit(&needs, &full, self.clock.now(), horizon);
            let Verdict::Granted { full: after, .. } = &verdict else { return Ok(verdict) };
            let change = |((key, old), new): ((&String, &Option<Timestamp>), &Option<Timestamp>)| {
                (old != new).then(|| BucketChange { key: key.clone(), old: *old, new: *new })
            };
            let changes: Vec<_> = keys.iter().zip(&full).zip(after).filter_map(change).collect();
            if changes.is_empty() || self.store.set_buckets(&changes).await? {
                return Ok(verdict);
            }
        }
        Err(StoreError::Away("the limits are changed by too many at once".to_owned()))
    }

    /// Counts a failed authorisation as the authority does.
    pub(super) async fn count_failure(&self, entry: &Entry, order: &Order) -> Result<(), StoreError> {
        let Some(line) = self.line(&order.authority) else { return Ok(()) };
        let needs: Vec<Need> =
            entry.names.iter().filter_map(|name| line.limits.failure(&line.authority, name)).collect();
        let _held = self.buckets.lock().await;
        for need in needs {
            for _ in 0..BUCKET_TRIES {
                let key = std::slice::from_ref(&need.key);
                let old = self.store.buckets(key).await?.into_iter().next().flatten();
                let new = Some(taken(need.limit, old, self.clock.now()));
                if self.store.set_buckets(&[BucketChange { key: need.key.clone(), old, new }]).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn down_until(&self, authority: &str, now: Timestamp) -> Option<Timestamp> {
        let down = self.down.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        down.get(authority).map(|outage| outage.until).filter(|until| *until > now)
    }

    /// An authority did not answer, or did.
    pub(super) fn answered(&self, authority: &str, well: bool) {
        let now = self.clock.now();
        let mut down = self.down.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if well {
            if down.remove(authority).is_some() {
                tracing::info!(authority, "the certificate authority answers again");
            }
            return;
        }
        let outage = down.entry(authority.to_owned()).or_insert(Outage { failures: 0, until: now });
        // Those that were under way when it went down are one failure.
        if outage.until <= now {
            let rest = FIRST_REST.saturating_mul(1 << outage.failures.min(8)).min(LONGEST_REST);
            *outage = Outage { failures: outage.failures.saturating_add(1), until: now.after(rest) };
            tracing::warn!(authority, until = %outage.until, "the certificate authority does not answer");
        }
    }

    /// When the first of the authorities that are down is asked again.
    pub(super) fn back(&self, now: Timestamp) -> Option<Timestamp> {
        let down = self.down.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        down.values().map(|outage| outage.until).filter(|until| *until > now).min()
    }
}

/// The certificate that an order replaces, in the words of the authority that issued it and that it goes to.
fn replaced(entry: &Entry, line: &Line) -> Option<String> {
    let current = entry.current.as_ref().filter(|current| current.authority == line.authority)?;
    // An authority that suggests windows takes replacements.
    current.window.as_ref().and(current.renewal_id.clone())
}

fn needs(entry: &Entry, line: &Line) -> Vec<Need> {
    let current = entry.current.as_ref().filter(|current| current.authority == line.authority);
    let kind = match current {
        _ if replaced(entry, line).is_some() => Kind::Coordinated,
        Some(current) if current.names == entry.names => Kind::Renewal,
        _ => Kind::New,
    };
    line.limits.needs(&line.authority, &entry.names, kind)
}

/// Whether a renewal has the time to wait for its turn with the authority that it came from.
fn is_patient(entry: &Entry, line: &Line, until: Timestamp) -> bool {
    entry.current.as_ref().is_some_and(|current| {
        let left = current.not_after.since(until);
        current.authority == line.authority && left > current.lifetime().mul_f64(PATIENCE)
    })
}

//! A domain's host name, as a state machine. No other place changes its state.
//!
//! ```text
//! pending_dns, misconfigured, conflict ─▶ verifying ─▶ active ─▶ moved ─▶ misconfigured, pending_dns
//!        any but removed ─▶ suspended ─▶ pending_dns; any ─▶ removed
//! ```
//! Visitors are served in `verifying`, `active` and `moved`: never before it is proven whose the name is, and not for
//! long after it no longer is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::record::{Expected, Record};
use super::schedule;
use crate::deployment::Failure;
use crate::time::Timestamp;

/// What shows whose a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// A CNAME to the address of one of the account's projects.
    Cname,
    /// The edges' addresses at a registered name, where no CNAME may stand.
    Address,
    /// The account's text at `_astrocloud.<name>`.
    Txt,
    /// It is below `localhost`: the machine itself (RFC 6761).
    Local,
}

/// Why a domain is not active, and what comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// Why, and what to do.
    pub cause: Failure,
    /// What the DNS said at the last look.
    pub seen: Vec<Record>,
    /// What it should say.
    pub expected: Expected,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When a person last asked for it: looks are frequent for some time after that.
    pub asked_at: Timestamp,
    /// When the DNS is looked at again.
    pub next_check: Timestamp,
}

/// Where a host name is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Hostname {
    /// The DNS says nothing of the name yet.
    PendingDns(Waiting),
    /// It is proven whose the name is, but the name does not lead here. Visitors who come all the same are served.
    Verifying(Waiting),
    /// It leads here.
    Active {
        /// What shows whose it is.
        proof: Proof,
        /// Since when.
        since: Timestamp,
        /// Why the last look could not confirm it, or what stands in front of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doubt: Option<Failure>,
        /// When the DNS is looked at again; never for names that no DNS is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_check: Option<Timestamp>,
    },
    /// The name leads elsewhere.
    Misconfigured(Waiting),
    /// Another account holds the name or one around it.
    Conflict(Waiting),
    /// It led here and does no more. Visitors are served until `stops_at`.
    Moved {
        /// Why, and what comes next.
        #[serde(flatten)]
        waiting: Waiting,
        /// When it stops, unless it leads here again.
        stops_at: Timestamp,
    },
    /// The operator stopped it.
    Suspended {
        /// Why.
        cause: Failure,
        /// Since when.
        since: Timestamp,
    },
    /// It was detached.
    Removed {
        /// When.
        at: Timestamp,
    },
}

/// What a look at the DNS came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name leads here, and this shows whose it is.
    Ours(Proof),
    /// The text shows whose it is, and visitors come here through what stands in front: this is to be known of it.
    Through(Failure),
    /// It does not.
    Not {
        /// In which way.
        finding: Finding,
        /// Why, and what to do.
        cause: Failure,
        /// What the DNS said.
        seen: Vec<Record>,
        /// What it should say.
        expected: Expected,
    },
}

/// In which way a name does not lead here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The text shows whose it is.
    Owned,
    /// There is nothing.
    Nothing,
    /// It leads elsewhere, or nothing shows whose it is.
    Elsewhere,
    /// Another account holds it, and the text that decides is missing.
    Held,
    /// The DNS can't be asked, which says nothing of the name.
    Unknown,
}

/// What happens to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The DNS was looked at.
    Looked(Verdict),
    /// A person asks for a look now.
    Asked,
    /// Another account has shown that the name is its own.
    Taken(Failure),
    /// The operator stops it.
    Suspended(Failure),
    /// The operator lets it go on.
    Resumed,
    /// It is detached.
    Removed,
}

/// An event that its state does not allow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a domain that is {from} can't take the event {event}")]
pub struct IllegalTransition {
    /// The state's wire word.
    pub from: &'static str,
    /// The event's name.
    pub event: &'static str,
}

impl Hostname {
    /// A domain that was just attached; `expected` is what its owner is told to set.
    #[must_use]
    pub fn attached(expected: Expected, now: Timestamp) -> Self {
        let cause = Failure::new("not_looked_yet", "The DNS has not been looked at yet.");
        Self::PendingDns(Waiting { cause, seen: Vec::new(), expected, since: now, asked_at: now, next_check: now })
    }

    /// The state after `event`. A domain that was active and leads elsewhere is served for the time `notice`.
    ///
    /// # Errors
    /// When the state does not allow the event; the domain then stays as it is.
    pub fn on(self, event: Event, now: Timestamp, notice: Duration) -> Result<Self, IllegalTransition> {
        let illegal = IllegalTransition { from: self.as_str(), event: event.name() };
        match (self, event) {
            (Self::Removed { .. }, _) => Err(illegal),
            (_, Event::Removed) => Ok(Self::Removed { at: now }),
            (_, Event::Suspended(cause)) => Ok(Self::Suspended { cause, since: now }),
            (Self::Suspended { .. }, Event::Resumed) => Ok(Self::attached(Expected::default(), now)),
            (Self::Suspended { .. }, _) | (_, Event::Resumed) => Err(illegal),
            (before, Event::Asked) => Ok(before.asked(now)),
            (before, Event::Taken(cause)) => Ok(Self::Conflict(before.wait_for(cause, now))),
            (before, Event::Looked(verdict)) => Ok(before.looked(verdict, now, notice)),
        }
    }

    fn asked(mut self, now: Timestamp) -> Self {
        match &mut self {
            Self::Active { next_check: Some(next), .. } => *next = now,
            Self::Moved { waiting, .. } => waiting.next_check = now,
            Self::PendingDns(waiting)
            | Self::Verifying(waiting)
            | Self::Misconfigured(waiting)
            | Self::Conflict(waiting) => {
                waiting.asked_at = now;
                waiting.next_check = now;
            }
            Self::Active { .. } | Self::Suspended { .. } | Self::Removed { .. } => {}
        }
        self
    }

    fn looked(self, verdict: Verdict, now: Timestamp, notice: Duration) -> Self {
        let (finding, cause, seen, expected) = match verdict {
            Verdict::Ours(proof) => return self.active(proof, None, now),
            Verdict::Through(notice) => return self.active(Proof::Txt, Some(notice), now),
            Verdict::Not { finding, cause, seen, expected } => (finding, cause, seen, expected),
        };
        if finding == Finding::Unknown {
            return self.doubted(cause, now);
        }
        let stops_at = match &self {
            Self::Active { .. } => Some(now.after(notice)),
            Self::Moved { stops_at, .. } => Some(*stops_at).filter(|stops_at| *stops_at > now),
            _ => None,
        };
        let mut waiting = Waiting { seen, expected, ..self.wait_for(cause, now) };
        let same = |next: Self| if next.as_str() == self.as_str() { self.since() } else { now };
        let next: &dyn Fn(Waiting) -> Self = match (finding, stops_at) {
            (Finding::Nothing | Finding::Elsewhere, Some(stops_at)) => {
                waiting.next_check = now.after(schedule::DOUBTED).min(stops_at);
                &move |waiting| Self::Moved { waiting, stops_at }
            }
            (Finding::Owned, _) => &Self::Verifying,
            (Finding::Nothing, _) => &Self::PendingDns,
            (Finding::Held, _) => &Self::Conflict,
            (Finding::Elsewhere | Finding::Unknown, _) => &Self::Misconfigured,
        };
        waiting.since = same(next(waiting.clone()));
        next(waiting)
    }

    fn active(self, proof: Proof, doubt: Option<Failure>, now: Timestamp) -> Self {
        let since = match self {
            Self::Active { since, .. } => since,
            _ => now,
        };
        let next_check = (proof != Proof::Local).then(|| now.after(schedule::SETTLED));
        Self::Active { proof, since, doubt, next_check }
    }

    /// The DNS can't be asked: whatever the domain is, it stays.
    fn doubted(mut self, cause: Failure, now: Timestamp) -> Self {
        match &mut self {
            Self::Active { doubt, next_check, .. } => {
                *doubt = Some(cause);
                *next_check = Some(now.after(schedule::DOUBTED));
            }
            Self::Moved { waiting, .. } => {
                // Not before it was asked does it stop.
                waiting.cause = cause;
                waiting.next_check = now.after(schedule::DOUBTED);
            }
            Self::PendingDns(waiting)
            | Self::Verifying(waiting)
            | Self::Misconfigured(waiting)
            | Self::Conflict(waiting) => {
                waiting.cause = cause;
                waiting.next_check = now.after(schedule::wait(now.since(waiting.asked_at)));
            }
            Self::Suspended { .. } | Self::Removed { .. } => {}
        }
        self
    }

    /// What it waits for from now on; a time that people asked for it counts on.
    fn wait_for(&self, cause: Failure, now: Timestamp) -> Waiting {
        let asked_at = match self.waiting() {
            Some(waiting) => waiting.asked_at,
            None => now,
        };
        let expected = self.waiting().map(|waiting| waiting.expected.clone()).unwrap_or_default();
        let next_check = now.after(schedule::wait(now.since(asked_at)));
        Waiting { cause, seen: Vec::new(), expected, since: now, asked_at, next_check }
    }

    /// Whether visitors get the project, and a certificate is wanted.
    #[must_use]
    pub const fn is_served(&self) -> bool {
        matches!(self, Self::Verifying(_) | Self::Active { .. } | Self::Moved { .. })
    }

    /// What it waits for, in a state that does.
    #[must_use]
    pub const fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::PendingDns(waiting)
            | Self::Verifying(waiting)
            | Self::Misconfigured(waiting)
            | Self::Conflict(waiting)
            | Self::Moved { waiting, .. } => Some(waiting),
            Self::Active { .. } | Self::Suspended { .. } | Self::Removed { .. } => None,
        }
    }

    /// Why it is not simply active.
    #[must_use]
    pub const fn cause(&self) -> Option<&Failure> {
        match self {
            Self::Active { doubt, .. } => doubt.as_ref(),
            Self::Suspended { cause, .. } => Some(cause),
            _ => match self.waiting() {
                Some(waiting) => Some(&waiting.cause),
                None => None,
            },
        }
    }

    /// When the DNS is looked at again.
    #[must_use]
    pub const fn next_check(&self) -> Option<Timestamp> {
        match self {
            Self::Active { next_check, .. } => *next_check,
            _ => match self.waiting() {
                Some(waiting) => Some(waiting.next_check),
                None => None,
            },
        }
    }

    /// Since when it is in its state.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        match self {
            Self::PendingDns(waiting)
            | Self::Verifying(waiting)
            | Self::Misconfigured(waiting)
            | Self::Conflict(waiting)
            | Self::Moved { waiting, .. } => waiting.since,
            Self::Active { since, .. } | Self::Suspended { since, .. } => *since,
            Self::Removed { at } => *at,
        }
    }

    /// The state's wire word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PendingDns(_) => "pending_dns",
            Self::Verifying(_) => "verifying",
            Self::Active { .. } => "active",
            Self::Misconfigured(_) => "misconfigured",
            Self::Conflict(_) => "conflict",
            Self::Moved { .. } => "moved",
            Self::Suspended { .. } => "suspended",
            Self::Removed { .. } => "removed",
        }
    }
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Looked(_) => "looked",
            Self::Asked => "asked",
            Self::Taken(_) => "taken",
            Self::Suspended(_) => "suspended",
            Self::Resumed => "resumed",
            Self::Removed => "removed",
        }
    }
}

#[cfg(test)]
mod tests;

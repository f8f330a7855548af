//! The life of a deployment, as a state machine. No other place changes a deployment's state.
//!
//! ```text
//! queued ─▶ building ─▶ publishing ─┬────────────▶ ready
//!    ▲          │            │      └▶ starting ─▶ ready
//!    └──lost────┴────────────┴───────────┘
//! any of them before ready ─▶ failed | canceled
//! ```

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a deployment's output is, and so how it is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files, served by the edge from the object store.
    Static,
    /// A Node.js server, run by the app runtime.
    Node,
}

impl Kind {
    /// The wire word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Node => "node",
        }
    }
}

/// Where a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a deployer.
    Queued,
    /// A deployer fetches and builds it.
    Building,
    /// Its output is being stored.
    Publishing,
    /// Its app was started and its health check has not passed yet.
    Starting,
    /// Done; it can be made live at any time.
    Ready,
    /// Ended without a result.
    Failed(Failure),
    /// Ended because a person or a newer deployment said so.
    Canceled(Failure),
}

/// Why a deployment ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Stable word for scripts, for example `build_failed`.
    pub code: String,
    /// What went wrong and what to do, in a sentence for people.
    pub message: String,
}

impl Failure {
    /// A failure from its stable code and its sentence.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// What happens to a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A deployer took it.
    Claimed,
    /// The build ended well; storing begins.
    Built,
    /// The app was started.
    Started,
    /// Output stored, or app healthy.
    Succeeded,
    /// The deployer that had it is gone; another will begin anew.
    WorkerLost,
    /// It can't be completed.
    Failed(Failure),
    /// It is no longer wanted.
    Canceled(Failure),
}

/// An event that its state does not allow.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a deployment that is {from} can't take the event {event}")]
pub struct IllegalTransition {
    /// The state's wire word.
    pub from: &'static str,
    /// The event's name.
    pub event: &'static str,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// When the state does not allow the event; the deployment then stays as it is.
    pub fn on(&self, event: Event) -> Result<Self, IllegalTransition> {
        use State::{Building, Canceled, Failed, Publishing, Queued, Ready, Starting};
        let illegal = IllegalTransition { from: self.as_str(), event: event.name() };
        match (self, event) {
            (Queued, Event::Claimed) => Ok(Building),
            (Building, Event::Built) => Ok(Publishing),
            (Publishing, Event::Started) => Ok(Starting),
            (Publishing | Starting, Event::Succeeded) => Ok(Ready),
            (Building | Publishing | Starting, Event::WorkerLost) => Ok(Queued),
            (Queued | Building | Publishing | Starting, Event::Failed(why)) => Ok(Failed(why)),
            (Queued | Building | Publishing | Starting, Event::Canceled(why)) => Ok(Canceled(why)),
            _ => Err(illegal),
        }
    }

    /// Whether this is where an event leads to that a deployer reports: so it is known again when it is reported twice.
    #[must_use]
    pub const fn is_after(&self, event: &Event) -> bool {
        matches!(
            (event, self),
            (Event::Built, Self::Publishing)
                | (Event::Started, Self::Starting)
                | (Event::Succeeded, Self::Ready)
                | (Event::Failed(_), Self::Failed(_))
        )
    }

    /// Whether nothing will change it any more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Ready | Self::Failed(_) | Self::Canceled(_))
    }

    /// The stored word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Publishing => "publishing",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Failed(_) => "failed",
            Self::Canceled(_) => "canceled",
        }
    }

    /// The state from its stored word and, for the two that carry one, its reason.
    #[must_use]
    pub fn from_stored(word: &str, reason: Option<Failure>) -> Option<Self> {
        let unknown = || Failure::new("unknown", "No reason was recorded.");
        Some(match word {
            "queued" => Self::Queued,
            "building" => Self::Building,
            "publishing" => Self::Publishing,
            "starting" => Self::Starting,
            "ready" => Self::Ready,
            "failed" => Self::Failed(reason.unwrap_or_else(unknown)),
            "canceled" => Self::Canceled(reason.unwrap_or_else(unknown)),
            _ => return None,
        })
    }
}

impl Event {
    const fn name(&self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Built => "built",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::WorkerLost => "worker lost",
            Self::Failed(_) => "failed",
            Self::Canceled(_) => "canceled",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn why() -> Failure {
        Failure::new("build_failed", "`npm run build` ended with exit code 1.")
    }

    fn states() -> Vec<State> {
        vec![
            State::Queued,
            State::Building,
            State::Publishing,
            State::Starting,
            State::Ready,
            State::Failed(why()),
            State::Canceled(why()),
        ]
    }

    fn events() -> Vec<Event> {
        vec![
            Event::Claimed,
            Event::Built,
            Event::Started,
            Event::Succeeded,
            Event::WorkerLost,
            Event::Failed(why()),
            Event::Canceled(why()),
        ]
    }

    #[test]
    fn every_pair_of_state_and_event_is_decided_as_drawn() {
        let allowed: Vec<(&str, &str, &str)> = states()
            .iter()
            .flat_map(|s| events().into_iter().map(move |e| (s.clone(), e)))
            .filter_map(|(s, e)| s.on(e.clone()).ok().map(|n| (s.as_str(), e.name(), n.as_str())))
            .collect();
        assert_eq!(
            allowed,
            [
                ("queued", "claimed", "building"),
                ("queued", "failed", "failed"),
                ("queued", "canceled", "canceled"),
                ("building", "built", "publishing"),
                ("building", "worker lost", "queued"),
                ("building", "failed", "failed"),
                ("building", "canceled", "canceled"),
                ("publishing", "started", "starting"),
                ("publishing", "succeeded", "ready"),
                ("publishing", "worker lost", "queued"),
                ("publishing", "failed", "failed"),
                ("publishing", "canceled", "canceled"),
                ("starting", "succeeded", "ready"),
                ("starting", "worker lost", "queued"),
                ("starting", "failed", "failed"),
                ("starting", "canceled", "canceled"),
            ]
        );
    }

    #[test]
    fn a_report_that_was_taken_is_known_again_by_where_it_led() {
        for (event, state) in [
            (Event::Built, State::Publishing),
            (Event::Started, State::Starting),
            (Event::Succeeded, State::Ready),
            (Event::Failed(why()), State::Failed(why())),
        ] {
            let found: Vec<State> = states().into_iter().filter(|s| s.is_after(&event)).collect();
            assert_eq!(found, [state]);
        }
    }

    #[test]
    fn every_state_reads_back_from_its_stored_word() {
        for state in states() {
            assert_eq!(State::from_stored(state.as_str(), Some(why())), Some(state));
        }
        assert_eq!(State::from_stored("lost", None), None);
    }
}

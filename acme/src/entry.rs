//! What is known of one wanted certificate: the state it is in, the certificate it has, the order that runs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::challenge::{Answer, Method};
use crate::failure::{Failure, Tried};

/// Most names of one certificate: the least of what the profiles of public authorities allow.
pub const MAX_NAMES: usize = 25;

/// A wanted certificate. Its first name is its key; no name is in two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its names in lower case, `*.` first for a wildcard; the first is the key.
    pub names: Vec<String>,
    /// How control of them is proven: the first that the authority offers counts.
    pub methods: Vec<Method>,
    /// What people are told.
    pub track: Track,
    /// The certificate that is served.
    pub current: Option<Current>,
    /// The order that runs.
    pub order: Option<Order>,
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// The next attempt is rehearsed with an authority's staging side, so that failures don't use up its patience.
    pub rehearse: bool,
    /// Certificates to be revoked once another has taken their place.
    #[serde(default)]
    pub revoke: Vec<Revocation>,
    /// When it is looked at again.
    pub next: Timestamp,
}

/// Where a certificate stands. Each waiting state says why, and when it goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Track {
    /// Wanted, and not begun.
    None,
    /// The name does not resolve as it must.
    WaitingForDns {
        /// Why.
        reason: Failure,
        /// When it is tried again.
        next: Timestamp,
    },
    /// The first certificate is on its way.
    Issuing {
        /// The authority.
        authority: String,
        /// Since when.
        since: Timestamp,
    },
    /// There is one, and it is good.
    Active {
        /// When it is to be renewed.
        renew_at: Timestamp,
    },
    /// There is one, and the next is on its way.
    Renewing {
        /// The authority.
        authority: String,
        /// Since when.
        since: Timestamp,
    },
    /// CAA records forbid every authority that was asked.
    CaaBlocked {
        /// Why.
        reason: Failure,
        /// When it is tried again.
        next: Timestamp,
    },
    /// It waits its turn within an authority's limits.
    RateLimited {
        /// Which limit.
        reason: Failure,
        /// When its turn comes.
        next: Timestamp,
    },
    /// It failed otherwise. A certificate that is there is served on.
    Failing {
        /// Why.
        reason: Failure,
        /// When it is tried again.
        next: Timestamp,
    },
    /// Wanted no longer: what was issued is being revoked, and then nothing is left of it.
    Revoking {
        /// Why it is not revoked yet; none before the first try.
        reason: Option<Failure>,
        /// When it is tried again.
        next: Timestamp,
    },
}

/// The certificate that is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Current {
    /// Its id in the store.
    pub id: String,
    /// Who issued it.
    pub authority: String,
    /// What it covers.
    pub names: Vec<String>,
    /// From when it is good.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Its name towards the authority's renewal information (RFC 9773 section 4.1).
    pub renewal_id: Option<String>,
    /// When to renew, as the authority suggests; looked up now and then.
    pub window: Option<Window>,
    /// When the suggestion is looked up again.
    pub next_look: Timestamp,
    /// Why it is not from an authority before this one in order.
    pub passed_over: Vec<Tried>,
}

impl Current {
    /// Its whole life.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.not_after.since(self.not_before)
    }

    /// Its serial number in hexadecimal, where the authority names itself in what it issues.
    #[must_use]
    pub fn serial(&self) -> Option<String> {
        let (_, serial) = self.renewal_id.as_deref()?.split_once('.')?;
        let bytes = URL_SAFE_NO_PAD.decode(serial).ok()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// When a certificate should be renewed, in its authority's opinion (RFC 9773 section 4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From when.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// A page that explains it.
    pub explanation: Option<String>,
}

/// A certificate that is to be revoked (RFC 8555 section 7.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// The certificate.
    pub id: String,
    /// Who issued it.
    pub authority: String,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a certificate is revoked (RFC 5280 section 5.3.1): the reasons that a subscriber may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// None of the others.
    Unspecified,
    /// Its key is known to others.
    KeyCompromise,
    /// Another took its place.
    Superseded,
    /// The name is served no longer.
    CessationOfOperation,
}

/// An order in the making. It is saved after each step, so that a process that dies is followed by one that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The authority.
    pub authority: String,
    /// Whether it is for practice: with the authority's staging side, and its certificate is thrown away.
    pub rehearsal: bool,
    /// How far it is.
    pub step: Step,
    /// When it began.
    pub since: Timestamp,
    /// The certificate that it replaces, as the authority's renewal information names it (RFC 9773 section 5).
    pub replaces: Option<String>,
    /// Authorities that were asked before in this attempt.
    pub tried: Vec<Tried>,
    /// How many times it was begun again because the authority had lost it.
    pub restarts: u32,
}

/// The steps of an order. Each may be carried out again after a crash without harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Its place within the limits is taken, from `at` on. A crash between the authority's answer and the next step
    /// is the only one that leaves an order behind; it is counted, and ends by itself.
    Intended {
        /// When it may be placed.
        at: Timestamp,
    },
    /// The authority has it.
    Placed {
        /// Its address.
        url: String,
    },
    /// What has to be shown is known.
    Answering {
        /// The order's address.
        url: String,
        /// What has to be shown.
        answers: Vec<Answer>,
    },
    /// Everybody whom the authority may ask shows it.
    Shown {
        /// The order's address.
        url: String,
        /// What is shown.
        answers: Vec<Answer>,
    },
    /// The authority was told to look.
    Told {
        /// The order's address.
        url: String,
        /// What is shown.
        answers: Vec<Answer>,
    },
    /// Control is proven; the certificate's key is made, and never changes from here on.
    Keyed {
        /// The order's address.
        url: String,
        /// The private key, PKCS #8 in PEM, encrypted with the master key.
        sealed_key: String,
    },
}

impl Step {
    /// The order's address, once the authority has it.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Intended { .. } => None,
            Self::Placed { url }
            | Self::Answering { url, .. }
            | Self::Shown { url, .. }
            | Self::Told { url, .. }
            | Self::Keyed { url, .. } => Some(url),
        }
    }

    /// What may be shown at this step, and has to be withdrawn when the order ends here.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        match self {
            Self::Answering { answers, .. } | Self::Shown { answers, .. } | Self::Told { answers, .. } => answers,
            Self::Intended { .. } | Self::Placed { .. } | Self::Keyed { .. } => &[],
        }
    }
}

impl Entry {
    /// A certificate that is wanted from `now` on.
    #[must_use]
    pub fn new(names: Vec<String>, methods: Vec<Method>, now: Timestamp) -> Self {
        Self {
            names,
            methods,
            track: Track::None,
            current: None,
            order: None,
            failures: 0,
            rehearse: false,
            revoke: Vec::new(),
            next: now,
        }
    }

    /// Its key: the first of its names.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether a certificate is still wanted; else what was issued is being revoked.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        !matches!(self.track, Track::Revoking { .. })
    }

    /// Wants none any more: nothing is served from now on, and what was issued is to be revoked.
    pub fn retire(&mut self, reason: RevocationReason, now: Timestamp) {
        if let Some(current) = self.current.take() {
            self.revoke.retain(|revocation| revocation.id != current.id);
            self.revoke.push(Revocation { id: current.id, authority: current.authority, reason });
        }
        self.order = None;
        self.failures = 0;
        self.rehearse = false;
        self.track = Track::Revoking { reason: None, next: now };
        self.next = now;
    }

    /// Whether the certificate that is there covers all names.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.current.as_ref().is_some_and(|current| self.names.iter().all(|name| current.names.contains(name)))
    }
}

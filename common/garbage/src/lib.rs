//! Removes from the object store what no deployment names any more: marks it, waits, and sweeps it.
//!
//! In: the store, and what the database knows ([`Records`]). Out: deletions, and a [`Report`]. It must never delete a blob
//! that a manifest names, or will name, whoever publishes meanwhile.
//!
//! # How a publisher and a sweeper stay out of each other's way
//!
//! Stores can't delete on a condition, so both say what they are about to do before they look at the other, and both
//! know what the other said, because stores are consistent:
//!
//! - A publisher ([`Intent`]) writes which contents its manifest will name, **then** reads the list of condemned ones. If
//!   one of its own is on it, it waits until the list is gone. Only then does it look for what the store has already.
//!   It writes the manifest, **then** takes its intent away.
//! - A sweeper writes the list of condemned contents, **then** reads the intents, **then** the manifests that are new, and
//!   spares what they name. When the rest is deleted it takes the list away.
//!
//! So a publisher whose intent the sweeper did not see has seen the list, and looks at the store after the deletions. A
//! publisher whose intent was gone again has left its manifest, which the sweeper reads after the intents.
//!
//! A sweeper that dies leaves its list. It deletes nothing after the list's time is over, and what it asked the store for
//! before that has happened [`AFTERWARDS`] later; so nobody waits for longer, and the next sweeper then takes the list
//! away. This is the one place where clocks count: they may differ by as much as that, less what one request takes.
//!
//! Marks only make it wait: what is unreferenced in one pass is deleted when it still is after the grace period, in which
//! people may want a deleted thing back, and programs of the version before, which know no intents, end.

mod condemned;
mod intent;
mod manifests;
mod marks;
mod pass;
mod records;
mod report;
mod sources;

use std::time::Duration;

use common::blob::BlobError;
use common::time::Timestamp;

pub use intent::Intent;
pub use pass::collect;
pub use records::Records;
pub use report::Report;

/// A sweeper begins no deletion later than this after it wrote its list.
const SWEEP_FOR: Duration = Duration::from_secs(60);
/// What a sweeper asked for has happened so long after its list's time is over, at the latest: a request with all its
/// tries takes less than three minutes; the rest is for clocks.
pub const AFTERWARDS: Duration = Duration::from_secs(5 * 60);

/// How it is done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long something stays that nothing names.
    pub grace: Duration,
    /// What time it is.
    pub now: fn() -> Timestamp,
}

impl Settings {
    /// By the system's clock.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, now: Timestamp::now }
    }
}

/// Why garbage is not removed. What is there stays, and the next pass goes on.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// The database failed.
    #[error("what the database knows can't be read: {0}")]
    Records(String),
    /// An object is not what it should be.
    #[error("{key} in the object store can't be read: {detail}. Nothing is deleted while it is so")]
    Unreadable {
        /// Which.
        key: String,
        /// Why.
        detail: String,
    },
    /// Two installations on one store would delete each other's sites.
    #[error(
        "the object store is another installation's ({owner}): nothing is deleted. Give each installation a container or \
         folder of its own; if the other one is gone for good, delete the object {key}"
    )]
    Foreign {
        /// Whose it is.
        owner: String,
        /// Where it says so.
        key: &'static str,
    },
    /// Another sweeper deletes, or died while it did.
    #[error("another process is deleting, or died while it did; the next try makes sense after {0}")]
    Busy(Timestamp),
}

impl From<object_store::Error> for GarbageError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error.into())
    }
}

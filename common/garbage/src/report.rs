//! What a pass found and did.

use common::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names that a report shows.
const SHOWN: usize = 20;

/// What a pass found and did. Bytes are as stored, with precompressed variants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = GarbageReport)]
pub struct Report {
    /// Whether it only looked.
    pub dry_run: bool,
    /// Manifests that are kept.
    pub manifests: u64,
    /// Contents that are named by one, or by a deployment under way.
    pub named: u64,
    /// Contents, manifests and sources that nothing names, and that wait for the grace period to end.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// When the first of them is due.
    pub next_due: Option<Timestamp>,
    /// Those that were deleted, or would be.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Contents that were due, and that a deployment began to need meanwhile.
    pub spared: u64,
    /// The first of those that were deleted, or would be.
    pub examples: Vec<String>,
}

impl Report {
    pub(crate) fn wait(&mut self, bytes: u64, due: Timestamp) {
        self.waiting += 1;
        self.waiting_bytes += bytes;
        self.next_due = Some(self.next_due.map_or(due, |first| first.min(due)));
    }

    pub(crate) fn delete(&mut self, name: &str, bytes: u64) {
        self.deleted += 1;
        self.deleted_bytes += bytes;
        if self.examples.len() < SHOWN {
            self.examples.push(name.to_owned());
        }
    }
}

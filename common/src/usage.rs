//! What projects were served: counts that edges add up and the control plane keeps.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Upper bounds of the latency histogram's buckets in milliseconds; a last bucket has what is slower.
pub const LATENCY_BOUNDS_MS: [u32; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// What one project was served in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Usage {
    /// The project's name.
    pub project: String,
    /// Requests answered or broken off.
    pub requests: u64,
    /// Bytes of answers' bodies.
    pub bytes_out: u64,
    /// Bytes of requests' bodies.
    pub bytes_in: u64,
    /// Requests by the first digit of their status: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub statuses: [u64; 5],
    /// Requests by their time from head to last byte, by [`LATENCY_BOUNDS_MS`].
    pub latencies: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Answers out of the edge's memory.
    pub cache_hits: u64,
    /// Answers for which the edge asked the app or the object store.
    pub cache_misses: u64,
}

impl Usage {
    /// Adds what another record of the same project counted.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        for (sum, more) in self.statuses.iter_mut().zip(other.statuses) {
            *sum += more;
        }
        for (sum, more) in self.latencies.iter_mut().zip(other.latencies) {
            *sum += more;
        }
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
    }
}

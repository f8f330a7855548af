//! What was served: access log, metrics, usage, traces.
//!
//! In: one [`Record`] per request, and what happens to connections, upstreams and the route feed. Out: lines of the
//! access log, counts of projects on their way to the control plane, text for Prometheus, and spans for an
//! OpenTelemetry collector. It must never make a request wait: where something can't be written or sent in time it
//! is dropped and counted. It must never write a query, a cookie or credentials.

mod record;

mod access_log;
mod stripe;
mod usage;

mod metrics;
mod render;

mod traces;

mod observer;

pub use access_log::{AccessLog, LogError, LogTo};
pub use metrics::{ConnectionKind, Handshake, Metrics, OpenConnection, Upstream};
pub use observer::{Observer, Settings, StartError};
pub use record::{CacheResult, Protocol, Record, Trace};
pub use render::State;
pub use traces::{Otlp, OtlpError};
pub use usage::Pending;

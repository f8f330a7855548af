//! The job queue on Redis: any number of control planes put jobs, any number of deployers take them.
//!
//! In: jobs by the port [`common::queue::JobQueue`]. Out: leases of them, each job to one worker at a time, and at least
//! once. It must never be the truth: what it loses (Redis flushed, a job put while it was away) the control plane's sweep
//! puts again from the rows.
//!
//! # How it is kept
//!
//! Jobs that are out are pending entries of a stream with a consumer group: their idle time is the lease, whoever takes
//! the next job first takes back what ran out. Jobs that wait are in sorted sets instead, because a stream knows one order
//! only, and a queue of many customers needs more: accounts take turns and may have a bounded number of jobs out, jobs of
//! one project follow one another, some have priority, some wait for a time. Scripts of Redis ([`scripts`]) move jobs
//! between the two, each as one step. A second stream tells waiting clients of jobs, and working ones of cancellations.
//!
//! Why no ready-made crate: those looked at (apalis, oxana, rsmq) have no turns between accounts, no order within a
//! group, or no priorities.

mod connect;
mod events;
mod queue;
mod scripts;

pub use connect::{Address, AddressError};
pub use queue::{RedisQueue, Settings};

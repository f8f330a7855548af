//! The cache as an edge uses it: before an app whose answers and times the test decides.
#![allow(clippy::unwrap_used, clippy::panic)]

mod freshness;
mod isolation;
mod purging;
mod sharing;
mod testkit;

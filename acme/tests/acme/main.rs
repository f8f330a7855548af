//! The engine against real authorities: Pebble, which is Let's Encrypt's own test authority, and a small one that
//! speaks what Pebble does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod failover;
mod issue;
mod many;
mod renewal;
mod revoke;
mod simulation;
mod testkit;

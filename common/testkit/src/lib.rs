//! Real servers for the tests: each on ports and in a folder of its own, gone with the test that started it.
//!
//! Only tests depend on this crate, so it panics where a test would.

#![allow(clippy::panic, clippy::unwrap_used)]

pub mod azurite;
pub mod certificates;
pub mod keeper;
pub mod kubernetes;
pub mod nsd;
pub mod ports;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod registry;
pub mod tansu;

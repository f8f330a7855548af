//! Questions to real name servers on loopback addresses.
#![allow(clippy::unwrap_used, clippy::panic)]

mod each;
mod faults;
mod resolver;
mod trust;
mod walk;
mod world;

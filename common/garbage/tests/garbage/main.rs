//! Garbage is removed, and nothing else, whatever happens meanwhile.

#![allow(clippy::unwrap_used, clippy::panic)]

mod azure;
mod passes;
mod races;
mod world;

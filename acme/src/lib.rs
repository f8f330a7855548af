//! Certificates: who issues them, for how long, and when they are renewed.

pub mod authority;
pub mod challenge;
pub mod check;
pub mod client;
pub mod clock;
pub mod development;
pub mod entry;
pub mod failure;
pub mod issuer;
pub mod limits;
pub mod manager;
pub mod schedule;
pub mod store;
pub mod transport;

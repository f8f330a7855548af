//! Which instance of an app is asked: load, health, ejection, retries.
//!
//! In: the addresses of an app's instances, as its route lists them, and what became of each request. Out: the
//! instance for the next request ([`Upstreams::pick`]), and whether a failed one may be tried again
//! ([`Upstreams::may_retry`]). What is known of an address lives in the [`Fleet`], longer than any version of the
//! route table.
//!
//! It must never wait, take a lock or allocate to choose an instance, keep a visitor from the last instance that
//! is left, or send more than a trial request at a time to one that fails.

mod budget;
mod fleet;
mod instance;
mod probe;
mod upstreams;

pub use fleet::Fleet;
pub use probe::Check;
pub use upstreams::{Ticket, Upstreams};

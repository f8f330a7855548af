//! The domain doctor: names what is wrong with a custom domain, and the record that mends it.
//!
//! In: a host name as a person typed it, and what the platform expects of it. Out: a report whose findings each say
//! what was seen, what is expected and what to do, the cause before its consequences. Looking and judging are apart:
//! `observe` asks name servers, the registry and the addresses; `judge` is a pure function of what they said.
//!
//! It must never change anything, trust what a visited server says, or connect to an address inside the operator's
//! networks because a stranger's zone names it.

pub mod expected;
pub mod host;
pub mod report;

pub mod observation;
mod observe;

mod cdn;
mod provider;

pub mod judge;

mod examine;
mod front;

pub use examine::{Doctor, Ports, Settings, SetupError};
pub use expected::{Authority, EdgeSigns, Expected, Proof};
pub use front::{Front, Passes};
pub use report::{Action, Change, Code, Finding, Health, Provider, Report, Severity};

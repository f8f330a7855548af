//! Questions to the DNS, asked of the servers that are in charge and of nobody else.
//!
//! In: a name and a type. Out: what the name's own servers say of it at this moment, found by walking down from the
//! root as a resolver does, but without a resolver's memory; what each single server says; and whether the answer's
//! signatures hold from the root's trust anchor down (RFC 4035). Messages, transports and the validation of
//! signatures are hickory's; the walk is here, because the questions that are asked of it name servers one by one.
//!
//! A resolver can be asked too, to see what visitors still get.
//!
//! It must never answer out of a cache what the asked zone says, never send a query to an address inside the operator's
//! networks because a stranger's zone names it, and never ask without bounds.

pub mod address;
pub mod settings;

pub mod found;

mod ask;
mod judge;

mod authority;
mod walk;

mod each;
mod lookup;
mod resolver;

pub mod dnssec;

pub use dnssec::Trust;
pub use found::{Existence, Found, Listed, LookupError, Server, ServerFault};
pub use hickory_proto::rr::{Name, RData, Record, RecordType};
pub use lookup::Lookup;
pub use resolver::Remembered;
pub use settings::Settings;

//! An authoritative DNS server for zones that customers delegate to the platform.
//!
//! In: zones as values, whole and checked; datagrams and streams of strangers. Out: answers, and nothing about zones
//! that are not held: no recursion, no amplification. Names, data and their forms are hickory's; its server is not
//! used, because it signs whole zones at each edit and lists them by NSEC, where a zone here is an immutable table
//! that is swapped, with signatures made for what is asked.
//!
//! It must never change a zone, keep one on disk, or see a key that is not given to it opened.

pub mod name;
pub mod record;

pub mod master;
pub mod validate;
pub mod zone;

pub mod edit;
pub mod template;

pub mod key;

mod query;
mod reply;

pub mod alias;
pub mod answer;

mod whole;

pub mod limit;
pub mod secondary;
pub mod server;
mod transfer;
pub mod tsig;

pub use hickory_proto::rr::{Name, RData, RecordType};

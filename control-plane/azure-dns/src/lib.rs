//! TXT records in public zones of Azure DNS, by its REST API (`Microsoft.Network/dnsZones`, version 2018-05-01).
//!
//! In: a record's name and a value. Out: the record set with that value added or taken away, and all others' values as
//! they were: each write is conditional on the ETag that was read, so nobody's change is lost.
//!
//! Microsoft's own client crates are not used: they bring a second HTTP stack for three requests.
//! It must never show a credential, and never touch a record set of another type.

mod client;

pub use azure_identity::Credential;
pub use client::{AzureDns, AzureError, Config, Endpoints};

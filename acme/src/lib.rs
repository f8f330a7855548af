//! Certificates: who issues them, for how long, and when they are renewed.
//!
//! In: host names, and the master key that seals what must not be read. Out: [`common::certificate::Certificate`]s,
//! and for each host the id of the one that it should have now. Public authorities (RFC 8555) will stand beside
//! [`development`], whose certificates only the machines trust that were told to.
//!
//! This crate must never know routes, edges or a database: who has which host, and where certificates are kept,
//! is the control plane's.

pub mod development;

//! What every part of AstroCloud shares.
//!
//! In: nothing of ours. Out: the domain's types (ids, states, settings), the wire types between the
//! parts (REST bodies, route feed, manifests, log records), and the **ports**: traits behind which an
//! outside system lies, each with its embedded adapter and its conformance suite beside it.
//!
//! This crate must never know who calls it: no HTTP server, no SQL, no Pingora.

pub mod id;
pub mod name;
pub mod time;

pub mod deployment;
pub mod domain;
pub mod project;
pub mod revision;
pub mod source;

pub mod certificate;
pub mod manifest;
pub mod policy;
pub mod route;
pub mod signs;
pub mod site_rules;
pub mod usage;
pub mod zone;

pub mod api;
pub mod problem;

pub mod blob;
pub mod bus;
pub mod ledger;
pub mod password;
pub mod queue;
pub mod registry;
pub mod runtime;
pub mod secret;
pub mod shell;

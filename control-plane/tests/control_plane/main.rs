//! The control plane as its clients meet it: over HTTP and WebSockets, on a real database, store, bus and
//! queue. The tests play the deployer and the edge.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

mod auth;
mod certificates;
mod challenges;
mod database;
mod deployments;
mod domain_records;
mod domains;
mod domains_check;
mod edges;
mod env;
mod feed;
mod garbage;
mod ledger;
mod logs;
mod openapi;
mod policy;
mod projects;
mod purge;
mod queue;
mod recovery;
mod several;
mod snapshot;
mod uploads;
mod usage;
mod zone_proofs;
mod zones;

//! The bus on Kafka: what the port demands, and what it does when brokers fail.

#![allow(clippy::unwrap_used, clippy::panic)]

mod broker;
mod faults;
mod kit;
mod restarts;

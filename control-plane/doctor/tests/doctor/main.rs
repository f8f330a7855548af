//! The doctor: its judgement by table, and each fault seeded in real servers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod seeded;
mod sites;
mod table;
mod ward;

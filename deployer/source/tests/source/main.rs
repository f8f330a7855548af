//! Fetching, as the deployer does it: real archives, real repositories over HTTP, the real sandbox.
#![allow(clippy::unwrap_used, clippy::panic)]

mod archive;
mod git;
#[path = "../support/git_server.rs"]
mod git_server;
mod hostile;
mod kit;
mod mutations;

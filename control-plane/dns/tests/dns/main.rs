//! The server over its sockets, asked by other people's programs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod answers;
mod edits;
mod peers;
mod secondaries;
mod signed;
mod testkit;
mod text;

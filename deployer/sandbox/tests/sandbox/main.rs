//! The sandbox as its callers meet it: real commands, at every level that this host offers.

#![allow(clippy::unwrap_used, clippy::panic)]

mod command;
mod ending;
mod kit;
mod levels;
mod limits;
mod network;
mod view;

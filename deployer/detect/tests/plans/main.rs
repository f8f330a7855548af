//! Whole projects in, plans out.

#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;
mod frameworks;
mod managers;
mod node_versions;
mod output;
mod refusals;
mod robustness;
mod servers;
mod settings;
mod workspaces;

//! Whole publishes of real folders into a local object store.
#![allow(clippy::unwrap_used)]

mod content;
mod folder;
mod limits;
mod links;
mod redeploy;
mod rules;
mod world;

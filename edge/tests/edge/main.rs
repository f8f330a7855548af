//! The edge as visitors, apps and the control plane meet it: over real sockets, with a real object store.
#![allow(clippy::unwrap_used, clippy::panic)]

mod apps;
mod doubt;
mod files;
mod life;
mod routes;
mod testkit;

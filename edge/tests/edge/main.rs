//! The edge as visitors, apps and the control plane meet it: over real sockets, with a real object store.
#![allow(clippy::unwrap_used, clippy::panic)]

mod apps;
mod balance;
mod bodies;
mod doubt;
mod exchange;
mod fields;
mod files;
mod grpc;
mod guard;
mod handover;
mod headers;
mod life;
mod observe;
mod protection;
mod proxy_protocol;
mod ranges;
mod redirects;
mod response_cache;
mod routes;
mod secure_feed;
mod silence;
mod slashes;
mod testkit;
mod tls;
mod upgrades;

//! The whole platform as its users meet it: the real binary in a folder of its own, driven by its command
//! line, looked at with HTTP and a browser.
#![allow(clippy::unwrap_used, clippy::panic)]

mod browser;
mod internet;
mod node;
mod support;

mod api_page;
mod apps;
mod authorities;
mod azure;
mod backup;
mod cli;
mod custom_domains;
mod domains;
mod edge_role;
mod frameworks;
mod git;
mod hostile;
mod lifecycle;
mod limits;
mod logs_on_kafka;
mod policies;
mod roles;
mod static_sites;
mod trust;
mod websockets;
mod zones;

//! Images in a real registry, read and run by tools of others.
#![allow(clippy::unwrap_used, clippy::panic)]

mod azure;
mod faults;
mod image;
mod kit;
mod logins;
mod proxy;

//! Apps as their visitors, their developers and the control plane meet them: real Node servers in the sandbox.

#![allow(clippy::unwrap_used, clippy::panic)]

mod conformance;
mod kit;
mod logs;
mod restart;
mod start;
mod stop;

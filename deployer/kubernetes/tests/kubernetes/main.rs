//! The app runtime on a real Kubernetes control plane, with a node that runs real processes.

#![allow(clippy::panic, clippy::unwrap_used)]

mod kit;
mod kubelet;
mod logs;

mod conformance;
mod faults;
mod lease;
mod owners;
mod rights;
mod running;
mod start;

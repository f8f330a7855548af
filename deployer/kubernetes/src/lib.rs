//! The app runtime on Kubernetes: each deployment's app is a ReplicaSet in the namespace of its account.
//!
//! In: apps to start and to stop, and what the cluster's API tells of them. Out: objects in the cluster, written by
//! server-side apply under one field manager; the addresses at which healthy instances answer; each app's runtime log
//! on the bus; and, to the ledger, every change of what an app does. Why an app does not start is told as the cluster
//! says it, never as "timed out".
//!
//! It must never touch an object that is somebody else's, tell that an instance answers which is ending, let an app
//! reach another account's or the cluster, or end an app because the deployer ends.
//!
//! A deployment is immutable, so nothing is ever rolled from one version to the next inside an object: a bare
//! ReplicaSet does all that is needed, and one at zero instances is what a rollback goes back to.

mod settings;

mod names;

mod account;
mod objects;
mod workload;

mod cluster;
mod connect;

mod slices;
mod view;

mod judge;
mod why;

mod apps;
mod life;

mod follow;
mod lines;

mod lease;
mod sweep;

pub use apps::KubernetesRuntime;
pub use connect::{ConnectError, Connection, Versions};
pub use lease::Lease;
pub use settings::{AppLimits, Quota, Settings};

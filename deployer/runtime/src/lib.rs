//! The embedded app runtime: apps as sandboxed processes on this machine.
//!
//! In: apps to start and to stop, and their images from the registry. Out: the address at which a healthy
//! app answers, its runtime log on the bus, and, to the ledger, every change of what it does. It decides
//! when an app is healthy, when it is started again, and when it is killed.
//!
//! It must never tell that an app runs which does not, send traffic of one app to another, let an app end
//! without its log and the ledger saying why, or leave a process behind.
//!
//! Each app has a task of its own, its `life`, from the start to the last report.

mod config;

mod apps;

mod life;
mod wish;

mod image;
mod ports;

mod environment;
mod health;
mod listeners;
mod output;
mod process;
mod tail;

mod backoff;

pub use apps::ProcessRuntime;
pub use config::{AppLimits, Backoff, Config, Settings};

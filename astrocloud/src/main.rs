//! The one binary: the platform (`astrocloud up`) and the developer's command line.
//!
//! In: arguments, environment, configuration files. Out: a running platform, or calls to one's REST API and
//! their results on the terminal. It wires parts together and must never hold rules of theirs.

mod cli;
mod exit;
mod logging;
mod output;

mod archive;
mod backends;
mod client;
mod config;

mod plane;
mod process;
mod settings;
mod trust;

mod control_plane_role;
mod deployer_role;
mod edge_role;
mod up;

use std::process::ExitCode;

/// The system's allocator keeps what threads of builds and uploads gave back; this one returns it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The sandbox's helper changes what its process is, which only a process without threads can.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "sandbox-exec") {
        return sandbox::helper_main(std::env::args_os().skip(1));
    }
    cli::main()
}

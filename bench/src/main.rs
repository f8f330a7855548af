//! Benchmarks: the edge against its peers side by side, the edge's own limits and faults, and deploying.
//!
//! In: the edge as it is built into this binary, peers and load generators that are installed on this machine.
//! Out: reports. It measures and must never change what it measures; README.md says how to read the results.

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

mod compare;
mod deploys;
mod faults;
mod run;
mod scale;
mod targets;

mod peers;
mod scenario;

mod change;
mod checks;
mod handshake;
mod idle;
mod load;

mod report;
mod stats;

mod edge;
mod feed;
mod fixture;
mod machine;
mod probe;
mod process;
mod rig;
mod runtime;

/// Threads of the measurements themselves: their feed must not wait for their clients.
const CLIENT_THREADS: usize = 2;

/// The same allocator as the product's binary, because the edge runs out of this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures AstroCloud on this machine.
#[derive(Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The edge against nginx, HAProxy, h2o, Varnish and Caddy, side by side; writes a report.
    Run(run::Args),
    /// What changed between two reports, beyond the spread.
    Compare(compare::Args),
    /// 100,000 hosts, changes under load, idle connections, and a start after `kill -9`.
    Scale(scale::Args),
    /// What visitors get when the control plane and the object store fail.
    Faults(faults::Args),
    /// What `scale` and `faults` measured, as one table; fails when a target is not met.
    Targets(targets::Args),
    /// Seconds from `deploy` to the first answer, flips under load, memory at rest.
    Deploys(deploys::Args),
    /// An edge without a platform, for these benchmarks and for conformance scripts (README.md).
    #[command(hide = true)]
    Edge(edge::Args),
    /// A loop that answers fixed bytes: the limit to compare with, and the app behind proxies.
    #[command(hide = true)]
    Floor(peers::floor::Args),
    /// A WebSocket server that sends back what it gets: the app behind proxies.
    #[command(hide = true)]
    Echo(load::websocket::EchoArgs),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(args) => measure(run::run(args)),
        Command::Compare(args) => compare::run(&args),
        Command::Scale(args) => measure(scale::run(args)),
        Command::Faults(args) => measure(faults::run(args)),
        Command::Targets(args) => targets::run(&args),
        Command::Deploys(args) => measure(deploys::run(args)),
        Command::Edge(args) => runtime::of_threads(args.threads)?.block_on(edge::run(args)),
        Command::Floor(args) => runtime::of_threads(1)?.block_on(peers::floor::run(args)),
        Command::Echo(args) => runtime::of_threads(1)?.block_on(load::websocket::echo(args)),
    }
}

/// Runs a measurement. When it is interrupted, what it started is ended, because dropping a server ends it.
fn measure(measurement: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    runtime::of_threads(CLIENT_THREADS)?.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! {
            done = Box::pin(measurement) => done,
            _ = terminated.recv() => anyhow::bail!("terminated"),
            _ = interrupted.recv() => anyhow::bail!("interrupted"),
        }
    })
}

//! The job queue on Redis beside BullMQ: jobs a second, and how long a job waits for an idle worker.
//!
//! In: redis-server and node, as they are installed here, and npm's `bullmq`, which is fetched into a temporary folder.
//! Out: one line a figure. Both do the same work on the same Redis, in turn, each round in the other order; a ratio is of
//! the two in one round.
//!
//! Ours does more for each job: accounts take turns, jobs of a project follow one another.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde::Deserialize;
use tokio::process::{Child, Command};

mod queue;

/// What is done in each round.
#[derive(Clone, Copy, Parser)]
struct Args {
    /// Rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    work: Work,
}

/// The work.
#[derive(Clone, Copy, clap::Args)]
struct Work {
    /// Jobs that are put, and then taken
    #[arg(long, default_value_t = 5000)]
    jobs: usize,
    /// Puts at one time
    #[arg(long, default_value_t = 32)]
    adders: usize,
    /// Jobs that are worked on at one time
    #[arg(long, default_value_t = 8)]
    workers: usize,
    /// Jobs that are put one after the other for idle workers
    #[arg(long, default_value_t = 1000)]
    paced: usize,
    /// How many of them a second
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
}

/// What a round came to.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Measured {
    /// Jobs put a second.
    put: f64,
    /// Jobs taken and ended a second.
    taken: f64,
    /// Milliseconds from the put to the start of the work: the middle of all.
    p50_ms: f64,
    /// And what 99 of 100 stay below.
    p99_ms: f64,
}

/// For npm to fetch BullMQ.
const INSTALL: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    install(folder.path()).await?;
    let (_redis, port) = redis(folder.path()).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..args.rounds {
        for turn in 0..2 {
            flush(port).await?;
            if (round + turn) % 2 == 0 {
                ours.push(queue::run(port, args.work).await?);
            } else {
                theirs.push(bullmq(folder.path(), port, args.work).await?);
            }
        }
        println!("round {round}: ours {:?}, BullMQ {:?}", ours[round], theirs[round]);
    }
    for (what, of) in [
        ("jobs put a second", (|m: &Measured| m.put) as fn(&Measured) -> f64),
        ("jobs taken a second", |m| m.taken),
        ("wait of an idle worker, p50 ms", |m| m.p50_ms),
        ("wait of an idle worker, p99 ms", |m| m.p99_ms),
    ] {
        let (a, b): (Vec<f64>, Vec<f64>) = (ours.iter().map(of).collect(), theirs.iter().map(of).collect());
        let ratios = a.iter().zip(&b).map(|(a, b)| a / b).collect();
        println!("{what:<32} ours {}, BullMQ {}, ratio {}", spread(a), spread(b), spread(ratios));
    }
    Ok(())
}

/// The middle value, the least and the greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(middle), Some(most)) => format!("{middle:.2} ({least:.2} to {most:.2})"),
        _ => "nothing".to_owned(),
    }
}

async fn install(folder: &Path) -> anyhow::Result<()> {
    std::fs::write(folder.join("package.json"), include_str!("../package.json"))?;
    std::fs::write(folder.join("bullmq.js"), include_str!("../bullmq.js"))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder).kill_on_drop(true);
    let done = tokio::time::timeout(INSTALL, npm.output()).await.context("npm fetched nothing for minutes")??;
    ensure!(done.status.success(), "npm can't install bullmq: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// A Redis that keeps nothing, on a port that was free just now.
async fn redis(folder: &Path) -> anyhow::Result<(Child, u16)> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = Command::new("redis-server");
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    server.arg(folder).stdout(Stdio::null()).kill_on_drop(true);
    let server = server.spawn().context("redis-server can't be started: apt-get install redis-server")?;
    for _ in 0..500 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok((server, port));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("redis-server does not answer")
}

async fn flush(port: u16) -> anyhow::Result<()> {
    let done = Command::new("redis-cli").args(["-p", &port.to_string(), "flushall"]).output().await?;
    ensure!(done.status.success(), "Redis can't be emptied");
    Ok(())
}

async fn bullmq(folder: &Path, port: u16, work: Work) -> anyhow::Result<Measured> {
    let numbers = [work.jobs, work.adders, work.workers, work.paced].map(|n| n.to_string());
    let mut node = Command::new("node");
    node.arg("bullmq.js").arg(port.to_string()).args(numbers).arg(work.rate.to_string());
    node.current_dir(folder).env("NODE_ENV", "production").kill_on_drop(true);
    let done = node.output().await.context("node can't be started")?;
    ensure!(done.status.success(), "BullMQ failed: {}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8_lossy(&done.stdout);
    let line = text.lines().last().context("BullMQ said nothing")?;
    serde_json::from_str(line).with_context(|| format!("BullMQ said {line}"))
}

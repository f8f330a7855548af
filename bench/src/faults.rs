//! `bench faults`: what visitors get when what the edge leans on fails.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use common::manifest::blob_key;
use common::route::Route;
use rustix::fs::{CWD, Mode, mkfifoat};
use tokio::task::JoinHandle;

use crate::checks::Checks;
use crate::edge::{publish, site};
use crate::fixture::{Fixture, HOST};
use crate::load::wrk::{self, Plan};
use crate::load::{Generator, oha};
use crate::probe;
use crate::process;
use crate::report::number;
use crate::rig::{APP, Rig, WRITTEN};
use crate::stats::percentile;

mod database;

/// The project whose objects hang.
const SLOW: &str = "slow.bench.test";
/// A project as large whose objects do not, which has as many visitors for comparison.
const CALM: &str = "calm.bench.test";
/// A project whose files are cold, each asked for once.
const COLD: &str = "cold.bench.test";
/// Files of each of them, all asked for at once of the first two: more than the threads (512) that Tokio has for reading
/// files.
const FILES: usize = 600;
/// Cold files that are timed before, and as many meanwhile.
const COLD_ONES: usize = 100;
/// Longest time in which a visitor of a cold file is told that it can't be had.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Requests a second of the visitors whose latency is watched.
const RATE: u64 = 2000;
/// Seconds of each load.
const SECONDS: u64 = 5;
/// How much longer a visitor of another project may wait than beside a project whose store answers: more is not noise on
/// a busy machine.
const UNCHANGED_FACTOR: f64 = 2.0;
/// Below this many milliseconds a difference is none that a visitor could notice.
const UNNOTICED_MS: f64 = 5.0;

/// How it is run.
#[derive(clap::Args)]
pub struct Args {
    /// Where the table is written.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The platform's binary, whose database is lost.
    #[arg(long, default_value = "target/release/astrocloud")]
    binary: PathBuf,
}

/// Measures every target, and writes the table.
pub async fn run(args: Args) -> anyhow::Result<()> {
    process::allow_descriptors()?;
    let work = tempfile::tempdir()?;
    let fixture = Fixture::write(&work.path().join("fixture"))?;
    let mut checks = Checks::new();
    let folder = work.path().join("slow");
    let rig = slow_rig(&fixture, work.path(), &folder).await?;
    one_slow_project(&rig, &mut checks).await;
    rig.stop().await?;

    let folder = work.path().join("down");
    let mut rig = Rig::start(&fixture, &folder, async |_| Ok(Vec::new())).await?;
    all_down(&mut rig, &folder, &mut checks).await?;
    rig.stop().await?;
    checks.add("database lost: a site of a running platform", "0 failed requests", database::lost(&args.binary).await);
    checks.write(&args.out, "faults")
}

/// Control plane and object store down: what was cached and what runs serves on.
async fn all_down(rig: &mut Rig, folder: &Path, checks: &mut Checks) -> anyhow::Result<()> {
    for (host, path) in [(HOST, "/1k.txt"), (APP, "/")] {
        let answer = probe::get(rig.http, host, path).await?;
        ensure!(answer.status == 200, "{host} answers {} while all is well", answer.status);
    }
    tokio::time::sleep(WRITTEN).await;
    rig.world.feed.stop();
    let parts = ["blobs", "manifests"].map(|part| folder.join("store").join(part));
    for part in &parts {
        std::fs::rename(part, part.with_extension("aside"))?;
        // Not an absent folder, in which a file just would not exist, but one that can't be read.
        std::fs::write(part, "")?;
    }

    checks.add("all down: a cached file", "0 failed requests", hammer(rig, HOST, "1k.txt", folder).await);
    checks.add("all down: an app", "0 failed requests", hammer(rig, APP, "", folder).await);
    let cold = told(rig.http, HOST, "/100k.txt", 503).await;
    checks.add("all down: a cold file", "503 with Retry-After, no hang", cold);
    checks.add("all down: an unknown host", "404, no hang", told(rig.http, "unknown.bench.test", "/", 404).await);
    let again = rig.restart().await.map(|time| (format!("after {} ms", time.as_millis()), time.as_millis() < 300));
    checks.add("all down: kill -9, and the app serves again", "within 300 ms", again);
    checks.add("all down: a site after that", "503 with Retry-After", told(rig.http, HOST, "/1k.txt", 503).await);

    for part in &parts {
        std::fs::remove_file(part)?;
        std::fs::rename(part.with_extension("aside"), part)?;
    }
    checks.add("the store is back: the cold file", "200 within 5 s", back(rig.http).await);
    Ok(())
}

async fn back(address: SocketAddr) -> anyhow::Result<(String, bool)> {
    let begun = Instant::now();
    while probe::get(address, HOST, "/100k.txt").await?.status != 200 {
        ensure!(begun.elapsed() < TOLD_WITHIN, "it does not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let time = begun.elapsed();
    Ok((format!("after {} ms", time.as_millis()), time < Duration::from_secs(5)))
}

/// Many visitors of one path.
async fn hammer(rig: &Rig, host: &str, path: &str, work: &Path) -> anyhow::Result<(String, bool)> {
    let wrk = Generator::find("wrk").context("wrk is missing: apt-get install wrk")?;
    let plan = Plan { headers: vec![format!("Host: {host}")], ..Plan::of(path) };
    let counted = wrk::run(&wrk, &rig.target(), &plan, SECONDS, work).await?;
    let text = format!("{} requests, {} failed ({})", number(counted.good as f64), counted.failed, counted.failures);
    Ok((text, counted.failed == 0 && counted.good > 0))
}

/// One visitor, who must get this status soon; with `Retry-After` when it is 503.
async fn told(address: SocketAddr, host: &str, path: &str, status: u16) -> anyhow::Result<(String, bool)> {
    let begun = Instant::now();
    let answer = probe::get(address, host, path).await?;
    let time = begun.elapsed();
    let retry = answer.field("retry-after");
    let after = retry.map_or_else(String::new, |seconds| format!(", Retry-After: {seconds}"));
    let text = format!("{}{after}, after {} ms", answer.status, time.as_millis());
    Ok((text, answer.status == status && (status != 503 || retry.is_some()) && time < TOLD_WITHIN))
}

/// An edge with a project whose objects hang when they are opened, one whose do not, and one of cold files.
async fn slow_rig(fixture: &Fixture, work: &Path, folder: &Path) -> anyhow::Result<Rig> {
    let mut texts = Vec::new();
    for (name, host) in [("slow-site", SLOW), ("calm-site", CALM), ("cold-site", COLD)] {
        std::fs::create_dir_all(work.join(name))?;
        for number in 0..FILES {
            let text = format!("{host} {number}");
            std::fs::write(work.join(name).join(format!("{number}.txt")), &text)?;
            texts.push((host, text));
        }
    }
    let rig = Rig::start(fixture, folder, async |world| {
        let slow = publish::folder(&world.store, &work.join("slow-site")).await?;
        let calm = publish::folder(&world.store, &work.join("calm-site")).await?;
        let cold = publish::folder(&world.store, &work.join("cold-site")).await?;
        // Projects of their own: what is read of the store is bounded for each.
        let alone = |host: &str, deployment| Route { project: host.into(), ..site(host, deployment) };
        Ok(vec![alone(SLOW, &slow), alone(CALM, &calm), alone(COLD, &cold)])
    })
    .await?;
    for (_, text) in texts.iter().filter(|(host, _)| *host == SLOW) {
        let blob = folder.join("store").join(blob_key(blake3::hash(text.as_bytes()).to_hex().as_str(), None));
        std::fs::remove_file(&blob)?;
        // Whoever opens a pipe waits for its writer, for ever.
        mkfifoat(CWD, &blob, Mode::RUSR | Mode::WUSR)?;
    }
    Ok(rig)
}

async fn one_slow_project(rig: &Rig, checks: &mut Checks) {
    const WHAT: [&str; 3] = [
        "store hangs for one project: p99 of another's cached file",
        "store hangs for one project: another's cold files",
        "store hangs for one project: its own visitors",
    ];
    // The same visitors come to a store that answers, so that what differs is the fault alone.
    let before = beside(rig, CALM, 200, 0..COLD_ONES).await;
    let now = beside(rig, SLOW, 503, COLD_ONES..2 * COLD_ONES).await;
    checks.add(WHAT[0], "unchanged", unchanged(before.hot, now.hot));
    checks.add(WHAT[1], "unchanged", unchanged(before.cold, now.cold));
    let visitors = now.visitors;
    let mut last = Ok((String::new(), false));
    let mut good = 0;
    for visitor in visitors {
        last = visitor.await.map_err(anyhow::Error::from).flatten();
        good += usize::from(last.as_ref().is_ok_and(|(_, met)| *met));
    }
    let own =
        last.map(|(text, _)| (format!("{good} of {FILES} get 503 with Retry-After; the last: {text}"), good == FILES));
    checks.add(WHAT[2], "503 with Retry-After, no hang", own);
}

/// What visitors of other projects meet while all of one project's files are asked for at once.
struct Beside {
    hot: anyhow::Result<f64>,
    cold: anyhow::Result<f64>,
    visitors: Vec<JoinHandle<anyhow::Result<(String, bool)>>>,
}

async fn beside(rig: &Rig, host: &'static str, status: u16, numbers: Range<usize>) -> Beside {
    let address = rig.http;
    let visitors = (0..FILES)
        .map(|number| tokio::spawn(async move { told(address, host, &format!("/{number}.txt"), status).await }))
        .collect();
    Beside { hot: hot(rig).await, cold: cold(rig, numbers).await, visitors }
}

fn unchanged(before: anyhow::Result<f64>, now: anyhow::Result<f64>) -> anyhow::Result<(String, bool)> {
    let (before, now) = (before?, now?);
    let met = now < (before * UNCHANGED_FACTOR).max(UNNOTICED_MS);
    Ok((
        format!("{} ms beside a project whose store answers, {} ms beside the other", number(before), number(now)),
        met,
    ))
}

/// p99 in milliseconds of a cached file, at a fixed rate.
async fn hot(rig: &Rig) -> anyhow::Result<f64> {
    let oha = Generator::find("oha").context("oha is missing: cargo install oha --version 1.16.0 --locked")?;
    let plan = oha::Plan { path: "1k.txt".into(), tls: false, h2: false, headers: Vec::new(), rate: RATE };
    let counted = oha::run(&oha, &rig.target(), &plan, SECONDS).await?;
    counted.ensure_none_failed()?;
    Ok(counted.latency.context("no latency")?.p99_us / 1e3)
}

/// The 90th percentile in milliseconds of files that were never asked for, one after the other.
async fn cold(rig: &Rig, numbers: Range<usize>) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for number in numbers {
        let begun = Instant::now();
        let answer = probe::get(rig.http, COLD, &format!("/{number}.txt")).await?;
        ensure!(answer.status == 200, "a cold file gets {}", answer.status);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    percentile(&mut times, 0.9).context("nothing was timed")
}

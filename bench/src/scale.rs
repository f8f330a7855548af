//! `bench scale`: what 100,000 hosts cost, changes under load, idle connections, and a start after `kill -9`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use common::route::Route;
use tokio::time::MissedTickBehavior;

use crate::checks::Checks;
use crate::edge::many_sites;
use crate::fixture::{FLIP, Fixture, HOST, HOSTS, host};
use crate::idle;
use crate::load::wrk::{self, Plan};
use crate::load::{Counted, Generator, oha};
use crate::probe;
use crate::process;
use crate::report::number;
use crate::rig::{Rig, WRITTEN};
use crate::stats::{Spread, percentile};

/// How long a fresh edge rests before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// Single changes that are timed: enough for a 99th percentile.
const CHANGES: usize = 300;
/// Longest wait for a change's effect.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes a second, under load.
const CHANGE_RATE: u64 = 1000;
/// Requests a second of the traffic whose tail is watched: far below saturation, so that only pauses show.
const TRAFFIC_RATE: u64 = 2000;
/// Pause between the changes meanwhile.
const CHANGE_PAUSE: Duration = Duration::from_millis(100);
/// Every so many changes one is of the host that is asked for.
const OWN_CHANGE: u64 = 10;
/// Restarts that are timed.
const RESTARTS: usize = 5;

/// How it is run.
#[derive(clap::Args)]
pub struct Args {
    /// How long each load lasts, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the table is written.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// Measures every target, and writes the table.
pub async fn run(args: Args) -> anyhow::Result<()> {
    process::allow_descriptors()?;
    let work = tempfile::tempdir()?;
    let fixture = Fixture::write(&work.path().join("fixture"))?;
    fixture.write_many()?;
    let mut checks = Checks::new();

    let bare = Rig::start(&fixture, &work.path().join("bare"), async |_| Ok(Vec::new())).await?;
    tokio::time::sleep(REST).await;
    let without = bare.process.memory()?;
    let idle = idle::measure(&bare.process, &bare.target(), true, &fixture.certificate_pem).await;
    bare.stop().await?;

    let folder = work.path().join("many");
    let mut rig = Rig::start(&fixture, &folder, async |world| {
        world.publish_flips(&fixture).await?;
        let mut routes = many_sites(&world.publish_many(&fixture).await?)?;
        routes.push(Route { host: FLIPPING.into(), ..world.flip_route(FLIP[0])? });
        Ok(routes)
    })
    .await?;
    tokio::time::sleep(REST).await;
    let table_mb = (rig.process.memory()? as f64 - without as f64) / 1e6;
    checks.add(
        "memory of a table of 100,000 hosts, two fresh edges compared",
        "below 60 MB",
        Ok((format!("{} MB", number(table_mb)), table_mb < 60.0)),
    );
    checks.add("one host's change among 100,000", "live within 50 ms, p99", one_by_one(&rig).await);
    checks.add(
        "p99.9 of running traffic while hosts change ten times a second",
        "no pause visible: below twice that without changes, or 5 ms",
        tail(&rig, args.seconds).await,
    );
    checks.add("1,000 route changes a second under load", "0 failed requests", storm(&rig, &args, &folder).await);
    let idle = idle.map(|kb| (format!("{} KB each", number(kb)), kb < 25.0));
    checks.add("10,000 idle TLS connections", "below 25 KB each", idle);
    let again = after_restart(&mut rig, without).await;
    checks.add("the same memory after a restart from disk", "below 60 MB", again);
    checks.add("kill -9 and restart without a control plane", "serves within 300 ms", restarts(&mut rig).await);
    rig.stop().await?;
    checks.write(&args.out, "scale")
}

/// Megabytes that the table takes in an edge that read it from disk.
async fn after_restart(rig: &mut Rig, without: u64) -> anyhow::Result<(String, bool)> {
    tokio::time::sleep(WRITTEN).await;
    rig.world.feed.stop();
    rig.restart().await?;
    tokio::time::sleep(REST).await;
    let megabytes = (rig.process.memory()? as f64 - without as f64) / 1e6;
    Ok((format!("{} MB", number(megabytes)), megabytes < 60.0))
}

/// The host that flips, beside the site's.
const FLIPPING: &str = "flip.bench.test";

fn flip(rig: &Rig, to: &str) -> anyhow::Result<u64> {
    Ok(rig.world.feed.upsert(vec![Route { host: FLIPPING.into(), ..rig.world.flip_route(to)? }]))
}

async fn one_by_one(rig: &Rig) -> anyhow::Result<(String, bool)> {
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let to = FLIP[(change + 1) % 2];
        let begun = Instant::now();
        flip(rig, to)?;
        while !probe::get(rig.http, FLIPPING, "/").await?.contains(to) {
            ensure!(begun.elapsed() < PATIENCE, "a change has no effect");
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut at = |share| percentile(&mut times, share).context("nothing was timed");
    let (median, p99) = (at(0.5)?, at(0.99)?);
    Ok((format!("p50 {} ms, p99 {} ms, {CHANGES} changes", number(median), number(p99)), p99 < 50.0))
}

/// Latency at a fixed rate, without and with changes.
async fn tail(rig: &Rig, seconds: u64) -> anyhow::Result<(String, bool)> {
    let oha = Generator::find("oha").context("oha is missing: cargo install oha --version 1.16.0 --locked")?;
    let plan = oha::Plan { path: "1k.txt".into(), tls: false, h2: false, headers: Vec::new(), rate: TRAFFIC_RATE };
    let p999 = |counted: Counted| {
        counted.ensure_none_failed()?;
        anyhow::Ok(counted.latency.context("no latency")?.p999_us / 1e3)
    };
    let calm = p999(oha::run(&oha, &rig.target(), &plan, seconds).await?)?;
    let changing = async {
        for change in 0.. {
            flip(rig, FLIP[change % 2])?;
            tokio::time::sleep(CHANGE_PAUSE).await;
        }
        anyhow::Ok(())
    };
    let target = rig.target();
    let busy = tokio::select! {
        counted = oha::run(&oha, &target, &plan, seconds) => p999(counted?)?,
        ended = changing => return Err(ended.err().context("the changes ended")?),
    };
    let text = format!("{} ms without, {} ms with changes, at {TRAFFIC_RATE} requests/s", number(calm), number(busy));
    Ok((text, busy < (calm * 2.0).max(5.0)))
}

/// Many changes while many visitors come.
async fn storm(rig: &Rig, args: &Args, work: &Path) -> anyhow::Result<(String, bool)> {
    let wrk = Generator::find("wrk").context("wrk is missing: apt-get install wrk")?;
    let total = CHANGE_RATE * args.seconds;
    let route = rig.world.flip_route(FLIP[0])?;
    let begun = Instant::now();
    let changes = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(CHANGE_RATE)?);
        // A change that comes late is followed at once by the next, or the rate would not be reached.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut version = 0;
        for change in 0..total {
            ticks.tick().await;
            version = if change % OWN_CHANGE == 0 {
                flip(rig, FLIP[usize::try_from(change / OWN_CHANGE)? % 2])?
            } else {
                // A stride that is prime to the number of hosts reaches all of them.
                let number = usize::try_from(change * 7919)? % HOSTS;
                rig.world.feed.upsert(vec![Route { host: host(number).into(), ..route.clone() }])
            };
        }
        let told = begun.elapsed();
        rig.world.feed.applied(version).await?;
        anyhow::Ok((told, begun.elapsed() - told))
    };
    let target = rig.target();
    let plan = Plan { headers: vec![format!("Host: {FLIPPING}")], ..Plan::of("") };
    let load = wrk::run(&wrk, &target, &plan, args.seconds, work);
    let (counted, changed) = tokio::join!(load, changes);
    let (counted, (told, lag)) = (counted?, changed?);
    let rate = total as f64 / told.as_secs_f64();
    let text = format!(
        "{} requests, {} failed ({}); {} changes/s told, the last applied {} ms later",
        number(counted.good as f64),
        counted.failed,
        counted.failures,
        number(rate),
        lag.as_millis()
    );
    Ok((text, counted.failed == 0 && counted.good > 0 && rate > CHANGE_RATE as f64 * 0.9))
}

async fn restarts(rig: &mut Rig) -> anyhow::Result<(String, bool)> {
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        times.push(rig.restart().await?.as_secs_f64() * 1e3);
        let answer = probe::get(rig.http, HOST, "/1k.txt").await?;
        ensure!(answer.status == 200, "the site answers {}", answer.status);
    }
    let spread = Spread::of(&times).context("nothing was timed")?;
    let text = format!(
        "median {} ms, at most {} ms, {RESTARTS} times, 100,000 hosts",
        number(spread.median),
        number(spread.max)
    );
    Ok((text, spread.max < 300.0))
}

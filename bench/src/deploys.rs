//! Measures what a developer and a visitor wait for, on the real binary: seconds from `deploy` to the first
//! answer, from a rollback to the new answer, requests lost during flips under load, memory at rest.
//!
//! Usage: `cargo run --release -p bench -- deploys --binary target/release/astrocloud`. Everything runs on
//! loopback in a temporary folder and ends by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

pub mod platform;
pub mod site;

use platform::Platform;

/// Visitors during the flips.
const VISITORS: usize = 8;
/// Flips under load.
const FLIPS: u32 = 100;
/// How long the platform rests before its memory is read.
const REST: Duration = Duration::from_secs(3);

/// What is measured.
#[derive(clap::Args)]
pub struct Args {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/astrocloud")]
    binary: PathBuf,
    /// Runs of each measurement.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
}

/// Measures a platform on this machine, and prints what it finds.
pub async fn run(args: Args) -> anyhow::Result<()> {
    ensure!(args.binary.is_file(), "there is no binary at {}: build it with `make build`", args.binary.display());
    let platform = Platform::start(&args.binary).await?;
    tokio::time::sleep(REST).await;
    println!("idle platform                      {:.1} MB resident", platform.resident_mb()?);
    let work = tempfile::tempdir()?;
    let folder = work.path().join("site");
    let (mut fresh, mut same) = (Vec::new(), Vec::new());
    for run in 0..args.runs {
        site::write(&folder, &format!("run {run}"))?;
        let project = format!("bench-{run}");
        fresh.push(deploy(&platform, &folder, &project).await?);
        same.push(deploy(&platform, &folder, &project).await?);
    }
    report("deploy of 100 new files to first 200", &mut fresh, "ms");
    report("deploy of the same files again", &mut same, "ms");
    let mut flips = rollbacks(&platform, &folder, args.runs).await?;
    report("rollback to new answer", &mut flips, "ms");
    let (answered, failed) = flips_under_load(&platform).await?;
    println!("{FLIPS} flips under load               {answered} requests answered, {failed} failed");
    println!("after all that                     {:.1} MB resident", platform.resident_mb()?);
    platform.stop().await
}

/// Milliseconds from the start of the command to the first good answer.
async fn deploy(platform: &Platform, folder: &Path, project: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    platform.deploy(folder, project).await?;
    let status = platform.get(project).await?.status();
    ensure!(status.is_success(), "{project} answered {status}");
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds from sending a rollback to the first answer of the other deployment.
async fn rollbacks(platform: &Platform, folder: &Path, runs: u32) -> anyhow::Result<Vec<f64>> {
    site::write(folder, "one")?;
    let one = platform.deploy(folder, "flip").await?;
    site::write(folder, "two")?;
    let two = platform.deploy(folder, "flip").await?;
    let mut times = Vec::new();
    for run in 0..runs {
        let (to, word) = if run % 2 == 0 { (&one, "one") } else { (&two, "two") };
        let begun = Instant::now();
        let seen = async {
            loop {
                let text = platform.get("flip").await?.text().await?;
                if text.contains(word) {
                    return anyhow::Ok(begun.elapsed().as_secs_f64() * 1e3);
                }
            }
        };
        let (flipped, seen) = tokio::join!(platform.rollback("flip", to), seen);
        flipped?;
        times.push(seen?);
    }
    Ok(times)
}

/// Flips between two deployments while visitors come; counts answers, good and bad.
async fn flips_under_load(platform: &Platform) -> anyhow::Result<(u64, u64)> {
    let ids = platform.deployments("flip").await?;
    let (newest, older) = (ids.first().context("no deployment")?, ids.get(1).context("one deployment")?);
    let done = Arc::new(AtomicBool::new(false));
    let (answered, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let visitors: Vec<_> = (0..VISITORS)
        .map(|_| {
            let (site, done, answered, failed) =
                (platform.site("flip"), done.clone(), answered.clone(), failed.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let good = match site.get().await {
                        Ok(response) if response.status().is_success() => {
                            response.text().await.is_ok_and(|text| text.contains("one") || text.contains("two"))
                        }
                        _ => false,
                    };
                    if good { &answered } else { &failed }.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for flip in 0..FLIPS {
        platform.rollback("flip", if flip % 2 == 0 { older } else { newest }).await?;
    }
    done.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await?;
    }
    Ok((answered.load(Ordering::Relaxed), failed.load(Ordering::Relaxed)))
}

fn report(what: &str, values: &mut [f64], unit: &str) {
    values.sort_by(f64::total_cmp);
    if let (Some(least), Some(middle), Some(most)) = (values.first(), values.get(values.len() / 2), values.last()) {
        println!("{what:<36} median {middle:.1} {unit}, {least:.1} to {most:.1}, {} runs", values.len());
    }
}

//! How long a change of configuration takes to have its effect, while visitors come.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::fixture::{FLIP, Fixture, HOST};
use crate::load::wrk::{self, Plan};
use crate::load::{Counted, Generator};
use crate::peers::Running;
use crate::probe;
use crate::stats::Spread;

/// Changes in one round.
const FLIPS: usize = 5;
/// Longest wait for a change's effect.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two changes, for what the last one left behind.
const PAUSE: Duration = Duration::from_millis(300);
/// Connections of the visitors meanwhile. Few, so that the time is the change's and not the queue's.
const VISITORS: u32 = 8;
/// For how long visitors come: until past the last change of the slowest server.
const VISIT_S: u64 = 10;

/// What was found in a round.
pub struct Changed {
    /// Median time to effect in milliseconds.
    pub ms: f64,
    /// What visitors got meanwhile.
    pub visitors: Counted,
}

/// Flips the host a few times under load.
pub async fn measure(running: &Running, fixture: &Fixture, wrk: &Generator, work: &Path) -> anyhow::Result<Changed> {
    let plan = Plan { connections: VISITORS, ..Plan::of("") };
    let load = wrk::run(wrk, &running.target, &plan, VISIT_S, work);
    let flips = async {
        let mut times = Vec::new();
        for flip in 0..FLIPS {
            tokio::time::sleep(PAUSE).await;
            times.push(once(running, fixture, FLIP[(flip + 1) % 2]).await?);
        }
        // The next round begins as this one did.
        once(running, fixture, FLIP[0]).await?;
        anyhow::Ok(times)
    };
    let (visitors, times) = tokio::join!(load, flips);
    let ms = Spread::of(&times?).context("nothing was changed")?.median;
    Ok(Changed { ms, visitors: visitors? })
}

/// Milliseconds from telling one change until a new connection sees it.
async fn once(running: &Running, fixture: &Fixture, to: &str) -> anyhow::Result<f64> {
    running.prepare_flip(to)?;
    let begun = Instant::now();
    running.flip(fixture, to).await?;
    loop {
        // A server that drops a connection while it changes loses a request, which the visitors' count tells.
        if let Ok(answer) = probe::get(running.target.http, HOST, "/").await
            && answer.contains(to)
        {
            return Ok(begun.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(begun.elapsed() < PATIENCE, "the change has no effect");
    }
}

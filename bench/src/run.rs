//! `bench run`: every scenario, the edge and its peers in turn, several rounds.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use common::time::Timestamp;

use crate::change;
use crate::fixture::{BIG_BYTES, BIG_FILE, Fixture, HOST, host};
use crate::handshake;
use crate::idle;
use crate::load::wrk::Plan;
use crate::load::{Counted, Generator, Target, h2load, oha, websocket, wrk};
use crate::machine::Machine;
use crate::peers::{Duty, Peer, Running, start_app};
use crate::probe;
use crate::process;
use crate::report::{self, Missing, OpenLoop, Outcome, Report, Settings, Tested, Version};
use crate::scenario::{ALL, Measure, Over, Scenario};

/// Full handshakes a second: about a third of what one core does, so that none waits for another.
const HANDSHAKE_RATE: u64 = 1000;
/// Connections that make resumed handshakes, one after the other each.
const RESUMING: u32 = 8;
/// Downloads of the big file at once.
const DOWNLOADS: u32 = 2;
/// Share of the slowest server's saturated rate at which latency is measured.
const OPEN_LOOP_SHARE: f64 = 0.5;

/// What is run.
#[derive(clap::Args)]
pub struct Args {
    /// Only these scenarios, by id.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these peers.
    #[arg(long, value_delimiter = ',', value_enum)]
    peers: Vec<Peer>,
    /// How often each server is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the report is written.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// The load generators that are installed.
struct Generators {
    wrk: Option<Generator>,
    h2load: Option<Generator>,
    oha: Option<Generator>,
}

/// Generators and how they are installed where they are missing.
const GENERATORS: [(&str, &str, &str); 3] = [
    ("wrk", "-v", "apt-get install wrk"),
    ("h2load", "--version", "apt-get install nghttp2-client"),
    ("oha", "--version", "cargo install oha --version 1.16.0 --locked"),
];

/// Measures, and writes the report after each scenario, so that a run that is broken off leaves what it has.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let scenarios = chosen(&args.only)?;
    process::allow_descriptors()?;
    let generators =
        Generators { wrk: Generator::find("wrk"), h2load: Generator::find("h2load"), oha: Generator::find("oha") };
    let is_wanted = |peer: Peer| args.peers.is_empty() || args.peers.contains(&peer);
    let (versions, missing) = survey(&scenarios, is_wanted);
    for missing in &missing {
        eprintln!("{} is missing: {}", missing.name, missing.install);
    }
    std::fs::create_dir_all(&args.out)?;
    let work = tempfile::tempdir()?;
    let fixture = Fixture::write(work.path())?;
    let mut report = Report {
        schema: report::SCHEMA,
        when: Timestamp::now().to_string(),
        machine: Machine::here(),
        settings: Settings { rounds: args.rounds, seconds: args.seconds },
        versions,
        missing,
        scenarios: Vec::new(),
    };
    for scenario in scenarios {
        println!("{}", scenario.title);
        let peers: Vec<Peer> =
            scenario.peers.iter().copied().filter(|peer| is_wanted(*peer) && peer.program().is_some()).collect();
        let bench = Bench { scenario, fixture: &fixture, generators: &generators, args: &args };
        let folder = work.path().join(scenario.id);
        let outcome = match bench.run(&peers, &folder).await {
            Ok(servers) => Outcome::of(scenario, servers, None),
            Err(e) => Outcome::of(scenario, Vec::new(), Some(format!("{e:#}"))),
        };
        println!("{}", report::markdown::outcome_lines(&outcome));
        report.scenarios.push(outcome);
        report::write(&report, &args.out)?;
        std::fs::remove_dir_all(&folder)?;
    }
    println!("{}", args.out.join("report.html").display());
    Ok(())
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<&'static Scenario>> {
    for id in only {
        let known = || ALL.iter().map(|s| s.id).collect::<Vec<_>>().join(", ");
        ensure!(ALL.iter().any(|scenario| scenario.id == id), "there is no scenario `{id}`; there are {}", known());
    }
    Ok(ALL.iter().filter(|scenario| only.is_empty() || only.iter().any(|id| id == scenario.id)).collect())
}

/// What is installed, and what is not.
fn survey(scenarios: &[&Scenario], is_wanted: impl Fn(Peer) -> bool) -> (Vec<Version>, Vec<Missing>) {
    let mut peers: Vec<Peer> = scenarios.iter().flat_map(|s| s.peers).copied().filter(|p| is_wanted(*p)).collect();
    peers.push(Peer::Edge);
    peers.sort_unstable();
    peers.dedup();
    let (mut versions, mut missing) = (Vec::new(), Vec::new());
    for peer in peers {
        if peer.program().is_some() {
            versions.push(Version { name: peer.name().into(), version: peer.version() });
        } else {
            missing.push(Missing { name: peer.name().into(), install: peer.install().into() });
        }
    }
    for (name, flag, install) in GENERATORS {
        match process::find(name) {
            Some(program) => {
                versions.push(Version { name: name.into(), version: crate::machine::version(&program, flag) });
            }
            None => missing.push(Missing { name: name.into(), install: install.into() }),
        }
    }
    (versions, missing)
}

/// One scenario's run.
struct Bench<'a> {
    scenario: &'static Scenario,
    fixture: &'a Fixture,
    generators: &'a Generators,
    args: &'a Args,
}

/// A server that runs, and what was measured of it.
struct Contestant {
    running: Running,
    tested: Tested,
    /// What its revalidations ask with.
    validator: Option<String>,
}

impl Bench<'_> {
    async fn run(&self, peers: &[Peer], folder: &Path) -> anyhow::Result<Vec<Tested>> {
        std::fs::create_dir_all(folder)?;
        if let Some(generator) = self.scenario.generator() {
            ensure!(process::find(generator).is_some(), "{generator} is missing");
        }
        match self.scenario.measure {
            Measure::Download => self.fixture.write_big()?,
            Measure::RandomHosts | Measure::Change => self.fixture.write_many()?,
            _ => {}
        }
        let (app, address) = start_app(self.scenario.duty, folder.join("app.log")).await?;
        let mut failed = Vec::new();
        let mut contestants = Vec::new();
        for peer in std::iter::once(Peer::Edge).chain(peers.iter().copied()) {
            match self.start(peer, address, folder).await {
                Ok(contestant) => contestants.push(contestant),
                Err(e) => {
                    let mut tested = Tested::new(peer);
                    tested.invalid.push(format!("{e:#}"));
                    failed.push(tested);
                }
            }
        }
        for round in 0..self.args.rounds {
            // Every other round goes the other way, so that nobody always runs on a warm or a tired machine.
            contestants.reverse();
            for contestant in &mut contestants {
                if round > 0 && matches!(self.scenario.measure, Measure::Idle { .. }) {
                    self.renew(contestant, address, folder, round).await?;
                }
                self.round(contestant, round, folder).await;
            }
        }
        if self.scenario.open_loop {
            self.open_loop(&mut contestants).await;
        }
        let mut tested = failed;
        for contestant in contestants {
            tested.push(contestant.tested);
            contestant.running.stop().await?;
        }
        app.stop().await?;
        tested.sort_by_key(|server| server.peer);
        Ok(tested)
    }

    /// Starts a server and looks whether it does its duty.
    async fn start(&self, peer: Peer, app: SocketAddr, folder: &Path) -> anyhow::Result<Contestant> {
        let own = folder.join(peer.name());
        let running = Running::start(peer, self.scenario.duty, self.fixture, app, own).await?;
        let checked = self.check(&running).await.with_context(|| running.process.said());
        match checked {
            Ok(validator) => Ok(Contestant { running, tested: Tested::new(peer), validator }),
            Err(e) => {
                running.stop().await?;
                Err(e)
            }
        }
    }

    /// Starts a server anew: one that had many connections keeps their memory for the next ones.
    async fn renew(
        &self,
        contestant: &mut Contestant,
        app: SocketAddr,
        folder: &Path,
        round: u32,
    ) -> anyhow::Result<()> {
        let peer = contestant.running.peer;
        let own = folder.join(format!("{}-{round}", peer.name()));
        let fresh = Running::start(peer, self.scenario.duty, self.fixture, app, own).await?;
        std::mem::replace(&mut contestant.running, fresh).stop().await
    }

    /// One request as the scenario's are; returns the answer's validator.
    async fn check(&self, running: &Running) -> anyhow::Result<Option<String>> {
        let target = &running.target;
        let (path, tls, h2) = match self.scenario.measure {
            Measure::Get { path, over, .. } => (path, over != Over::Http, over == Over::H2),
            Measure::FullHandshakes | Measure::ResumedHandshakes => ("1k.txt", true, false),
            Measure::Idle { tls } => ("1k.txt", tls, false),
            Measure::Download => {
                let url = target.url(false, BIG_FILE)?;
                let length = reqwest::get(url).await?.content_length();
                ensure!(length == Some(BIG_BYTES), "the big file has {length:?} bytes");
                return Ok(None);
            }
            Measure::RandomHosts | Measure::Change => {
                let many = self.scenario.duty != Duty::OneSite;
                let name = if many { host(12_345) } else { HOST.to_owned() };
                let answer = probe::get(target.http, &name, "/").await?;
                ensure!(answer.status == 200, "{name} gets {}", answer.head);
                return Ok(None);
            }
            Measure::Messages => {
                let counted = websocket::run(target, 1).await?;
                ensure!(counted.failed == 0 && counted.good > 0, "messages do not come back");
                return Ok(None);
            }
        };
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy();
        let client = if h2 { client } else { client.http1_only() };
        let answer = client.build()?.get(target.url(tls, path)?).send().await?;
        let version = answer.version();
        ensure!(answer.status().as_u16() == 200, "it answers {}", answer.status());
        ensure!(!h2 || version == reqwest::Version::HTTP_2, "it speaks {version:?}");
        let validator = answer.headers().get("etag").and_then(|v| Some(v.to_str().ok()?.to_owned()));
        let body = answer.bytes().await?;
        let expected = crate::fixture::FILES.iter().find(|(name, _)| *name == path).map_or(0, |(_, size)| *size);
        let is_handshake = matches!(self.scenario.measure, Measure::FullHandshakes | Measure::ResumedHandshakes);
        if self.scenario.measure == Measure::ResumedHandshakes {
            handshake::ensure_resumes(target.address(true)?, &self.fixture.certificate_pem).await?;
        }
        ensure!(is_handshake || body.len() == expected, "the body has {} bytes, not {expected}", body.len());
        Ok(validator)
    }

    async fn round(&self, contestant: &mut Contestant, round: u32, work: &Path) {
        let value = match self.measure(contestant, work).await {
            Ok(value) => Some(value),
            Err(e) => {
                contestant.tested.invalid.push(format!("round {}: {e:#}", round + 1));
                None
            }
        };
        contestant.tested.headline.push(value);
    }

    async fn measure(&self, contestant: &mut Contestant, work: &Path) -> anyhow::Result<f64> {
        let running = &contestant.running;
        match self.scenario.measure {
            Measure::Idle { tls } => {
                let certificate = &self.fixture.certificate_pem;
                return idle::measure(&running.process, &running.target, tls, certificate).await;
            }
            Measure::Change => {
                let wrk = self.generators.wrk.as_ref().context("wrk is missing")?;
                let changed = change::measure(running, self.fixture, wrk, work).await?;
                contestant.tested.lost.push(changed.visitors.failed);
                contestant.tested.throughput.push(changed.visitors.good as f64 / changed.visitors.seconds);
                return Ok(changed.ms);
            }
            _ => {}
        }
        let before = running.process.cpu()?;
        let counted = self.load(running, contestant.validator.as_deref(), work).await?;
        let used = (running.process.cpu()? - before).as_secs_f64();
        counted.ensure_none_failed()?;
        contestant.tested.saturated.extend(counted.latency);
        if self.scenario.measure == Measure::Download {
            ensure!(counted.bytes > 0, "nothing was downloaded");
            contestant.tested.throughput.push(counted.bytes as f64 / 1e9 / counted.seconds);
            return Ok(used / (counted.bytes as f64 / 1e9));
        }
        ensure!(counted.good > 0, "nothing was answered");
        contestant.tested.throughput.push(counted.good as f64 / counted.seconds);
        Ok(used / counted.good as f64 * 1e6)
    }

    async fn load(&self, running: &Running, validator: Option<&str>, work: &Path) -> anyhow::Result<Counted> {
        let (target, seconds) = (&running.target, self.args.seconds);
        let wrk = || self.generators.wrk.as_ref().context("wrk is missing");
        let h2load = || self.generators.h2load.as_ref().context("h2load is missing");
        match self.scenario.measure {
            Measure::Get { path, over: Over::H2, .. } => h2load::saturate(h2load()?, target, path, seconds, work).await,
            Measure::Get { path, over, revalidate } => {
                let mut plan = Plan { tls: over == Over::Https, ..Plan::of(path) };
                if revalidate {
                    let validator = validator.context("its answers have no ETag")?;
                    plan.headers.push(format!("If-None-Match: {validator}"));
                    ensure_revalidates(target, path, validator).await?;
                }
                wrk::run(wrk()?, target, &plan, seconds, work).await
            }
            Measure::FullHandshakes => h2load::connect(h2load()?, target, "1k.txt", HANDSHAKE_RATE, seconds).await,
            Measure::ResumedHandshakes => {
                // wrk keeps the session of a connection that the server closed, and resumes it with the next one.
                let headers = vec!["Connection: close".to_owned()];
                let plan = Plan { tls: true, connections: RESUMING, headers, ..Plan::of("1k.txt") };
                wrk::run(wrk()?, target, &plan, seconds, work).await
            }
            Measure::RandomHosts => {
                let plan = Plan { random_hosts: true, ..Plan::of("") };
                wrk::run(wrk()?, target, &plan, seconds, work).await
            }
            Measure::Download => {
                let plan = Plan { connections: DOWNLOADS, ..Plan::of(BIG_FILE) };
                wrk::run(wrk()?, target, &plan, seconds, work).await
            }
            Measure::Messages => websocket::run(target, seconds).await,
            Measure::Change | Measure::Idle { .. } => anyhow::bail!("it is not measured by load"),
        }
    }

    /// Latency of all at the same fixed rate, which the slowest but the floor can sustain.
    async fn open_loop(&self, contestants: &mut [Contestant]) {
        let Some(oha) = &self.generators.oha else { return };
        let Measure::Get { path, over, revalidate: false } = self.scenario.measure else { return };
        // Caddy's rate would leave the others idle: it has half of its own.
        let own = |tested: &Tested| tested.throughput.iter().copied().reduce(f64::min);
        let others = contestants.iter().filter(|c| c.running.peer != Peer::Caddy);
        let Some(slowest) = others.filter_map(|c| own(&c.tested)).reduce(f64::min) else { return };
        for contestant in contestants {
            let Some(most) = own(&contestant.tested) else { continue };
            let rate = (slowest.min(most) * OPEN_LOOP_SHARE) as u64;
            let (tls, h2) = (over != Over::Http, over == Over::H2);
            let plan = oha::Plan { path: path.to_owned(), tls, h2, headers: Vec::new(), rate };
            match oha::run(oha, &contestant.running.target, &plan, self.args.seconds).await {
                Ok(Counted { failed: 0, latency: Some(latency), .. }) => {
                    contestant.tested.open_loop = Some(OpenLoop { rate, latency });
                }
                Ok(counted) => {
                    contestant
                        .tested
                        .invalid
                        .push(format!("at a fixed rate: {} failed: {}", counted.failed, counted.failures));
                }
                Err(e) => contestant.tested.invalid.push(format!("at a fixed rate: {e:#}")),
            }
        }
    }
}

/// wrk does not tell a 304 from a 200.
async fn ensure_revalidates(target: &Target, path: &str, validator: &str) -> anyhow::Result<()> {
    let request = reqwest::Client::new().get(target.url(false, path)?).header("if-none-match", validator);
    let status = request.send().await?.status();
    ensure!(status.as_u16() == 304, "a revalidation gets {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_unknown_scenario_is_told_with_the_known_ones() {
        let error = chosen(&["static".into()]).unwrap_err().to_string();
        assert!(error.contains("static-1k"), "{error}");
        assert_eq!(chosen(&["idle".into(), "static-1k".into()]).unwrap().len(), 2);
        assert_eq!(chosen(&[]).unwrap().len(), ALL.len());
    }
}

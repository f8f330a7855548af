//! What was measured, as it is kept: `report.json`, and made from it `report.md` and `report.html`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::load::Latency;
use crate::machine::Machine;
use crate::peers::Peer;
use crate::scenario::Scenario;
use crate::stats::{self, Spread};

mod chart;
pub mod html;
pub mod markdown;

/// Version of the report's form.
pub const SCHEMA: u32 = 1;

/// One run of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Form of this document, [`SCHEMA`].
    pub schema: u32,
    /// When it began, RFC 3339.
    pub when: String,
    pub machine: Machine,
    pub settings: Settings,
    pub versions: Vec<Version>,
    /// What was not installed.
    pub missing: Vec<Missing>,
    pub scenarios: Vec<Outcome>,
}

/// How it was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub rounds: u32,
    /// Seconds of each measurement.
    pub seconds: u64,
}

/// A program that took part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub name: String,
    pub version: String,
}

/// A program that was not installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub name: String,
    /// How it is installed.
    pub install: String,
}

/// A scenario's results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub id: String,
    pub title: String,
    /// Unit of the headline; less is better.
    pub unit: String,
    /// The ratio to a peer to aim for, at most.
    pub aim: f64,
    pub servers: Vec<Tested>,
    pub ratios: Vec<Ratio>,
    /// Why the whole scenario was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One server's results in a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    pub peer: Peer,
    /// The headline, by round; none where the round was not valid.
    pub headline: Vec<Option<f64>>,
    /// Requests, messages or gigabytes per second, by valid round.
    pub throughput: Vec<f64>,
    /// Latency when saturated, by valid round.
    pub saturated: Vec<Latency>,
    /// Latency at a fixed rate.
    pub open_loop: Option<OpenLoop>,
    /// Requests that visitors lost while the configuration changed, by round.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<u64>,
    /// Why a round, or all, were not valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<String>,
}

/// Latency at a fixed rate, measured from when each request should have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenLoop {
    /// Requests per second.
    pub rate: u64,
    #[serde(flatten)]
    pub latency: Latency,
}

/// The edge's headline divided by a peer's, in the same round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    pub peer: Peer,
    pub rounds: Vec<f64>,
    /// Whether the scenario's aim is one for this peer.
    pub aimed: bool,
    /// Absent when no round was valid for both.
    pub spread: Option<Spread>,
    /// Whether the median is at most the aim; absent where there is no aim or no median.
    pub met: Option<bool>,
}

impl Tested {
    /// Before anything was measured.
    pub const fn new(peer: Peer) -> Self {
        Self {
            peer,
            headline: Vec::new(),
            throughput: Vec::new(),
            saturated: Vec::new(),
            open_loop: None,
            lost: Vec::new(),
            invalid: Vec::new(),
        }
    }

    /// Of the headline's valid rounds.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(&self.headline.iter().copied().flatten().collect::<Vec<_>>())
    }

    /// The medians over rounds of each percentile when saturated.
    pub fn saturated_median(&self) -> Option<Latency> {
        let of =
            |pick: fn(&Latency) -> f64| Some(Spread::of(&self.saturated.iter().map(pick).collect::<Vec<_>>())?.median);
        Some(Latency { p50_us: of(|l| l.p50_us)?, p99_us: of(|l| l.p99_us)?, p999_us: of(|l| l.p999_us)? })
    }
}

impl Outcome {
    /// Puts the servers' results side by side.
    pub fn of(scenario: &Scenario, servers: Vec<Tested>, error: Option<String>) -> Self {
        let edge = servers.iter().find(|server| server.peer == Peer::Edge);
        let against = |server: &Tested| {
            let rounds = stats::ratios(&edge?.headline, &server.headline);
            let spread = Spread::of(&rounds);
            let aimed = scenario.aimed.contains(&server.peer);
            let met = spread.filter(|_| aimed).map(|spread| spread.median <= scenario.aim);
            Some(Ratio { peer: server.peer, rounds, aimed, spread, met })
        };
        let ratios = servers.iter().filter(|server| server.peer != Peer::Edge).filter_map(against).collect();
        Self {
            id: scenario.id.into(),
            title: scenario.title.into(),
            unit: scenario.unit().into(),
            aim: scenario.aim,
            ratios,
            servers,
            error,
        }
    }

    /// The results of one server.
    pub fn server(&self, peer: Peer) -> Option<&Tested> {
        self.servers.iter().find(|server| server.peer == peer)
    }
}

/// Writes all three forms into a folder.
pub fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?)?;
    std::fs::write(folder.join("report.md"), markdown::render(report))?;
    std::fs::write(folder.join("report.html"), html::render(report))?;
    Ok(())
}

/// Reads a report that was written before.
///
/// # Errors
/// Also when its form is another one.
pub fn read(path: &Path) -> anyhow::Result<Report> {
    use anyhow::Context as _;
    let bytes = std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?;
    let value: serde_json::Value = serde_json::from_slice(&bytes)?;
    let schema = value.get("schema").and_then(serde_json::Value::as_u64);
    anyhow::ensure!(schema == Some(u64::from(SCHEMA)), "{} has form {schema:?}, not {SCHEMA}", path.display());
    Ok(serde_json::from_value(value)?)
}

/// A number with three significant digits, as a person reads it.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value.round()),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Thousands apart, by narrow spaces.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds.
pub fn milliseconds(us: f64) -> String {
    number(us / 1000.0)
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A report with a met aim, a missed one, a floor, an invalid round and a missing peer.
    pub fn sample() -> Report {
        let scenario = &crate::scenario::ALL[0];
        let tested = |peer, headline: &[Option<f64>]| Tested {
            headline: headline.to_vec(),
            throughput: vec![50_000.0; headline.len()],
            saturated: vec![Latency { p50_us: 700.0, p99_us: 1500.0, p999_us: 4000.0 }],
            open_loop: Some(OpenLoop {
                rate: 20_000,
                latency: Latency { p50_us: 100.0, p99_us: 300.0, p999_us: 900.0 },
            }),
            ..Tested::new(peer)
        };
        let mut failing = tested(Peer::Caddy, &[Some(40.0), None, Some(50.0)]);
        failing.invalid.push("round 2: 3 requests failed <here>".into());
        let servers = vec![
            tested(Peer::Edge, &[Some(5.0), Some(6.0), Some(5.5)]),
            tested(Peer::Floor, &[Some(5.0), Some(5.0), Some(5.0)]),
            tested(Peer::Nginx, &[Some(10.0), Some(8.0), Some(10.0)]),
            tested(Peer::HAProxy, &[Some(6.0), Some(6.0), Some(6.0)]),
            failing,
        ];
        Report {
            schema: SCHEMA,
            when: "2026-01-02T03:04:05.000Z".into(),
            machine: Machine {
                cpu: "A CPU".into(),
                cores: 2,
                memory_mb: 24_000,
                kernel: "6.1".into(),
                load_at_start: 0.5,
            },
            settings: Settings { rounds: 3, seconds: 5 },
            versions: vec![Version { name: "nginx".into(), version: "nginx version: nginx/1.22.1".into() }],
            missing: vec![Missing { name: "oha".into(), install: "cargo install oha".into() }],
            scenarios: vec![
                Outcome::of(scenario, servers, None),
                Outcome::of(&crate::scenario::ALL[1], Vec::new(), Some("wrk is missing".into())),
            ],
        }
    }

    #[test]
    fn an_aim_is_met_when_the_median_of_the_ratios_is() {
        let report = sample();
        let met = |peer| report.scenarios[0].ratios.iter().find(|r| r.peer == peer).unwrap().met;
        assert_eq!(met(Peer::Nginx), Some(true), "0.5, 0.75, 0.55");
        assert_eq!(met(Peer::HAProxy), Some(false));
        assert_eq!(met(Peer::Floor), None, "the floor is a limit, not an aim");
        assert_eq!(met(Peer::Caddy), None, "it stands beside");
    }

    #[test]
    fn a_written_report_reads_back_and_another_form_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(&sample(), folder.path()).unwrap();
        let path = folder.path().join("report.json");
        assert_eq!(read(&path).unwrap(), sample());
        std::fs::write(&path, r#"{"schema":99}"#).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("form Some(99)"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(0.1234), "0.12");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1_234_567.0), "1\u{202f}234\u{202f}567");
        assert_eq!(number(0.00123), "0.0012");
    }
}

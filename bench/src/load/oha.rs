//! oha: latency at a fixed rate. A request that is late because the server stalled counts with the time that it
//! should have been sent, so no omission is coordinated with the server.

use anyhow::ensure;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Counted, Generator, H2_CONNECTIONS, H2_STREAMS, Latency, Target};

/// What oha calls requests that its own end cut off.
const CUT_OFF: &str = "aborted due to deadline";
/// Connections over HTTP/1. At half of a server's capacity few are in use at once.
const CONNECTIONS: u32 = 64;
/// Least share of the asked rate that must have been reached for latencies to mean something.
const REACHED: f64 = 0.95;

/// How oha asks.
#[derive(Clone, Debug)]
pub struct Plan {
    pub path: String,
    pub tls: bool,
    pub h2: bool,
    pub headers: Vec<String>,
    /// Requests per second.
    pub rate: u64,
}

/// Asks at a fixed rate for some seconds.
///
/// # Errors
/// Also when the machine could not keep the rate.
pub async fn run(oha: &Generator, target: &Target, plan: &Plan, seconds: u64) -> anyhow::Result<Counted> {
    let fixed = ["--no-tui", "--output-format", "json", "--latency-correction", "--insecure", "--ipv4", "-w"];
    let mut args: Vec<String> = fixed.map(str::to_owned).into();
    args.extend([format!("-z{seconds}s"), format!("-q{}", plan.rate)]);
    if plan.h2 {
        args.extend(["--http-version=2".into(), format!("-c{H2_CONNECTIONS}"), format!("-p{H2_STREAMS}")]);
    } else {
        args.push(format!("-c{CONNECTIONS}"));
    }
    for header in &plan.headers {
        args.extend(["-H".to_owned(), header.clone()]);
    }
    args.push(target.url(plan.tls, &plan.path)?);
    let counted = parse(&oha.run(&args, seconds).await?)?;
    let reached = counted.good as f64 / counted.seconds;
    ensure!(
        reached >= REACHED * plan.rate as f64,
        "only {reached:.0} of {} requests per second were reached",
        plan.rate
    );
    Ok(counted)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    summary: Summary,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    status_code_distribution: BTreeMap<String, u64>,
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    total: f64,
    total_data: u64,
}

fn parse(text: &str) -> anyhow::Result<Counted> {
    let report: Report = serde_json::from_str(text)?;
    let is_good = |status: &str| status.starts_with(['2', '3']);
    let of = |good: bool| report.status_code_distribution.iter().filter(move |(s, _)| is_good(s) == good);
    let bad: u64 = of(false).map(|(_, count)| count).sum();
    let errors: u64 = report.error_distribution.iter().filter(|(why, _)| *why != CUT_OFF).map(|(_, c)| c).sum();
    let microseconds = |name: &str| report.latency_percentiles.get(name).copied().flatten().map(|s| s * 1e6);
    let latency = || {
        Some(Latency { p50_us: microseconds("p50")?, p99_us: microseconds("p99")?, p999_us: microseconds("p99.9")? })
    };
    Ok(Counted {
        good: of(true).map(|(_, count)| count).sum(),
        failed: bad + errors,
        failures: format!("{:?}, {:?}", report.status_code_distribution, report.error_distribution),
        bytes: report.summary.total_data,
        seconds: report.summary.total,
        latency: latency(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_oha_printed_is_read() {
        let counted = parse(include_str!("../recorded/oha.json")).unwrap();
        assert_eq!((counted.good, counted.failed, counted.bytes), (1999, 0, 2_046_976));
        let latency = counted.latency.unwrap();
        assert!((latency.p999_us - 3159.328).abs() < 1e-6, "{latency:?}");
    }

    #[test]
    fn errors_count_but_for_what_the_end_cut_off() {
        let text = r#"{"summary":{"total":1.0,"totalData":0},"latencyPercentiles":{"p50":null},
            "statusCodeDistribution":{"200":5,"503":2},
            "errorDistribution":{"aborted due to deadline":9,"connection closed":1}}"#;
        let counted = parse(text).unwrap();
        assert_eq!((counted.good, counted.failed, counted.latency), (5, 3, None));
    }
}

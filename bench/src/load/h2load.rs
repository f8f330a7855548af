//! h2load: saturation over HTTP/2, full handshakes.
//!
//! h2load never resumes a session, so each connection of its rate mode is a full handshake.

use std::path::Path;

use anyhow::Context as _;

use super::{Counted, Generator, H2_CONNECTIONS, H2_STREAMS, Latency, Target, text};
use crate::stats::percentile;

/// Loads a server over HTTP/2 and TLS for some seconds.
pub async fn saturate(
    h2load: &Generator,
    target: &Target,
    path: &str,
    seconds: u64,
    work: &Path,
) -> anyhow::Result<Counted> {
    let log = work.join("h2load.log");
    let args = [
        "-t1".to_owned(),
        format!("-c{H2_CONNECTIONS}"),
        format!("-m{H2_STREAMS}"),
        format!("-D{seconds}"),
        format!("--log-file={}", text(&log)?),
        format!("--connect-to={}", target.address(true)?),
        target.url(true, path)?,
    ];
    // The file is appended to.
    let _ = std::fs::remove_file(&log);
    let counted = parse(&h2load.run(&args, seconds).await?, Ends::ByTime)?;
    Ok(Counted { latency: latencies(&std::fs::read_to_string(&log)?), ..counted })
}

/// Opens connections with a full handshake each, at a fixed rate, with one request on each.
pub async fn connect(
    h2load: &Generator,
    target: &Target,
    path: &str,
    rate: u64,
    seconds: u64,
) -> anyhow::Result<Counted> {
    let connections = rate * seconds;
    let args = [
        "-t1".to_owned(),
        "--h1".to_owned(),
        format!("-n{connections}"),
        format!("-c{connections}"),
        format!("-r{rate}"),
        format!("--connect-to={}", target.address(true)?),
        target.url(true, path)?,
    ];
    parse(&h2load.run(&args, seconds).await?, Ends::ByCount)
}

/// How a run ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Requests that were under way then are counted as errors by h2load; they are none.
    ByTime,
    /// Every request has ended.
    ByCount,
}

fn parse(text: &str, ends: Ends) -> anyhow::Result<Counted> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::trim);
    let requests = line("requests:").context("h2load counted no requests")?;
    let number = |list: &str, label: &str| -> anyhow::Result<u64> {
        let found = list.split(',').find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok());
        found.with_context(|| format!("h2load does not tell `{label}` in `{list}`"))
    };
    let statuses = line("status codes:").context("h2load counted no statuses")?;
    let bad_statuses = number(statuses, "4xx")? + number(statuses, "5xx")?;
    let errors = number(requests, "errored")? + number(requests, "timeout")?;
    let finished = line("finished in").context("h2load did not finish")?;
    let seconds = finished.split(',').next().and_then(seconds).context("h2load tells no duration")?;
    let bytes = line("traffic:").and_then(|t| t.split_once('(')?.1.split_once(')')?.0.parse().ok()).unwrap_or(0);
    // As many as were under way; with more, the server closed connections before the end.
    let cut_off = if ends == Ends::ByTime { u64::from(H2_CONNECTIONS * H2_STREAMS) } else { 0 };
    Ok(Counted {
        good: number(requests, "succeeded")?.saturating_sub(bad_statuses),
        failed: errors.saturating_sub(cut_off) + bad_statuses,
        failures: format!("{requests}; {statuses}"),
        bytes,
        seconds,
        latency: None,
    })
}

/// `1.02s`, `512.08ms` or `97us` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Lines of when, status, and microseconds.
fn latencies(log: &str) -> Option<Latency> {
    let mut all: Vec<f64> = log.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    Some(Latency {
        p50_us: percentile(&mut all, 0.5)?,
        p99_us: percentile(&mut all, 0.99)?,
        p999_us: percentile(&mut all, 0.999)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_timed_run_does_not_blame_the_server_for_requests_under_way_at_its_end() {
        let counted = parse(include_str!("../recorded/h2load.txt"), Ends::ByTime).unwrap();
        assert_eq!((counted.good, counted.failed, counted.bytes), (4000, 0, 4_600_264));
        assert!((counted.seconds - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_counted_run_knows_every_connection() {
        let counted = parse(include_str!("../recorded/h2load-rate.txt"), Ends::ByCount).unwrap();
        assert_eq!((counted.good, counted.failed), (400, 0));
        assert!((counted.seconds - 0.512_08).abs() < 1e-9);
    }

    #[test]
    fn percentiles_come_from_the_log_of_requests() {
        let log: String = (1..=1000).map(|n| format!("1795581992892007\t200\t{n}\n")).collect();
        assert_eq!(latencies(&log), Some(Latency { p50_us: 500.0, p99_us: 990.0, p999_us: 999.0 }));
        assert_eq!(latencies(""), None);
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(seconds("2s"), Some(2.0));
        assert_eq!(seconds(" 500ms"), Some(0.5));
        assert_eq!(seconds("3 parsecs"), None);
    }
}

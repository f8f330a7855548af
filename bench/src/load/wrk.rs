//! wrk: saturation over HTTP/1.1, resumed handshakes.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::{CONNECTIONS, Counted, Generator, Latency, Target, text};
use crate::fixture::{HOSTS, SITES};

/// Prints what wrk counted, with the percentiles that its own report lacks. It runs once, at the end.
const DONE: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\nCOUNTED {"requests":%d,"bytes":%d,"duration_us":%d,"connect":%d,"read":%d,' ..
    '"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d}\n', summary.requests,
    summary.bytes, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"#;

/// How wrk asks.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub path: String,
    pub tls: bool,
    pub connections: u32,
    /// Header lines, `Name: value`.
    pub headers: Vec<String>,
    /// Whether each request goes to one of the many hosts, chosen at random.
    pub random_hosts: bool,
}

impl Plan {
    /// Of a path, over as many connections as saturate a server.
    pub fn of(path: &str) -> Self {
        Self { path: path.to_owned(), connections: CONNECTIONS, ..Self::default() }
    }
}

/// Loads a server for some seconds.
pub async fn run(wrk: &Generator, target: &Target, plan: &Plan, seconds: u64, work: &Path) -> anyhow::Result<Counted> {
    let script = work.join("wrk.lua");
    std::fs::write(&script, if plan.random_hosts { random_hosts() + DONE } else { DONE.to_owned() })?;
    let mut args: Vec<String> = ["-t1", "--timeout", "30s", "-s"].map(str::to_owned).into();
    args.push(text(&script)?);
    args.extend([format!("-c{}", plan.connections), format!("-d{seconds}s")]);
    for header in &plan.headers {
        args.extend(["-H".to_owned(), header.clone()]);
    }
    args.push(target.url(plan.tls, &plan.path)?);
    parse(&wrk.run(&args, seconds).await?)
}

/// All requests are made beforehand, so that choosing one costs wrk a random number.
fn random_hosts() -> String {
    format!(
        "local requests = {{}}\n\
         function init(args)\n\
           for i = 0, {HOSTS} - 1 do\n\
             local host = 'h' .. i .. '.s' .. (i % {SITES}) .. '.bench.test'\n\
             requests[i + 1] = wrk.format('GET', '/', {{ Host = host }})\n\
           end\n\
         end\n\
         function request() return requests[math.random({HOSTS})] end\n"
    )
}

#[derive(Deserialize)]
struct Done {
    requests: u64,
    bytes: u64,
    duration_us: u64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
}

fn parse(text: &str) -> anyhow::Result<Counted> {
    let line = text.lines().find_map(|line| line.strip_prefix("COUNTED ")).context("wrk counted nothing")?;
    let done: Done = serde_json::from_str(line)?;
    Ok(Counted {
        // wrk counts answers with a bad status among the requests.
        good: done.requests.saturating_sub(done.status),
        failed: done.connect + done.read + done.write + done.status + done.timeout,
        failures: format!(
            "{} by status, {} by reading, {} by writing, {} by connecting, {} by time",
            done.status, done.read, done.write, done.connect, done.timeout
        ),
        bytes: done.bytes,
        seconds: done.duration_us as f64 / 1e6,
        latency: Some(Latency { p50_us: done.p50_us, p99_us: done.p99_us, p999_us: done.p999_us }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_wrk_printed_is_read() {
        let counted = parse(include_str!("../recorded/wrk.txt")).unwrap();
        assert_eq!((counted.good, counted.failed, counted.bytes), (63_491, 0, 80_252_624));
        assert_eq!(counted.latency, Some(Latency { p50_us: 740.0, p99_us: 8475.0, p999_us: 12_502.0 }));
        assert!((counted.seconds - 1.001_401).abs() < 1e-9);
    }

    #[test]
    fn bad_statuses_and_broken_connections_are_failures() {
        let line = r#"COUNTED {"requests":10,"bytes":1,"duration_us":1,"connect":1,"read":2,"write":0,"status":3,"timeout":0,"p50_us":1,"p99_us":1,"p999_us":1}"#;
        let counted = parse(line).unwrap();
        assert_eq!((counted.good, counted.failed), (7, 6));
        assert!(parse("unable to connect to localhost:80 Connection refused").is_err());
    }
}

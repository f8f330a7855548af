//! Metrics as Prometheus reads them. Labels have few values, so that an edge with a hundred thousand hosts has as
//! many series as one with a single host; projects' own counts go to the control plane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::usage::LATENCY_BOUNDS_MS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::metrics::{ConnectionKind, Handshake, Metrics, Upstream};
use crate::record::{CacheResult, Protocol};
use crate::stripe::Totals;

/// In front of every name.
const PREFIX: &str = "astrocloud_edge";
/// Names of the classes of statuses; requests without an answer are the last.
const CLASSES: [&str; crate::stripe::CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// What the edge is in at the moment that it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Whether visitors should be sent here.
    pub ready: bool,
    /// Whether requests are refused because the edge has too much to do.
    pub overloaded: bool,
    /// Whether the control plane is connected.
    pub feed_connected: bool,
    /// The table's version.
    pub feed_version: u64,
    /// Time since the control plane was heard last.
    pub feed_silence: Option<Duration>,
    /// Hosts in the table.
    pub routes: usize,
    /// Names that have a certificate.
    pub certificates: usize,
    /// Most connections at once.
    pub max_connections: usize,
}

/// What is lost because it could not be written or sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) log_lines: u64,
    pub(crate) log_bytes: u64,
    pub(crate) spans: u64,
}

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) totals: Totals,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) losses: Losses,
    pub(crate) state: State,
}

/// Writes everything in Prometheus' text format, version 0.0.4.
pub(crate) fn text(snapshot: Snapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut encoder;
        self.requests(out)?;
        self.connections(out)?;
        self.feed(out)?;
        self.lost(out)
    }
}

impl Snapshot {
    fn requests(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        let mut family =
            out.encode_descriptor("requests", "Requests answered or broken off", None, MetricType::Counter)?;
        for (protocol, classes) in Protocol::ALL.iter().zip(&totals.requests) {
            for (class, count) in CLASSES.iter().zip(classes) {
                let labels = [("protocol", protocol.as_str()), ("status", *class)];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        let bounds = LATENCY_BOUNDS_MS.iter().map(|ms| f64::from(*ms) / 1000.0).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(totals.latencies).collect();
        let sum = Duration::from_micros(totals.latency_micros).as_secs_f64();
        let help = "Time from a request's head to its answer's last byte";
        out.encode_descriptor("request_duration_seconds", help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, totals.latencies.iter().sum(), &buckets, None)?;
        counter(out, "request_bytes", "Bytes of requests' bodies", totals.bytes_in)?;
        counter(out, "response_bytes", "Bytes of answers' bodies", totals.bytes_out)?;
        let cache = CacheResult::ALL.iter().zip(totals.cache).map(|(result, count)| (result.as_str(), count));
        counters(out, "cache_requests", "Requests by where their answer came from", "result", cache)?;
        let refused = totals.refused.iter().copied();
        counters(out, "refused_requests", "Requests refused by the edge, by reason", "reason", refused)
    }

    fn connections(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let kinds = || ConnectionKind::ALL.iter().map(|kind| kind.as_str());
        let help = "Visitors' connections that are open";
        {
            let mut family = out.encode_descriptor("connections", help, None, MetricType::Gauge)?;
            for (kind, open) in kinds().zip(&metrics.open) {
                family.encode_family(&[("kind", kind)])?.encode_gauge(&open.load(Ordering::Relaxed))?;
            }
        }
        gauge(out, "connections_max", "Most visitors' connections at once", &float(self.state.max_connections))?;
        let accepted = kinds().zip(metrics.accepted.iter().map(|count| count.load(Ordering::Relaxed)));
        counters(out, "connections_accepted", "Visitors' connections accepted", "kind", accepted)?;
        let refused = metrics.refused.load(Ordering::Relaxed);
        counter(out, "connections_refused", "Connections closed because their visitor has too many", refused)?;
        let ends = metrics.handshakes.iter().map(|count| count.load(Ordering::Relaxed));
        let ends = Handshake::ALL.iter().map(|end| end.as_str()).zip(ends);
        counters(out, "tls_handshakes", "TLS handshakes by how they ended", "result", ends)?;
        let events = metrics.upstreams.iter().map(|count| count.load(Ordering::Relaxed));
        let events = Upstream::ALL.iter().map(|event| event.as_str()).zip(events);
        counters(out, "upstream_events", "What happened with apps' instances", "event", events)?;
        let ejections = metrics.ejections.load(Ordering::Relaxed);
        counter(out, "upstream_ejections", "Times an app's instance was left out for a while", ejections)
    }

    fn feed(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let state = &self.state;
        let yes = |yes: bool| f64::from(u8::from(yes));
        gauge(out, "ready", "Whether visitors should be sent here", &yes(state.ready))?;
        gauge(out, "overloaded", "Whether new visitors are refused for want of capacity", &yes(state.overloaded))?;
        gauge(out, "feed_connected", "Whether the control plane is connected", &yes(state.feed_connected))?;
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
        gauge(out, "feed_version", "Version of the route table", &(state.feed_version as f64))?;
        if let Some(silence) = state.feed_silence {
            let help = "Seconds since the control plane was heard last";
            gauge(out, "feed_silence_seconds", help, &silence.as_secs_f64())?;
        }
        gauge(out, "routes", "Hosts in the route table", &float(state.routes))?;
        gauge(out, "certificates", "Names that have a certificate", &float(state.certificates))
    }

    fn lost(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let losses = &self.losses;
        counter(out, "access_log_dropped_lines", "Lines that came faster than they were written", losses.log_lines)?;
        counter(out, "access_log_lost_bytes", "Bytes that could not be written", losses.log_bytes)?;
        counter(out, "spans_dropped", "Spans that could not be sent", losses.spans)?;
        counter(out, "usage_uncounted", "Requests of projects beyond the bound", self.totals.uncounted)
    }
}

fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn counters<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in counts {
        family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
    out.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
fn float(count: usize) -> f64 {
    count as f64
}

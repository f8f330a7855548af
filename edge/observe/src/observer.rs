//! Takes the records, and gives what they add up to.

use std::sync::Arc;

use common::usage::Usage;

use crate::access_log::{AccessLog, LogError, Writer};
use crate::metrics::Metrics;
use crate::record::Record;
use crate::render::{self, Losses, Snapshot, State};
use crate::stripe::Stripes;
use crate::traces::{Otlp, OtlpError, Traces};

/// What is observed beside counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Where the access log goes; nowhere when absent.
    pub access_log: Option<AccessLog>,
    /// Where spans go; nowhere when absent.
    pub otlp: Option<Otlp>,
}

/// Why observing can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The access log can't be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Spans can't be sent.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

/// Takes the records of an edge. When it is dropped the access log is written to its end.
#[derive(Debug)]
pub struct Observer {
    stripes: Arc<Stripes>,
    metrics: Arc<Metrics>,
    log: Option<Writer>,
    traces: Option<Traces>,
}

impl Observer {
    /// Begins to observe. Must be called inside a Tokio runtime when there is a collector.
    ///
    /// # Errors
    /// When the access log can't be opened, or the collector's address can't be used.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let stripes = Arc::new(Stripes::new());
        let log = settings.access_log.map(|log| Writer::start(log, Arc::clone(&stripes))).transpose()?;
        let traces = settings.otlp.map(Traces::start).transpose()?;
        Ok(Self { stripes, metrics: Arc::default(), log, traces })
    }

    /// Takes one request into account. Never waits for a disk or a network, and allocates only for spans that are
    /// recorded.
    pub fn record(&self, record: &Record<'_>) {
        let mut stripe = self.stripes.own();
        stripe.count(record);
        if let Some(log) = &self.log {
            log.add(&mut stripe.log, record);
        }
        drop(stripe);
        if let (Some(traces), Some(trace)) = (&self.traces, record.trace.filter(|trace| trace.sampled)) {
            traces.add(record, trace);
        }
    }

    /// Whether a trace that begins here is recorded.
    #[must_use]
    pub fn samples(&self, trace_id: u128) -> bool {
        self.traces.as_ref().is_some_and(|traces| traces.samples(trace_id))
    }

    /// Whether requests are written to an access log.
    #[must_use]
    pub const fn logs(&self) -> bool {
        self.log.is_some()
    }

    /// Whether somebody is told of a request's place in its trace.
    #[must_use]
    pub const fn needs_trace(&self) -> bool {
        self.log.is_some() || self.traces.is_some()
    }

    /// Counts of what happens beside requests.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What projects were served since the last call. A project may be named several times.
    #[must_use]
    pub fn drain_usage(&self) -> Vec<Usage> {
        self.stripes.drain()
    }

    /// Everything for Prometheus, in its text format 0.0.4.
    ///
    /// # Errors
    /// When it can't be written as text, which would be a bug.
    pub fn render(&self, state: State) -> Result<String, std::fmt::Error> {
        let (log_lines, log_bytes) = self.log.as_ref().map_or((0, 0), Writer::losses);
        let losses = Losses { log_lines, log_bytes, spans: self.traces.as_ref().map_or(0, Traces::dropped) };
        render::text(Snapshot { totals: self.stripes.totals(), metrics: Arc::clone(&self.metrics), losses, state })
    }

    /// Writes the access log's waiting lines. Blocks as long as that takes.
    pub fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }

    /// Sends the spans and writes the lines that wait. Spans of later requests are dropped.
    pub async fn finish(self: &Arc<Self>) {
        if let Some(traces) = &self.traces {
            traces.finish().await;
        }
        let own = Arc::clone(self);
        // It waits for a disk.
        if let Err(error) = tokio::task::spawn_blocking(move || own.flush()).await {
            tracing::error!(%error, "the access log's end was not written");
        }
    }
}

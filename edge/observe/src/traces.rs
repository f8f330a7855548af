//! Spans of requests for an OpenTelemetry collector (OTLP over HTTP).

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use url::Url;

use crate::record::{Record, Trace};

/// Spans that wait to be sent; further ones are dropped and counted. Some megabytes.
const QUEUE: usize = 8192;
/// Spans in one message.
const BATCH: usize = 512;
/// Longest time until a span is sent.
const DELAY: Duration = Duration::from_secs(2);
/// Longest time in which the collector takes a message.
const SEND: Duration = Duration::from_secs(10);
/// Bytes of a text that is sent: what is longer is a visitor's mischief.
const MAX_TEXT: usize = 512;

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector, as in `http://collector:4318`; spans go to `/v1/traces` below it.
    pub endpoint: Url,
    /// The part of traces that is recorded, from 0 to 1, of those that begin here. Traces that a trusted visitor
    /// began are recorded when it says so.
    pub sample: f64,
    /// What this edge is called.
    pub service: String,
}

/// Why spans can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The address can't be used.
    #[error("`{0}` is no collector's address: use `http://host:port`")]
    Endpoint(Url),
    /// The sample is no part of one.
    #[error("the part of traces that is recorded is {0}; it must be from 0 to 1")]
    Sample(f64),
    /// The exporter can't be made.
    #[error("spans can't be exported: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

#[derive(Debug)]
pub(crate) struct Traces {
    sample: f64,
    queue: mpsc::Sender<SpanData>,
    scope: InstrumentationScope,
    dropped: Arc<AtomicU64>,
    /// Nothing more is to be sent than what waits.
    finish: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Traces {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn start(settings: Otlp) -> Result<Self, OtlpError> {
        if !(0.0..=1.0).contains(&settings.sample) {
            return Err(OtlpError::Sample(settings.sample));
        }
        let wrong = || OtlpError::Endpoint(settings.endpoint.clone());
        if !matches!(settings.endpoint.scheme(), "http" | "https") || !settings.endpoint.has_host() {
            return Err(wrong());
        }
        let mut below = settings.endpoint.clone();
        below.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(["v1", "traces"]);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(below)
            .with_timeout(SEND)
            .build()?;
        exporter.set_resource(&Resource::builder_empty().with_service_name(settings.service).build());
        let (queue, waiting) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let finish = Arc::new(Notify::new());
        let task = tokio::spawn(send(exporter, waiting, Arc::clone(&dropped), Arc::clone(&finish)));
        let scope = InstrumentationScope::builder("astrocloud-edge").build();
        Ok(Self { sample: settings.sample, queue, scope, dropped, finish, task: Mutex::new(Some(task)) })
    }

    /// Whether a trace that begins here is recorded. Every edge says the same of a trace.
    #[expect(clippy::cast_precision_loss, reason = "a sample is not exact")]
    pub(crate) fn samples(&self, trace_id: u128) -> bool {
        let bits = trace_id as u64;
        self.sample >= 1.0 || (bits as f64) < self.sample * u64::MAX as f64
    }

    pub(crate) fn add(&self, record: &Record<'_>, trace: Trace) {
        if self.queue.try_send(span(record, trace, self.scope.clone())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends what waits, and ends.
    pub(crate) async fn finish(&self) {
        let Some(mut task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        self.finish.notify_one();
        if tokio::time::timeout(SEND, &mut task).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
            task.abort();
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

async fn send(
    exporter: SpanExporter,
    mut waiting: mpsc::Receiver<SpanData>,
    dropped: Arc<AtomicU64>,
    finish: Arc<Notify>,
) {
    let mut failing = false;
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = finish.notified() => waiting.close(),
            count = waiting.recv_many(&mut batch, BATCH) => if count == 0 { return },
        }
        if batch.is_empty() {
            continue;
        }
        if !waiting.is_closed() {
            let full = async { while batch.len() < BATCH && waiting.recv_many(&mut batch, BATCH).await > 0 {} };
            tokio::select! {
                () = full => {}
                () = tokio::time::sleep(DELAY) => {}
                () = finish.notified() => waiting.close(),
            }
        }
        let count = batch.len() as u64;
        match exporter.export(std::mem::take(&mut batch)).await {
            Ok(()) => failing = false,
            Err(error) => {
                dropped.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "spans can't be sent; they are lost until they can");
                }
            }
        }
    }
}

/// A request as a span, with the names of OpenTelemetry's conventions for HTTP servers.
fn span(record: &Record<'_>, trace: Trace, scope: InstrumentationScope) -> SpanData {
    let end_time = SystemTime::now();
    let flags = if trace.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let span_context =
        SpanContext::new(trace.trace_id.into(), trace.span_id.into(), flags, false, TraceState::default());
    let status = if record.is_error() { Status::error("") } else { Status::Unset };
    SpanData {
        span_context,
        parent_span_id: trace.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: trace.parent.is_some(),
        span_kind: SpanKind::Server,
        name: name(record.method),
        start_time: end_time.checked_sub(record.duration).unwrap_or(end_time),
        end_time,
        attributes: attributes(record),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: scope,
    }
}

/// The method when it is a usual one, because a span's name must have few values.
fn name(method: &str) -> Cow<'static, str> {
    const USUAL: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];
    Cow::Borrowed(USUAL.into_iter().find(|usual| *usual == method).unwrap_or("HTTP"))
}

fn attributes(record: &Record<'_>) -> Vec<KeyValue> {
    let cut = |text: &str| text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut all = vec![
        KeyValue::new("http.request.method", cut(record.method)),
        KeyValue::new("url.path", cut(record.path)),
        KeyValue::new("url.scheme", record.scheme()),
        KeyValue::new("server.address", cut(record.host)),
        KeyValue::new("network.protocol.version", record.protocol.as_str()),
        KeyValue::new("http.request.body.size", signed(record.bytes_in)),
        KeyValue::new("http.response.body.size", signed(record.bytes_out)),
    ];
    let mut add = |key: &'static str, value: Option<String>| all.extend(value.map(|value| KeyValue::new(key, value)));
    add("client.address", record.client.map(|client| client.to_string()));
    add("network.peer.address", record.upstream.map(|upstream| upstream.to_string()));
    add("tls.protocol.version", record.tls.map(str::to_owned));
    add("astrocloud.project", record.project.map(str::to_owned));
    add("astrocloud.deployment", record.deployment.map(str::to_owned));
    add("astrocloud.request_id", Some(record.request_id.to_owned()).filter(|id| !id.is_empty()));
    add("astrocloud.cache", record.cache.map(|cache| cache.as_str().to_owned()));
    add("astrocloud.refused", record.refused.map(str::to_owned));
    let agent = String::from_utf8_lossy(record.user_agent);
    add("user_agent.original", Some(cut(&agent)).filter(|agent| !agent.is_empty()));
    if let Some(status) = record.status {
        all.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    if record.is_error() {
        let error = record.status.map_or_else(|| "no_answer".to_owned(), |status| status.to_string());
        all.push(KeyValue::new("error.type", error));
    }
    all
}

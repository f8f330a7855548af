//! What an operator sees of requests.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::usage::Usage;
use observe::{
    AccessLog, CacheResult, ConnectionKind, Handshake, LogTo, Observer, Otlp, Protocol, Record, Settings, State, Trace,
    Upstream,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::sync::mpsc;

fn request(project: &str, status: u16) -> Record<'_> {
    Record {
        project: Some(project),
        host: "shop.example",
        method: "GET",
        path: "/",
        status: Some(status),
        bytes_out: 100,
        duration: Duration::from_millis(3),
        ..Record::default()
    }
}

fn line(text: &str, start: &str) -> String {
    text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start} in\n{text}")).to_owned()
}

#[test]
fn requests_of_all_threads_add_up_by_project() {
    let observer = Arc::new(Observer::start(Settings::default()).unwrap());
    let threads: Vec<_> = (0..8)
        .map(|i| {
            let observer = Arc::clone(&observer);
            std::thread::spawn(move || (0..1000).for_each(|_| observer.record(&request(["a", "b"][i % 2], 200))))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let sum = |project: &str, all: &[Usage]| {
        let mut sum = Usage::default();
        all.iter().filter(|usage| usage.project == project).for_each(|usage| sum.add(usage));
        (sum.requests, sum.bytes_out, sum.statuses[1], sum.latencies[1])
    };
    let all = observer.drain_usage();
    for project in ["a", "b"] {
        assert_eq!(sum(project, &all), (4000, 400_000, 4000, 4000));
    }
    assert!(observer.drain_usage().is_empty(), "what was drained is not told twice");
}

#[test]
fn prometheus_reads_what_happened() {
    let observer = Observer::start(Settings::default()).unwrap();
    observer.record(&Record { cache: Some(CacheResult::Hit), ..request("a", 200) });
    observer.record(&Record { protocol: Protocol::H2, duration: Duration::from_secs(2), ..request("a", 503) });
    observer.record(&Record { refused: Some("client_rate"), ..request("a", 429) });
    observer.record(&Record { status: None, ..request("a", 0) });
    let metrics = observer.metrics();
    let open = metrics.connection(ConnectionKind::Https);
    drop(metrics.connection(ConnectionKind::Http));
    metrics.handshake(Handshake::Resumed);
    metrics.upstream(Upstream::TimedOut);
    metrics.ejections().fetch_add(2, std::sync::atomic::Ordering::Relaxed);
    metrics.connection_refused();
    let state = State {
        ready: true,
        feed_connected: true,
        feed_version: 77,
        feed_silence: Some(Duration::from_millis(1500)),
        routes: 5,
        ..State::default()
    };
    let text = observer.render(state).unwrap();
    for (start, value) in [
        ("astrocloud_edge_requests_total{protocol=\"1.1\",status=\"2xx\"}", "1"),
        ("astrocloud_edge_requests_total{protocol=\"2\",status=\"5xx\"}", "1"),
        ("astrocloud_edge_requests_total{protocol=\"1.1\",status=\"none\"}", "1"),
        ("astrocloud_edge_request_duration_seconds_bucket{le=\"0.005\"}", "3"),
        ("astrocloud_edge_request_duration_seconds_bucket{le=\"+Inf\"}", "4"),
        ("astrocloud_edge_request_duration_seconds_count", "4"),
        ("astrocloud_edge_request_duration_seconds_sum", "2.009"),
        ("astrocloud_edge_response_bytes_total", "400"),
        ("astrocloud_edge_cache_requests_total{result=\"hit\"}", "1"),
        ("astrocloud_edge_refused_requests_total{reason=\"client_rate\"}", "1"),
        ("astrocloud_edge_connections{kind=\"https\"}", "1"),
        ("astrocloud_edge_connections{kind=\"http\"}", "0"),
        ("astrocloud_edge_connections_accepted_total{kind=\"http\"}", "1"),
        ("astrocloud_edge_connections_refused_total", "1"),
        ("astrocloud_edge_tls_handshakes_total{result=\"resumed\"}", "1"),
        ("astrocloud_edge_upstream_events_total{event=\"timed_out\"}", "1"),
        ("astrocloud_edge_upstream_ejections_total", "2"),
        ("astrocloud_edge_ready", "1.0"),
        ("astrocloud_edge_feed_version", "77.0"),
        ("astrocloud_edge_feed_silence_seconds", "1.5"),
        ("astrocloud_edge_routes", "5.0"),
    ] {
        assert_eq!(line(&text, start).rsplit(' ').next(), Some(value), "{start}");
    }
    assert!(!text.contains("shop.example") && !text.contains("project="), "labels have few values");
    drop(open);
}

/// A collector that tells what it is sent.
async fn collector() -> (String, mpsc::UnboundedReceiver<ExportTraceServiceRequest>) {
    let (tell, told) = mpsc::unbounded_channel();
    let take = move |body: axum::body::Bytes| {
        let tell = tell.clone();
        async move { tell.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap() }
    };
    let app = axum::Router::new().route("/base/v1/traces", axum::routing::post(take));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, told)
}

fn otlp(endpoint: &str, sample: f64) -> Otlp {
    Otlp { endpoint: endpoint.parse().unwrap(), sample, service: "edge-1".to_owned() }
}

fn spans(sent: &ExportTraceServiceRequest) -> Vec<Span> {
    let resources = sent.resource_spans.iter();
    resources.flat_map(|r| r.scope_spans.iter()).flat_map(|s| s.spans.iter()).cloned().collect()
}

#[tokio::test]
async fn a_collector_gets_a_span_of_each_recorded_request() {
    let (url, mut told) = collector().await;
    let settings = Settings { otlp: Some(otlp(&url, 1.0)), ..Settings::default() };
    let observer = Arc::new(Observer::start(settings).unwrap());
    let trace = Trace { trace_id: 0xABC, span_id: 0xD, parent: Some(0xE), sampled: true };
    observer.record(&Record { trace: Some(trace), path: "/cart", ..request("shop", 502) });
    observer.record(&Record { trace: Some(Trace { sampled: false, ..trace }), ..request("shop", 200) });
    observer.record(&request("shop", 200));
    observer.finish().await;
    let sent = told.recv().await.unwrap();
    assert!(format!("{:?}", sent.resource_spans[0].resource).contains("edge-1"));
    let all = spans(&sent);
    assert_eq!(all.len(), 1);
    let span = &all[0];
    assert_eq!(span.name, "GET");
    assert_eq!(span.trace_id, 0xABC_u128.to_be_bytes());
    assert_eq!(
        (span.span_id.as_slice(), span.parent_span_id.as_slice()),
        (&0xD_u64.to_be_bytes()[..], &0xE_u64.to_be_bytes()[..])
    );
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 3_000_000);
    let attributes = format!("{:?}", span.attributes);
    for part in ["url.path", "/cart", "astrocloud.project", "shop", "http.response.status_code", "502"] {
        assert!(attributes.contains(part), "{part}: {attributes}");
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn a_collector_that_is_away_delays_no_request_and_its_losses_are_counted() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", nobody.local_addr().unwrap());
    let observer = Observer::start(Settings { otlp: Some(otlp(&url, 1.0)), ..Settings::default() }).unwrap();
    let trace = Trace { trace_id: 1, span_id: 1, parent: None, sampled: true };
    for _ in 0..20_000 {
        observer.record(&Record { trace: Some(trace), ..request("shop", 200) });
    }
    let text = observer.render(State::default()).unwrap();
    let dropped: u64 = line(&text, "astrocloud_edge_spans_dropped_total").rsplit(' ').next().unwrap().parse().unwrap();
    assert!(dropped >= 10_000, "{dropped}");
}

#[tokio::test]
async fn the_part_of_traces_that_is_recorded_is_as_configured_and_the_same_on_every_edge() {
    let count = |observer: &Observer| {
        (0..10_000_u128)
            .map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
            .filter(|id| observer.samples(*id))
            .count()
    };
    for (sample, expected) in [(0.0, 0..1), (0.1, 900..1100), (1.0, 10_000..10_001)] {
        let settings = Settings { otlp: Some(otlp("http://127.0.0.1:1", sample)), ..Settings::default() };
        let observer = Observer::start(settings.clone()).unwrap();
        assert!(expected.contains(&count(&observer)), "{sample}");
        assert_eq!(count(&observer), count(&Observer::start(settings).unwrap()));
    }
    assert_eq!(count(&Observer::start(Settings::default()).unwrap()), 0, "without a collector nothing is recorded");
    for wrong in [otlp("ftp://x/", 1.0), otlp("http://x/", 2.0)] {
        assert!(Observer::start(Settings { otlp: Some(wrong), ..Settings::default() }).is_err());
    }
}

/// Not a check of a time, which a busy machine could not keep, but a figure to look at:
/// `cargo test --release -p observe -- --nocapture cost`.
#[test]
fn cost_of_a_record() {
    const COUNT: u32 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let log = AccessLog { to: LogTo::File(folder.path().join("access.log")), sample: 1.0 };
    for (what, settings) in [
        ("without an access log", Settings::default()),
        ("with an access log", Settings { access_log: Some(log), ..Settings::default() }),
    ] {
        let observer = Observer::start(settings).unwrap();
        let record = Record { user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0)", ..request("shop", 200) };
        let began = Instant::now();
        (0..COUNT).for_each(|_| observer.record(&record));
        println!("{what}: {:?} a record", began.elapsed() / COUNT);
    }
}

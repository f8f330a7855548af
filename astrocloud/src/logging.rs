//! What the platform logs on stderr: its own events from the chosen level on, and warnings of libraries.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::settings::{Level, Log, LogFormat};

/// The platform's own crates.
const OWN: [&str; 19] = [
    "acme",
    "astrocloud",
    "balance",
    "build",
    "common",
    "control_plane",
    "deployer",
    "detect",
    "edge",
    "guard",
    "logs",
    "observe",
    "publish",
    "response_cache",
    "runtime",
    "sandbox",
    "source",
    "tls",
    "toolchain",
];
/// Where the edge tells of every request.
const ACCESS: &str = "edge::access";

/// Libraries whose failures the edge tells itself, with fields and without visitors' addresses.
const SILENT: [&str; 2] = ["pingora_core", "pingora_proxy"];

/// Begins to log.
///
/// # Errors
/// When something logs already.
pub fn start(log: &Log) -> anyhow::Result<()> {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OWN.map(|target| (target, level)))
        .with_targets(SILENT.map(|target| (target, LevelFilter::OFF)))
        .with_target(ACCESS, if log.access { LevelFilter::INFO } else { LevelFilter::OFF });
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Human => layer.with_ansi(console::colors_enabled_stderr()).compact().boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(targets)).try_init()?;
    Ok(())
}

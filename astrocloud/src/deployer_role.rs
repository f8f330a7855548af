//! `astrocloud deployer`: a deployer alone, for control planes that run elsewhere. Several share the builds and the apps of
//! an installation: what one that dies was building, another builds, and its apps are started on others.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use common::id::DeployerId;
use common::ledger::DynLedger;
use deployer::Deployer;
use http_ledger::HttpLedger;
use sandbox::Sandbox;
use serde::Serialize;
use url::Url;

use crate::backends;
use crate::exit::{self, Usage};
use crate::output;
use crate::process::{self, Signals};
use crate::settings::Settings;
use crate::up::platform::{SELF, sandbox_options};
use crate::up::{DataFolder, work};

/// For apps to end that run elsewhere by now, or could not go there.
const DRAIN: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  export ASTROCLOUD_QUEUE_URL=redis://queue.internal ASTROCLOUD_SHARED_DIR=/mnt/astrocloud
  astrocloud deployer --control-plane https://control.example.com --token-file /etc/astrocloud/deployer-token \
    --data-dir /var/lib/astrocloud-deployer --advertise 10.0.0.7
  astrocloud config > deployer.toml; astrocloud deployer --config deployer.toml

The token is in `deployer-token` of a control plane's data folder. SIGTERM gives builds back, waits until other deployers
run this one's apps, and stops; a second one stops at once.";

/// Flags; each wins over the setting of the same meaning.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DeployerRole {
    /// A control plane's API, like https://control.example.com; may be given several times
    #[arg(long, value_name = "URL")]
    control_plane: Vec<Url>,
    /// File (PEM) of the CA that control planes' certificates are checked with [default: the system's]
    #[arg(long, value_name = "FILE")]
    control_plane_ca: Option<PathBuf>,
    /// File of the deployers' token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Folder of what the deployer keeps: caches, tools, running apps [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address at which edges reach this machine's apps [default: edges on this machine do]
    #[arg(long, value_name = "IP")]
    advertise: Option<IpAddr>,
    /// Written, as JSON and at once, when jobs are taken
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Settings file; `astrocloud config` prints one with every default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What scripts read.
#[derive(Serialize)]
struct Ready {
    deployer: DeployerId,
    isolation: &'static str,
    process: u32,
}

impl DeployerRole {
    /// The settings that count, and warnings about where they came from.
    fn settings(&self) -> anyhow::Result<(Settings, Vec<String>)> {
        let loaded = Settings::load(self.config.as_deref(), std::env::vars())?;
        let mut settings = loaded.settings;
        if let Some(folder) = &self.data_dir {
            settings.data_dir.clone_from(folder);
        }
        let deployer = &mut settings.deployer;
        if !self.control_plane.is_empty() {
            deployer.control_planes.clone_from(&self.control_plane);
        }
        let text = |path: &PathBuf| path.display().to_string();
        deployer.control_plane_ca.0 = self.control_plane_ca.as_ref().map(text).or(deployer.control_plane_ca.0.take());
        deployer.token_file.0 = self.token_file.as_ref().map(text).or(deployer.token_file.0.take());
        deployer.advertise.0 = self.advertise.or(deployer.advertise.0);
        Ok((settings, loaded.warnings))
    }
}

/// Refuses what can't work alone.
fn check(settings: &Settings) -> Result<(), Usage> {
    if settings.deployer.control_planes.is_empty() {
        return Err(Usage::new("say --control-plane URL, or set deployer.control_planes in a settings file"));
    }
    if settings.deployer.token_file.0.is_none() {
        return Err(Usage::new("say --token-file FILE, or set deployer.token_file in a settings file"));
    }
    if settings.queue.url.0.is_none() {
        return Err(Usage::new(
            "a deployer takes its jobs off the control planes' queue: set ASTROCLOUD_QUEUE_URL (queue.url), like redis://host",
        ));
    }
    backends::check_shared(settings)
}

/// Runs the deployer until a signal ends it.
pub fn run(role: DeployerRole) -> anyhow::Result<u8> {
    let (settings, warnings) = role.settings()?;
    check(&settings)?;
    let log = settings.log.clone();
    process::run(&log, &warnings, serve(role, settings))
}

async fn serve(role: DeployerRole, settings: Settings) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let data = DataFolder::open(&settings.data_dir, settings.shared_dir.0.as_deref().map(Path::new))?;
    let sandbox = Sandbox::detect(PathBuf::from(SELF), sandbox_options(&settings)).await;
    let id = DeployerId::new();
    let deployer = tokio::select! {
        deployer = Box::pin(start(&settings, &data, &sandbox, &id)) => deployer?,
        () = signals.next() => return Ok(exit::DONE),
    };
    let isolation = sandbox.level().slug();
    tracing::info!(deployer = %id, isolation, "takes jobs");
    if let Some(file) = &role.ready_file {
        let ready = Ready { deployer: id, isolation, process: std::process::id() };
        process::put_json(file, &ready)
            .with_context(|| format!("the ready file {} can't be written", file.display()))?;
    }
    signals.next().await;
    output::say("Stopping: builds are given back, and apps go elsewhere. Interrupt again to stop at once.");
    tokio::select! {
        () = deployer.leave(settings.deployer.leave) => {}
        () = signals.next() => return Ok(exit::INTERRUPTED),
    }
    tokio::select! {
        () = deployer.drain(DRAIN) => Ok(exit::DONE),
        () = signals.next() => Ok(exit::INTERRUPTED),
    }
}

async fn start(settings: &Settings, data: &DataFolder, sandbox: &Sandbox, id: &DeployerId) -> anyhow::Result<Deployer> {
    let set = &settings.deployer;
    let token = process::token(set.token_file.0.as_deref().map(Path::new).context("there is no token file")?)?;
    let ca = set.control_plane_ca.0.as_deref().map(Path::new);
    let ledger: DynLedger = Arc::new(HttpLedger::new(&set.control_planes, &token, ca, id)?);
    let bus = backends::bus(settings, data, backends::Side::Writes)?;
    let runtime = backends::runtime(settings, &bus, &ledger, id.as_str()).await?;
    let ports = deployer::Ports {
        store: backends::objects(settings, data)?.store,
        bus,
        queue: backends::queue(settings)?,
        registry: backends::registry(settings, data)?,
        ledger,
        sandbox: sandbox.clone(),
        runtime,
    };
    let config = settings.deployer(work::folder(data, sandbox).await?);
    Ok(Deployer::start(config, ports).await?)
}

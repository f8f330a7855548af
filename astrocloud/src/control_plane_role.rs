//! `astrocloud control-plane`: a control plane alone. Several of one installation work on one database and one queue, and
//! any edge or deployer may hang on any of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use common::secret::Secret;
use common::time::Timestamp;
use control_plane::ControlPlane;
use control_plane::development::{self, DevelopmentError};
use serde::Serialize;

use crate::backends;
use crate::exit::{self, Usage};
use crate::output;
use crate::plane::{self, Plane};
use crate::process::{self, Signals};
use crate::settings::Settings;
use crate::up::platform::check_base_domain;
use crate::up::{State, address};

/// For calls of the API to end, those of deployers that wait for edges too.
const DRAIN: Duration = Duration::from_secs(20);

const EXAMPLES: &str = "\
Examples:
  export ASTROCLOUD_DATABASE_URL=postgres://astrocloud@db.internal/astrocloud
  export ASTROCLOUD_QUEUE_URL=redis://queue.internal ASTROCLOUD_SHARED_DIR=/mnt/astrocloud
  ASTROCLOUD_MASTER_KEY=... astrocloud control-plane --data-dir /var/lib/astrocloud-control --api 0.0.0.0:8081
  astrocloud config > control.toml; astrocloud control-plane --config control.toml

Every control plane of an installation has the same database, queue and master key. The ports of listen.http and
listen.https are those at which visitors reach the edges. The tokens of edges, deployers and the API are `edge-token`,
`deployer-token` and `api-token` of the data folder.";

/// Flags; each wins over the setting of the same meaning.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ControlPlaneRole {
    /// Folder of this control plane's own state [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API and the dashboard are [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    api: Option<SocketAddr>,
    /// Project `shop` is at shop.DOMAIN [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<String>,
    /// Written, as JSON and at once, when the API answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Settings file; `astrocloud config` prints one with every default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What scripts read. URLs end without a slash, so that paths can be appended.
#[derive(Serialize)]
struct Served<'a> {
    api_url: String,
    api_token: &'a Secret,
    edge_token_file: PathBuf,
    deployer_token_file: PathBuf,
    process: u32,
}

impl ControlPlaneRole {
    /// The settings that count, and warnings about where they came from.
    fn settings(&self) -> anyhow::Result<(Settings, Vec<String>)> {
        let loaded = Settings::load(self.config.as_deref(), std::env::vars())?;
        let mut settings = loaded.settings;
        settings.listen.api = self.api.unwrap_or(settings.listen.api);
        if let Some(folder) = &self.data_dir {
            settings.data_dir.clone_from(folder);
        }
        if let Some(domain) = &self.base_domain {
            settings.base_domain.clone_from(domain);
        }
        check_base_domain(&settings.base_domain)?;
        Ok((settings, loaded.warnings))
    }
}

/// Refuses what other processes can't share.
fn check(settings: &Settings) -> Result<(), Usage> {
    let needed = |what: &str, setting: &str, example: &str| {
        Err(Usage::new(format!("{what} can't be within one process of several: set {setting}, like {example}")))
    };
    if settings.database.url.0.is_none() {
        return needed(
            "the database",
            "ASTROCLOUD_DATABASE_URL (database.url)",
            "postgres://astrocloud@host/astrocloud",
        );
    }
    if settings.queue.url.0.is_none() {
        return needed("the queue", "ASTROCLOUD_QUEUE_URL (queue.url)", "redis://host");
    }
    backends::check_shared(settings)?;
    if !State::has_key(&settings.data_dir) {
        return Err(Usage::new(
            "every control plane needs the installation's master key: set ASTROCLOUD_MASTER_KEY, or put the file \
             master.key into the data folder (32 random bytes in base64url, the same for all)",
        ));
    }
    Ok(())
}

/// Runs the control plane until a signal ends it.
pub fn run(role: ControlPlaneRole) -> anyhow::Result<u8> {
    let (settings, warnings) = role.settings()?;
    check(&settings)?;
    let log = settings.log.clone();
    process::run(&log, &warnings, serve(role, settings))
}

async fn serve(role: ControlPlaneRole, settings: Settings) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let state = State::open(&settings.data_dir, settings.shared_dir.0.as_deref().map(Path::new))?;
    let plane = tokio::select! {
        plane = Box::pin(start(&settings, &state)) => plane?,
        () = signals.next() => return Ok(exit::DONE),
    };
    if let Some(file) = &role.ready_file {
        let served = Served {
            api_url: plane.api_url().as_str().trim_end_matches('/').to_owned(),
            api_token: state.api_token(),
            edge_token_file: state.path().join("edge-token"),
            deployer_token_file: state.path().join("deployer-token"),
            process: std::process::id(),
        };
        process::put_json(file, &served)
            .with_context(|| format!("the ready file {} can't be written", file.display()))?;
    }
    signals.next().await;
    output::say("Stopping: calls in flight may end. Interrupt again to stop at once.");
    tokio::select! {
        () = plane.drain(DRAIN) => Ok(exit::DONE),
        () = signals.next() => Ok(exit::INTERRUPTED),
    }
}

async fn start(settings: &Settings, state: &State) -> anyhow::Result<ControlPlane> {
    let api = control_plane::listen(settings.listen.api).await?;
    let database = state.database_url(&settings.database)?;
    let now = Timestamp::now();
    let authority = match development::authority(&database, &state.private("ca")?, state.keys(), now).await {
        Ok(authority) => Some(Arc::new(authority)),
        // Only its certificates are lost with a lost key.
        Err(DevelopmentError::Authority(e)) => {
            tracing::error!(error = %e, "sites have no certificates of the development authority");
            None
        }
        Err(e) => return Err(e.into()),
    };
    let plane = Plane {
        api: api.addr,
        visitors: settings.listen.http,
        secure_visitors: settings.listen.https,
        authority,
        isolation: "deployer".to_owned(),
        deployer_token: Some(state.deployer_token()?),
    };
    let config = plane::config(settings, state, plane)?;
    let backends::Objects { store, uploads } = backends::objects(settings, state)?;
    let ports = control_plane::Ports {
        store,
        uploads,
        bus: backends::bus(settings, state, backends::Side::Reads)?,
        queue: backends::queue(settings)?,
        registry: backends::registry(settings, state)?,
    };
    Ok(ControlPlane::start(api, config, ports).await?)
}

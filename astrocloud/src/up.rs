//! `astrocloud up`: the whole platform in one process, on the embedded adapters.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit;
use crate::output;
use crate::process::{self, Signals};
use crate::settings::Settings;

mod banner;
pub mod folder;
pub mod platform;
mod ready;
mod remember;
pub mod state;
pub mod work;

pub use folder::{DataFolder, make_private, put_secret};
use platform::Platform;
pub use state::State;

const EXAMPLES: &str = "\
Examples:
  astrocloud up
  astrocloud up --data-dir /srv/astrocloud --http 0.0.0.0:80 --base-domain apps.example.com
  astrocloud up --http 127.0.0.1:0 --api 127.0.0.1:0 --ready-file ready.json
  astrocloud config > astrocloud.toml; astrocloud up --config astrocloud.toml

Ctrl-C or SIGTERM lets requests end and stops within 10 seconds; a second one stops at once.";

/// Flags; each wins over the setting of the same meaning.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Up {
    /// Folder of all state [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where visitors reach sites; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,
    /// Where visitors reach sites over TLS; port 0 takes a free one [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    https: Option<SocketAddr>,
    /// Where the API and the dashboard are [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    api: Option<SocketAddr>,
    /// Project `shop` is at shop.DOMAIN [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    base_domain: Option<String>,
    /// Written, as JSON and at once, when every part answers
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Settings file; `astrocloud config` prints one with every default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Parses an address to listen on.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address is an IP and a port, like 127.0.0.1:8080".to_owned())
}

impl Up {
    /// The settings that count, and warnings about where they came from.
    fn settings(&self) -> anyhow::Result<(Settings, Vec<String>)> {
        let loaded = Settings::load(self.config.as_deref(), std::env::vars())?;
        let mut settings = loaded.settings;
        let set = |setting: &mut SocketAddr, flag: Option<SocketAddr>| *setting = flag.unwrap_or(*setting);
        set(&mut settings.listen.http, self.http);
        set(&mut settings.listen.https, self.https);
        set(&mut settings.listen.api, self.api);
        if let Some(folder) = &self.data_dir {
            settings.data_dir.clone_from(folder);
        }
        if let Some(domain) = &self.base_domain {
            settings.base_domain.clone_from(domain);
        }
        platform::check_base_domain(&settings.base_domain)?;
        Ok((settings, loaded.warnings))
    }
}

/// Runs the platform until a signal ends it.
pub fn run(up: Up) -> anyhow::Result<u8> {
    let (settings, warnings) = up.settings()?;
    let log = settings.log.clone();
    process::run(&log, &warnings, serve(up, settings))
}

async fn serve(up: Up, settings: Settings) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let state = State::open(&settings.data_dir, settings.shared_dir.0.as_deref().map(Path::new))?;
    if let Some(file) = &up.ready_file {
        ready::forget(file)?;
    }
    let platform = tokio::select! {
        platform = Box::pin(Platform::start(&settings, &state)) => platform?,
        () = signals.next() => return Ok(exit::DONE),
    };
    let dashboard = platform.login_link().await?;
    if let Some(file) = &up.ready_file {
        ready::write(file, &platform, &dashboard, state.api_token())?;
    }
    let remembered = remember::remember(platform.api_url(), state.api_token());
    banner::show(&settings, &state, &platform, &dashboard, &remembered);

    signals.next().await;
    if let Some(file) = &up.ready_file
        && let Err(e) = ready::forget(file)
    {
        tracing::warn!(error = %e, "scripts may take this platform for running");
    }
    output::say("Stopping: requests in flight may end. Interrupt again to stop at once.");
    tokio::select! {
        () = platform.drain() => Ok(exit::DONE),
        () = signals.next() => Ok(exit::INTERRUPTED),
    }
}

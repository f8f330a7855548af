//! `astrocloud edge`: an edge alone, for a platform that runs elsewhere.
//!
//! It serves what it was told last while the control plane is away. A second one that is started with the same data
//! folder takes over its sockets, so that a new version comes without a connection that is refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use edge::handover::{self, Ready};
use edge::{Edge, Sockets};
use serde::Serialize;
use url::Url;

use crate::backends;
use crate::exit::{self, Usage};
use crate::output;
use crate::process::{self, Signals};
use crate::settings::{Maybe, Settings, StoreUrl};
use crate::up::{address, make_private};

const EXAMPLES: &str = "\
Examples:
  astrocloud edge --control-plane http://10.0.0.5:8081 --token-file /etc/astrocloud/edge-token \\
    --store file:///mnt/astrocloud/objects --data-dir /var/lib/astrocloud-edge --http 0.0.0.0:80 --https 0.0.0.0:443
  astrocloud config > edge.toml; astrocloud edge --config edge.toml

The token is in `edge-token` of the platform's data folder. SIGTERM lets requests end and stops. To upgrade, start the
new version with the same data folder: it takes over, and the old one ends when its requests have.";

/// Flags; each wins over the setting of the same meaning.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EdgeRole {
    /// The control plane's API, like http://10.0.0.5:8081 or https://control.example.com
    #[arg(long, value_name = "URL", value_parser = control_plane)]
    control_plane: Option<Url>,
    /// File (PEM) of the CA that the control plane's certificate is checked with [default: the system's]
    #[arg(long, value_name = "FILE")]
    control_plane_ca: Option<String>,
    /// File of the edges' token
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Object store with the sites, like azure://ACCOUNT/CONTAINER or file:///srv/astrocloud/objects
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Folder of what the edge keeps: routes, certificates [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where visitors reach sites; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    http: Option<SocketAddr>,
    /// Where visitors reach sites over TLS; port 0 takes a free one [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    https: Option<SocketAddr>,
    /// Where the operator asks for /metrics, /healthz and /readyz [default: nowhere]
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin: Option<SocketAddr>,
    /// Written, as JSON and at once, when visitors are served
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Settings file; `astrocloud config` prints one with every default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What scripts read. URLs end without a slash, so that paths can be appended.
#[derive(Serialize)]
struct Served {
    http_url: String,
    https_url: Option<String>,
    admin_url: Option<String>,
    process: u32,
}

fn control_plane(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err("the control plane's address looks like http://10.0.0.5:8081".to_owned()),
    }
}

impl EdgeRole {
    /// The settings that count, and warnings about where they came from.
    fn settings(&self) -> anyhow::Result<(Settings, Vec<String>)> {
        let loaded = Settings::load(self.config.as_deref(), std::env::vars())?;
        let mut settings = loaded.settings;
        let listen = &mut settings.listen;
        (listen.http, listen.https) = (self.http.unwrap_or(listen.http), self.https.unwrap_or(listen.https));
        if let Some(folder) = &self.data_dir {
            settings.data_dir.clone_from(folder);
        }
        let edge = &mut settings.edge;
        over(&mut edge.control_plane, self.control_plane.as_ref());
        over(&mut edge.control_plane_ca, self.control_plane_ca.as_ref());
        over(&mut edge.token_file, self.token_file.as_ref());
        over(&mut edge.store, self.store.as_ref());
        over(&mut edge.admin, self.admin.as_ref());
        Ok((settings, loaded.warnings))
    }
}

/// A flag wins over the setting.
fn over<T: Clone>(setting: &mut Maybe<T>, flag: Option<&T>) {
    if let Some(flag) = flag {
        setting.0 = Some(flag.clone());
    }
}

/// Runs the edge until a signal ends it, or another one has taken over.
pub fn run(role: EdgeRole) -> anyhow::Result<u8> {
    let (settings, warnings) = role.settings()?;
    let log = settings.log.clone();
    process::run(&log, &warnings, serve(role, settings))
}

async fn serve(role: EdgeRole, settings: Settings) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let set = &settings.edge;
    let needed = |flag: &str| Usage::new(format!("say {flag}, or set it in a settings file"));
    let control_plane = set.control_plane.0.clone().ok_or_else(|| needed("--control-plane URL"))?;
    let token = process::token(set.token_file.0.as_ref().ok_or_else(|| needed("--token-file FILE"))?.as_ref())?;
    let store = set.store.0.as_ref().or(settings.objects.url.0.as_ref()).ok_or_else(|| needed("--store URL"))?;
    let store = backends::objects_at(&settings, store)?.store;
    let folder = &settings.data_dir;
    let cannot = || format!("the data folder {} can't be used", folder.display());
    make_private(folder).with_context(cannot)?;
    let folder = folder.canonicalize().with_context(cannot)?;

    let (sockets, before) = sockets(&settings, &folder).await?;
    let https_port = sockets.https.first().map(|listening| listening.addr.port());
    let edge = Edge::start(sockets, settings.edge(control_plane, token, folder, https_port), store)?;
    if let Some(before) = before {
        before.tell().await?;
        tracing::info!("took over the sockets of the edge that ran before");
    }
    let offer = edge.offer()?;
    if let Some(file) = &role.ready_file {
        let served = Served::of(&edge)?;
        process::put_json(file, &served)
            .with_context(|| format!("the ready file {} can't be written", file.display()))?;
    }

    tokio::select! {
        () = signals.next() => output::say("Stopping: requests in flight may end. Interrupt again to stop at once."),
        () = offer.taken() => tracing::info!("another edge has taken over; requests in flight may end"),
    }
    // A successor finds either all of this edge's offer or none.
    drop(offer);
    tokio::select! {
        () = edge.drain(set.drain) => Ok(exit::DONE),
        () = signals.next() => Ok(exit::INTERRUPTED),
    }
}

/// The sockets of the edge that runs with this folder, or new ones.
async fn sockets(settings: &Settings, folder: &Path) -> anyhow::Result<(Sockets, Option<Ready>)> {
    let wanted = &settings.listen;
    if let Some(taken) = handover::take(folder).await? {
        let have = [taken.sockets.http.first(), taken.sockets.https.first()];
        for (have, wanted) in have.into_iter().flatten().zip([wanted.http, wanted.https]) {
            if wanted.port() != 0 && have.addr != wanted {
                tracing::warn!(
                    served = %have.addr, %wanted,
                    "the address of the edge that ran before is taken over: end it first to have another one"
                );
            }
        }
        return Ok((taken.sockets, Some(taken.ready)));
    }
    let http = edge::listen(wanted.http).context("sites have no address; choose another one with --http")?;
    let https =
        edge::listen(wanted.https).context("sites have no address with https; choose another one with --https")?;
    Ok((Sockets { http: vec![http], https: vec![https] }, None))
}

impl Served {
    fn of(edge: &Edge) -> anyhow::Result<Self> {
        let bare = |scheme: &str, addr: SocketAddr| -> anyhow::Result<String> {
            Ok(process::reachable(scheme, addr)?.as_str().trim_end_matches('/').to_owned())
        };
        Ok(Self {
            http_url: bare("http", edge.addr())?,
            https_url: edge.https_addr().map(|addr| bare("https", addr)).transpose()?,
            admin_url: edge.admin_addr().map(|addr| bare("http", addr)).transpose()?,
            process: std::process::id(),
        })
    }
}

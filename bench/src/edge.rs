//! An edge without a platform: for the benchmarks, and for conformance scripts that want an address to test.
//!
//! It prints one line of JSON with its addresses, and then takes commands, one JSON a line, on standard input
//! (see [`Order`] and README.md). It ends when standard input does, or on SIGTERM.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::policy::Policy;
use common::route::{Change, Route, Target, default_policy};
use common::secret::Secret;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::feed::{Feed, TOKEN};

pub mod publish;
pub mod serve;

use serve::Serving;

/// How long requests in flight have to end.
const DRAIN: Duration = Duration::from_secs(2);

/// An edge without a platform.
#[derive(clap::Args)]
pub struct Args {
    /// Where it listens for HTTP.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub http: SocketAddr,
    /// Where it listens for HTTPS; nowhere when absent.
    #[arg(long)]
    pub https: Option<SocketAddr>,
    /// Folder for the object store and the edge's own files; a temporary one when absent.
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// A control plane's address; when absent one runs within, and standard input says what it tells.
    #[arg(long)]
    pub feed: Option<Url>,
    /// Threads that serve.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
}

/// What is printed when it serves.
#[derive(Debug, Serialize, Deserialize)]
pub struct Addresses {
    pub http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
}

/// A command on standard input. Each is answered by a line with `applied`, or with `error`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    /// A folder becomes the static site of a host.
    Site {
        host: String,
        folder: PathBuf,
        #[serde(default)]
        policy: Policy,
    },
    /// A host leads to running servers.
    App {
        host: String,
        upstreams: Vec<SocketAddr>,
        #[serde(default)]
        policy: Policy,
    },
    /// A name gets a certificate: that of these PEM files, or a new self-signed one.
    Certificate {
        name: String,
        #[serde(default)]
        chain: Option<PathBuf>,
        #[serde(default)]
        key: Option<PathBuf>,
    },
    /// A change as it is on the wire.
    Change(Box<Change>),
}

/// Serves until it is told to end.
pub async fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("BENCH_LOG"))
        .with_writer(std::io::stderr)
        .init();
    crate::process::allow_descriptors()?;
    let temporary = tempfile::tempdir()?;
    let folder = args.folder.unwrap_or_else(|| temporary.path().to_owned());
    let store_folder = folder.join("store");
    std::fs::create_dir_all(&store_folder)?;
    let url = Url::from_directory_path(store_folder.canonicalize()?).ok();
    let store = blob::open(&url.context("the folder is no URL")?)?;

    let feed = if args.feed.is_none() { Some(Feed::start().await?) } else { None };
    let told = match (&feed, args.feed) {
        (Some(feed), _) => format!("http://{}/", feed.addr).parse()?,
        (None, url) => url.context("no feed")?,
    };
    let serving = Serving { http: args.http, https: args.https, folder: folder.join("edge"), feed: told };
    let (edge, addresses) = serve::start(serving, store.clone())?;
    if feed.is_some() {
        edge.connected().await;
    }
    println!("{}", serde_json::to_string(&addresses)?);

    let mut ended = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let orders = async {
        match &feed {
            Some(feed) => take_orders(feed, &store).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = ended.recv() => {}
        _ = interrupted.recv() => {}
        result = orders => result?,
    }
    edge.drain(DRAIN).await;
    Ok(())
}

async fn take_orders(feed: &Feed, store: &ObjectStore) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line.trim().is_empty() {
            continue;
        }
        let done = async {
            let version = obey(serde_json::from_str(&line)?, feed, store).await?;
            feed.applied(version).await?;
            anyhow::Ok(version)
        };
        let said = match done.await {
            Ok(version) => serde_json::json!({ "applied": version }),
            Err(e) => serde_json::json!({ "error": format!("{e:#}") }),
        };
        println!("{said}");
    }
    Ok(())
}

async fn obey(order: Order, feed: &Feed, store: &ObjectStore) -> anyhow::Result<u64> {
    Ok(match order {
        Order::Site { host, folder, policy } => {
            let deployment = publish::folder(store, &folder).await?;
            feed.upsert(vec![Route { policy: policy.into(), ..site(&host, &deployment) }])
        }
        Order::App { host, upstreams, policy } => {
            feed.upsert(vec![Route { policy: policy.into(), ..app(&host, upstreams) }])
        }
        Order::Certificate { name, chain, key } => {
            let (chain_pem, key_pem) = match (chain, key) {
                (Some(chain), Some(key)) => (std::fs::read_to_string(chain)?, std::fs::read_to_string(key)?),
                (None, None) => {
                    let made = rcgen::generate_simple_self_signed([name.clone()])?;
                    (made.cert.pem(), made.signing_key.serialize_pem())
                }
                _ => anyhow::bail!("a certificate has both a chain and a key, or neither"),
            };
            feed.certify(&name, publish::certificate(chain_pem, Secret::new(key_pem)))
        }
        Order::Change(change) => feed.change(*change),
    })
}

/// A route to a static deployment.
pub fn site(host: &str, deployment: &DeploymentId) -> Route {
    Route {
        host: host.into(),
        project: "bench".into(),
        deployment: deployment.clone(),
        production: true,
        target: Target::Static { earlier: Vec::new() },
        policy: default_policy(),
    }
}

/// A route to servers that run.
pub fn app(host: &str, upstreams: Vec<SocketAddr>) -> Route {
    let target = Target::App { upstreams, unavailable: None, wakes: false };
    Route { target, ..site(host, &DeploymentId::new()) }
}

/// Routes of all the many hosts, by their sites' deployments.
pub fn many_sites(deployments: &BTreeMap<String, DeploymentId>) -> anyhow::Result<Vec<Route>> {
    let one = |number: usize| {
        let name = crate::fixture::site_of(number % crate::fixture::SITES);
        let deployment = deployments.get(&name).with_context(|| format!("there is no site {name}"))?;
        anyhow::Ok(site(&crate::fixture::host(number), deployment))
    };
    (0..crate::fixture::HOSTS).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_single_lines_of_json() {
        for line in [
            r#"{"site":{"host":"a.test","folder":"/srv/a"}}"#,
            r#"{"app":{"host":"a.test","upstreams":["127.0.0.1:3000"],"policy":{"cache":{"enabled":true}}}}"#,
            r#"{"certificate":{"name":"a.test"}}"#,
            r#"{"change":{"remove":["a.test"]}}"#,
        ] {
            let order: Result<Order, _> = serde_json::from_str(line);
            assert!(order.is_ok(), "{line}: {order:?}");
        }
        assert!(serde_json::from_str::<Order>(r#"{"upsrt":[]}"#).is_err());
    }
}

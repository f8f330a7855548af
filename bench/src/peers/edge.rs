//! The edge: a process of its own with one thread, told by a feed in this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use common::blob::{self, ObjectStore};
use common::id::DeploymentId;
use common::policy::{CachePolicy, Policy};
use common::route::Route;
use url::Url;

use super::{Duty, Job, Peer, Running, text};
use crate::edge::{app, many_sites, publish, site};
use crate::feed::Feed;
use crate::fixture::{FLIP, Fixture, HOST, HOSTS, SITES, host, site_of};
use crate::load::Target;
use crate::process::{Launch, Process};

/// What an edge is told, and from what it serves.
pub struct World {
    pub feed: Feed,
    pub store: ObjectStore,
    /// Deployments of the host that flips.
    flips: BTreeMap<String, DeploymentId>,
}

impl World {
    /// A feed and an empty store in `folder`.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let store = folder.join("store");
        std::fs::create_dir_all(&store)?;
        let url = Url::from_directory_path(store.canonicalize()?).ok().context("the folder is no URL")?;
        Ok(Self { feed: Feed::start().await?, store: blob::open(&url)?, flips: BTreeMap::new() })
    }

    /// Tells routes and a certificate for a duty.
    async fn prepare(&mut self, job: &Job<'_>) -> anyhow::Result<u64> {
        self.feed.certify(HOST, job.fixture.certificate()?);
        let routes = match job.duty {
            Duty::Files => vec![site(HOST, &publish::folder(&self.store, &job.fixture.site()).await?)],
            Duty::Proxy | Duty::WebSocket => vec![app(HOST, vec![job.app])],
            Duty::Cache => {
                let cache = CachePolicy { enabled: true, ..CachePolicy::default() };
                let policy = Policy { cache, ..Policy::default() };
                vec![Route { policy: policy.into(), ..app(HOST, vec![job.app]) }]
            }
            Duty::ManyApps => many_apps(job.app),
            Duty::OneSite => {
                self.publish_flips(job.fixture).await?;
                vec![self.flip_route(FLIP[0])?]
            }
            Duty::ManySites => {
                self.publish_flips(job.fixture).await?;
                let mut routes = many_sites(&self.publish_many(job.fixture).await?)?;
                routes.push(self.flip_route(FLIP[0])?);
                routes
            }
        };
        Ok(self.feed.upsert(routes))
    }

    /// Publishes the many hosts' sites.
    pub async fn publish_many(&self, fixture: &Fixture) -> anyhow::Result<BTreeMap<String, DeploymentId>> {
        let mut deployments = BTreeMap::new();
        for number in 0..SITES {
            let name = site_of(number);
            let deployment = publish::folder(&self.store, &fixture.many().join(&name)).await?;
            deployments.insert(name, deployment);
        }
        Ok(deployments)
    }

    /// Publishes the two sites between which a host flips.
    pub async fn publish_flips(&mut self, fixture: &Fixture) -> anyhow::Result<()> {
        for word in FLIP {
            self.flips.insert(word.to_owned(), publish::folder(&self.store, &fixture.many().join(word)).await?);
        }
        Ok(())
    }

    /// The host that flips, at one of its sites.
    pub fn flip_route(&self, to: &str) -> anyhow::Result<Route> {
        Ok(site(HOST, self.flips.get(to).with_context(|| format!("{to} is not published"))?))
    }

    /// Tells the flip.
    pub fn flip(&self, to: &str) -> anyhow::Result<()> {
        self.feed.upsert(vec![self.flip_route(to)?]);
        Ok(())
    }
}

/// Routes of all the many hosts, to one app.
pub fn many_apps(address: SocketAddr) -> Vec<Route> {
    let first = app(HOST, vec![address]);
    (0..HOSTS).map(|number| Route { host: host(number).into(), ..first.clone() }).collect()
}

/// The command of an edge of one thread.
pub fn command(
    program: PathBuf,
    folder: &Path,
    feed: &Feed,
    http: SocketAddr,
    https: SocketAddr,
) -> anyhow::Result<Launch> {
    let args = vec![
        "edge".to_owned(),
        "--threads=1".to_owned(),
        format!("--http={http}"),
        format!("--https={https}"),
        format!("--folder={}", text(folder)?),
        format!("--feed=http://{}/", feed.addr),
    ];
    Ok(Launch { program, args, env: Vec::new() })
}

/// Starts an edge that has applied its routes.
pub async fn start(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Running> {
    let mut world = World::start(&job.folder).await?;
    let version = world.prepare(job).await?;
    let launch = command(program, &job.folder, &world.feed, job.http, job.https)?;
    let mut process = Process::start(&launch, job.folder.join("log"))?;
    process.ready(&[job.http]).await.context("the edge does not start")?;
    let said = |process: &Process| process.said();
    world.feed.applied(version).await.with_context(|| said(&process))?;
    let target = Target { http: job.http, https: Some(job.https) };
    let folder = job.folder.clone();
    Ok(Running { peer: Peer::Edge, process, target, admin: job.admin, folder, world: Some(world) })
}

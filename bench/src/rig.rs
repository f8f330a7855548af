//! An edge that is killed and started again, with a site, an app and a feed that can be stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use common::route::Route;

use crate::edge::{app, publish, site};
use crate::fixture::{Fixture, HOST};
use crate::load::Target;
use crate::peers::edge::{World, command};
use crate::peers::{Duty, start_app};
use crate::probe;
use crate::process::{Process, free_port};

/// The app's host.
pub const APP: &str = "app.bench.test";
/// The edge writes its routes at most a second after a change; by then it has.
pub const WRITTEN: Duration = Duration::from_secs(3);
/// Longest wait for an edge to serve.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between looks whether it does: well below the milliseconds that are measured.
const LOOK: Duration = Duration::from_millis(1);

/// An edge with everything around it.
pub struct Rig {
    pub world: World,
    pub process: Process,
    pub http: SocketAddr,
    pub https: SocketAddr,
    folder: PathBuf,
    app: Process,
}

impl Rig {
    /// Starts all, with routes of the site at [`HOST`], the app at [`APP`], and `more`.
    pub async fn start(
        fixture: &Fixture,
        folder: &Path,
        more: impl AsyncFnOnce(&mut World) -> anyhow::Result<Vec<Route>>,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (app_process, app_address) = start_app(Duty::Proxy, folder.join("app.log")).await?;
        let mut world = World::start(folder).await?;
        world.feed.certify(HOST, fixture.certificate()?);
        let deployment = publish::folder(&world.store, &fixture.site()).await?;
        let mut routes = vec![site(HOST, &deployment), app(APP, vec![app_address])];
        routes.extend(more(&mut world).await?);
        let version = world.feed.upsert(routes);
        let (http, https) = (free_port().await?, free_port().await?);
        let process = launch(folder, &world, http, https)?;
        let mut this = Self { world, process, http, https, folder: folder.to_owned(), app: app_process };
        this.process.ready(&[http]).await?;
        let said = this.process.said();
        this.world.feed.applied(version).await.context(said)?;
        Ok(this)
    }

    /// Where its visitors go.
    pub const fn target(&self) -> Target {
        Target { http: self.http, https: Some(self.https) }
    }

    /// Kills the edge and starts it again at the same addresses; returns how long it took until a visitor of the app
    /// got an answer.
    pub async fn restart(&mut self) -> anyhow::Result<Duration> {
        self.process.kill().await?;
        let begun = Instant::now();
        self.process = launch(&self.folder, &self.world, self.http, self.https)?;
        loop {
            if let Ok(answer) = probe::get(self.http, APP, "/").await
                && answer.status == 200
            {
                return Ok(begun.elapsed());
            }
            ensure!(begun.elapsed() < PATIENCE, "it does not serve again: {}", self.process.said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends everything.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.world.feed.stop();
        self.process.stop().await?;
        self.app.stop().await
    }
}

fn launch(folder: &Path, world: &World, http: SocketAddr, https: SocketAddr) -> anyhow::Result<Process> {
    let launch = command(std::env::current_exe()?, folder, &world.feed, http, https)?;
    Process::start(&launch, folder.join("edge.log"))
}

//! Installs and builds a project in the sandbox, as its plan says.
//!
//! In: a source folder, the project's settings and variables, a log. Out: a folder of files, or the root of an image
//! with an app and how it is started; or a [`BuildError`] with a stable code and a sentence for people.
//!
//! The source folder's *parent* belongs to the build too: it holds the private home folder, what came out of the cache,
//! and in the end the image's root. It has to be on one file system with the cache, because trees are moved, not copied.
//!
//! It must never run a project's command outside the sandbox, let the platform's environment into one, follow a link
//! that a project made, or fail a build because of its cache. Dropping the future of [`Builder::run`] kills every
//! process of the build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::deployment::Kind;
use common::id::ProjectId;
use common::project::Settings;
use common::registry::Start;
use common::secret::Secret;
use detect::{Level, NodeChoice, Plan};
use logs::Log;
use sandbox::Sandbox;
use toolchain::{Manager, Node, Tools};

mod cache;
mod cause;
mod command;
mod env;
mod error;
mod install;
mod limits;
mod remove;
mod start;
mod tail;
mod view;
mod work;

pub use error::BuildError;
pub use limits::Limits;
pub use remove::remove_tree;

use cache::Cache;
use command::Session;
use work::Work;

/// Node for an app that asks for none, on a host that has none: the line that most tools support.
const DEFAULT_NODE: &str = "22";

/// Builds projects. One serves all of them.
#[derive(Clone, Debug)]
pub struct Builder {
    sandbox: Sandbox,
    tools: Tools,
    cache: PathBuf,
    limits: Limits,
}

/// What is to be built.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Whose cache is used.
    pub project: &'a ProjectId,
    /// The project's settings.
    pub settings: &'a Settings,
    /// The project's variables.
    pub env: &'a BTreeMap<String, Secret>,
    /// The source; it is built in place.
    pub source: &'a Path,
    /// Where everything is told.
    pub log: &'a Log,
}

/// What a build leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A site.
    Static {
        /// Its files.
        folder: PathBuf,
        /// Whether index.html answers navigations to unknown paths.
        single_page: bool,
    },
    /// An app.
    Node {
        /// The image's root, with the whole source tree in `app`.
        root: PathBuf,
        /// How it is started.
        start: Start,
    },
}

impl Builder {
    /// A builder that keeps its caches below `cache`.
    #[must_use]
    pub fn new(sandbox: Sandbox, tools: Tools, cache: PathBuf, limits: Limits) -> Self {
        Self { sandbox, tools, cache, limits }
    }

    /// Finds out how a source is built.
    ///
    /// # Errors
    /// When it can't be, with the reason.
    pub async fn plan(&self, source: &Path, settings: &Settings) -> Result<Plan, BuildError> {
        let (source, settings, host) = (source.to_owned(), settings.clone(), self.tools.host());
        work::blocking(move || detect::plan(&source, &settings, &host)).await?.map_err(BuildError::from)
    }

    /// Installs and builds.
    ///
    /// # Errors
    /// When a command fails or reaches a limit, a tool can't be had, or the build leaves no output.
    pub async fn run(&self, job: &Job<'_>, plan: &Plan) -> Result<Output, BuildError> {
        for note in &plan.notes {
            match note.level {
                Level::Info => job.log.say(&note.text).await,
                Level::Warning => job.log.say(format!("Warning: {}", note.text)).await,
            }
        }
        let work = Work::of(job.source)?;
        let node = self.node(plan).await?;
        let manager = match (&plan.package_manager, &node) {
            (Some(wanted), Some(node)) => Some(self.tools.manager(wanted, node).await?),
            _ => None,
        };
        announce(job, plan, node.as_ref(), manager.as_ref()).await;
        if !plan.install.is_empty() || plan.build.is_some() {
            work.prepare().await?;
            let cache = Cache::of(&self.cache, job.project, plan);
            cache.prepare().await?;
            let tools = command::Tooling { node: node.as_ref(), manager: manager.as_ref() };
            let session = Session::open(self, job, plan, &work, &cache, tools)?;
            let installed = install::install(&session, plan, &work, &cache).await?;
            build(&session, plan).await?;
            // Modules from the cache are only worth keeping again once a build has worked with them.
            work.set_installed(&installed).await;
        }
        match plan.kind {
            Kind::Static => self.site(&work, plan).await,
            Kind::Node => app(&work, plan, node, manager).await,
        }
    }

    /// Puts what the install left into the cache. To be called once nothing needs the source or the image's root any
    /// more, also after a failed build: the next one need not install again. Never fails: a cache is only a cache.
    pub async fn keep(&self, job: &Job<'_>, plan: &Plan) {
        let Ok(work) = Work::of(job.source) else { return };
        Cache::of(&self.cache, job.project, plan).keep(&work, self.limits.downloads).await;
    }

    async fn node(&self, plan: &Plan) -> Result<Option<Node>, BuildError> {
        let host = self.tools.host().node;
        let any = || NodeChoice {
            want: host.as_ref().map_or_else(|| DEFAULT_NODE.to_owned(), ToString::to_string),
            use_host: host.is_some(),
            reason: String::new(),
        };
        match (&plan.node, plan.kind) {
            (Some(choice), _) => Ok(Some(self.tools.node(choice).await?)),
            (None, Kind::Node) => Ok(Some(self.tools.node(&any()).await?)),
            (None, Kind::Static) => Ok(None),
        }
    }

    async fn site(&self, work: &Work, plan: &Plan) -> Result<Output, BuildError> {
        let (app, plan) = (work.source().join(&plan.app_dir), plan.clone());
        let single_page = plan.single_page;
        let folder = work::blocking(move || detect::resolve_output(&app, &plan)).await??;
        Ok(Output::Static { folder, single_page })
    }
}

async fn announce(job: &Job<'_>, plan: &Plan, node: Option<&Node>, manager: Option<&Manager>) {
    let mut with: Vec<String> = node.iter().map(|node| format!("Node {}", node.version)).collect();
    if let (Some(manager), Some(wanted)) = (manager, &plan.package_manager) {
        with.push(match &manager.version {
            Some(version) => format!("{} {version}", wanted.tool.program()),
            None => format!("the project's own {}", wanted.tool.program()),
        });
    }
    if !with.is_empty() {
        job.log.say(format!("Building with {}.", with.join(" and "))).await;
    }
    if let Some(note) = manager.and_then(|manager| manager.note.as_ref()) {
        job.log.say(format!("Warning: {note}")).await;
    }
}

/// Runs the build command, and once more for each known complaint that it comes with.
async fn build(session: &Session<'_>, plan: &Plan) -> Result<(), BuildError> {
    let Some(command) = &plan.build else { return Ok(()) };
    let begun = Instant::now();
    let mut extra: Vec<(String, String)> = Vec::new();
    let mut left: Vec<_> = plan.build_retries.iter().collect();
    loop {
        let ended = session.run(command::Phase::Build, command, &plan.app_dir, &extra).await?;
        if ended.exit.success() {
            session.say(format!("Built in {}.", seconds(begun))).await;
            return Ok(());
        }
        let known = left.iter().position(|retry| retry.when_output_has.iter().any(|mark| ended.said.contains(mark)));
        let Some(at) = known else {
            return Err(BuildError::Build { command: command.clone(), cause: session.cause(&ended), exit: ended.exit });
        };
        let retry = left.remove(at);
        session.say(format!("Warning: {}", retry.note)).await;
        extra.extend(retry.env.iter().cloned());
    }
}

/// Lays the image's root out: the source moves into it.
async fn app(work: &Work, plan: &Plan, node: Option<Node>, manager: Option<Manager>) -> Result<Output, BuildError> {
    let Some(node) = node else { return Err(BuildError::internal("an app was planned without Node")) };
    let root = work.lay_out_root().await?;
    let (app, plan) = (root.join("app"), plan.clone());
    let working_dir = Path::new("app").join(&plan.app_dir).to_string_lossy().trim_end_matches('/').to_owned();
    let script = manager.and_then(|manager| manager.script);
    let command = work::blocking(move || start::start_command(&app, &plan, script.as_deref())).await??;
    Ok(Output::Node { root, start: Start { command, working_dir, node: node.version } })
}

fn seconds(begun: Instant) -> String {
    format!("{:.1} s", begun.elapsed().as_secs_f64())
}

//! Running a build's commands, one after the other, within what is left of its limits.

use std::path::Path;
use std::time::Instant;

use common::bus::StreamName;
use detect::Plan;
use sandbox::{Exit, LimitHit, Network, SET_UP_FAILED, Spec};
use toolchain::{Manager, Node};

use crate::cache::Cache;
use crate::env::Env;
use crate::tail::Tail;
use crate::view::View;
use crate::work::Work;
use crate::{BuildError, Builder, Job, cause};

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Dependencies, in the install folder.
    Install,
    /// The site or app, in its own folder.
    Build,
}

/// The tools of one build.
#[derive(Clone, Copy)]
pub(crate) struct Tooling<'a> {
    pub(crate) node: Option<&'a Node>,
    pub(crate) manager: Option<&'a Manager>,
}

/// How a command ended by itself, and the end of what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    pub(crate) said: String,
}

/// What the commands of one build share.
pub(crate) struct Session<'a> {
    builder: &'a Builder,
    job: &'a Job<'a>,
    source: &'a Path,
    view: View,
    env: Env,
    /// The limit on time is for all commands together.
    begun: Instant,
}

impl<'a> Session<'a> {
    pub(crate) fn open(
        builder: &'a Builder,
        job: &'a Job<'a>,
        plan: &Plan,
        work: &'a Work,
        cache: &Cache,
        tools: Tooling<'_>,
    ) -> Result<Self, BuildError> {
        let own = builder.tools.folder();
        let mut view = View::new(&builder.sandbox, own, work.source(), &work.home(), &cache.downloads());
        let registry = builder.tools.registry_mounts();
        let manager = tools.manager.iter().flat_map(|manager| &manager.mounts);
        for path in tools.node.iter().flat_map(|node| &node.mounts).chain(manager).chain(&registry) {
            view.show(path);
        }
        let env = Env::new(job, plan, &view, work, &cache.downloads(), tools, builder.tools.registry_env());
        Ok(Self { builder, job, source: work.source(), view, env, begun: Instant::now() })
    }

    pub(crate) async fn say(&self, text: impl AsRef<str>) {
        self.job.log.say(text).await;
    }

    /// What the failed command said was wrong.
    pub(crate) fn cause(&self, ended: &Ended) -> Option<String> {
        cause::cause(&ended.said, self.job.env)
    }

    /// Runs a shell command in `folder`, relative to the source. Everything that it says goes to the log.
    ///
    /// # Errors
    /// When it was ended by a limit, or could not be started. A command that fails by itself is no error.
    pub(crate) async fn run(
        &self,
        phase: Phase,
        command: &str,
        folder: &Path,
        extra: &[(String, String)],
    ) -> Result<Ended, BuildError> {
        let place = if folder.as_os_str().is_empty() { String::new() } else { format!("   (in {})", folder.display()) };
        self.say(format!("$ {command}{place}")).await;
        let limits = &self.builder.limits;
        let out_of_time = || BuildError::Limit { command: command.to_owned(), hit: LimitHit::WallTime(limits.wall) };
        let left = limits.wall.checked_sub(self.begun.elapsed()).filter(|left| !left.is_zero());
        let spec = Spec {
            argv: vec!["/bin/sh".into(), "-c".into(), command.into()],
            cwd: self.view.inside(&self.source.join(folder)),
            env: self.env.of(phase, extra),
            mounts: self.view.mounts(),
            limits: limits.for_command(left.ok_or_else(out_of_time)?),
            network: Network::Outbound,
        };
        let (exit, said) = self.watch(spec).await?;
        if self.job.log.is_full()
            && let Some(bounds) = self.job.log.bounds()
        {
            return Err(BuildError::TooMuchOutput { command: command.to_owned(), bounds });
        }
        match exit {
            Exit::Limit(LimitHit::WallTime(_)) => Err(out_of_time()),
            Exit::Limit(hit) => Err(BuildError::Limit { command: command.to_owned(), hit }),
            Exit::Killed => Err(BuildError::internal("it was stopped from outside")),
            // The command itself may end with this code too, but does not speak in the sandbox's name.
            Exit::Code(SET_UP_FAILED) if said.lines().any(|line| line.starts_with("sandbox: ")) => {
                Err(BuildError::internal("its sandbox could not be set up, and the log says why"))
            }
            exit => Ok(Ended { exit, said }),
        }
    }

    async fn watch(&self, spec: Spec) -> Result<(Exit, String), BuildError> {
        let log = self.job.log;
        let mut running = self.builder.sandbox.spawn(spec).map_err(BuildError::internal)?;
        let (out, err) = (Tail::default(), Tail::default());
        let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
        let reading = async {
            tokio::join!(
                async {
                    if let Some(stdout) = stdout {
                        log.pump(StreamName::Stdout, out.of(stdout)).await;
                    }
                },
                async {
                    if let Some(stderr) = stderr {
                        log.pump(StreamName::Stderr, err.of(stderr)).await;
                    }
                }
            )
        };
        let ending = async {
            tokio::select! {
                exit = running.wait() => return exit,
                () = log.full() => {}
            }
            running.kill();
            running.wait().await
        };
        let (exit, _) = tokio::join!(ending, reading);
        Ok((exit, format!("{}\n{}", out.text(), err.text())))
    }
}

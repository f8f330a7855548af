//! One process of an app: started in the sandbox, watched until it is healthy, watched while it runs, ended.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::ledger::App;
use common::runtime::StartError;
use logs::Log;
use sandbox::{Exit, Limits, Mount, Network, Running, SET_UP_FAILED, Sandbox, Spec};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use toolchain::Node;

use crate::Settings;
use crate::environment::environment;
use crate::health::{self, Fault};
use crate::image::{APP, Image};
use crate::listeners;
use crate::output;
use crate::tail::Tail;

/// First pause between looks at whether a new app is healthy. It grows by half, so that a start is noticed in one and a
/// half times the time that it took.
const LOOK_FIRST: Duration = Duration::from_millis(20);
/// Longest such pause: so much later than possible an app goes live.
const LOOK_MAX: Duration = Duration::from_millis(250);
/// What a shell adds to a signal's number to make an exit code, and the signals that it does so for.
const BY_SIGNAL: i32 = 128;
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=31;
/// SIGABRT.
const ABORTED: i32 = 6;

/// What the processes of one app share.
pub(crate) struct Recipe {
    pub(crate) app: App,
    pub(crate) image: Image,
    pub(crate) node: Node,
}

/// A process of an app. Dropping it kills it.
pub(crate) struct Process {
    running: Running,
    /// Everything that it said is in the log.
    captured: CancellationToken,
    port: u16,
    health_path: Option<String>,
    settings: Settings,
    log: Log,
    tail: Arc<Tail>,
}

impl Process {
    /// Starts the app's command, with its output going to the log.
    pub(crate) fn spawn(
        sandbox: &Sandbox,
        settings: &Settings,
        recipe: &Recipe,
        port: u16,
        log: &Log,
        tail: &Arc<Tail>,
    ) -> Result<Self, StartError> {
        let mut running =
            sandbox.spawn(spec(sandbox, settings, recipe, port)).map_err(|e| StartError::Sandbox(e.to_string()))?;
        tail.take();
        let captured = CancellationToken::new();
        let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
        let (done, into, rate) = (captured.clone().drop_guard(), log.clone(), settings.log_lines_per_second);
        tokio::spawn(async move {
            output::capture(&into, stdout, stderr, rate).await;
            drop(done);
        });
        Ok(Self {
            running,
            captured,
            port,
            health_path: recipe.app.health_path.clone(),
            settings: settings.clone(),
            log: log.clone(),
            tail: tail.clone(),
        })
    }

    /// Waits for the first passed health check and tells where the app answers. When there is none in time, or the
    /// app ends first, nothing is left of it.
    pub(crate) async fn until_healthy(&mut self) -> Result<SocketAddr, StartError> {
        let deadline = Instant::now() + self.settings.start_timeout;
        let pid = self.running.pid();
        let (port, path, settings) = (self.port, self.health_path.clone(), self.settings.clone());
        let mut last = Last::Silent;
        tokio::select! {
            biased;
            exit = self.ended() => return Err(self.ended_early(&exit).await),
            at = first_answer(pid, port, path.as_deref(), &settings, &mut last) => return Ok(at),
            () = sleep_until(deadline) => {}
        }
        let listeners = listeners::of(pid).await;
        self.kill().await;
        let within = self.settings.start_timeout;
        Err(match (last, path) {
            (Last::Unwell(last), Some(path)) => StartError::Unhealthy { path, last, within },
            (Last::Foreign, _) => {
                let hint = "Another program of the platform's machine took that port: deploy again.".to_owned();
                StartError::NeverListened { port, within, hint: Some(hint) }
            }
            _ => {
                let hint = listeners.ports.first().map(|other| format!("It listens on port {other} instead."));
                StartError::NeverListened { port, within, hint }
            }
        })
    }

    /// Waits until nothing is left of it and everything that it said is in the log. May be called again.
    pub(crate) async fn ended(&mut self) -> Exit {
        let exit = self.running.wait().await;
        self.captured.cancelled().await;
        exit
    }

    /// What is needed to see whether it hangs.
    pub(crate) fn liveness(&self, at: SocketAddr) -> Liveness {
        Liveness { at, health_path: self.health_path.clone(), settings: self.settings.clone() }
    }

    /// Asks it to end: SIGTERM.
    pub(crate) fn terminate(&self) {
        self.running.terminate();
    }

    /// Kills it; nothing is left of it when this returns.
    pub(crate) async fn kill(&mut self) {
        self.running.kill();
        self.ended().await;
    }

    /// How it ended, in words. Node that ran out of memory aborts; it says itself why.
    pub(crate) async fn how(&self, exit: &Exit) -> String {
        self.log.flush().await;
        match how(exit) {
            Exit::Signal(ABORTED) if self.tail.heap_full() => {
                let memory = logs::size(self.settings.limits.memory);
                format!("it ran out of memory: Node's heap filled its part of the {memory} that an app may use")
            }
            exit => exit.to_string(),
        }
    }

    async fn ended_early(&self, exit: &Exit) -> StartError {
        let how = match exit {
            Exit::Code(0) => "it ended with exit code 0, but a server has to keep running".to_owned(),
            exit => self.how(exit).await,
        };
        let last_lines = self.tail.take();
        if *exit == Exit::Code(SET_UP_FAILED)
            && let Some(detail) = last_lines.last().and_then(|line| line.strip_prefix("sandbox: "))
        {
            return StartError::Sandbox(detail.to_owned());
        }
        StartError::Exited { how, last_lines }
    }
}

/// The health check of a running app.
pub(crate) struct Liveness {
    at: SocketAddr,
    health_path: Option<String>,
    settings: Settings,
}

impl Liveness {
    /// Returns with the reason once the app has failed its health check too often in a row.
    pub(crate) async fn lost(&self) -> String {
        let path = self.health_path.as_deref();
        let mut failures = 0;
        loop {
            sleep(self.settings.liveness_every).await;
            let fault = match health::check(self.at, path, self.settings.health_timeout).await {
                Ok(()) => {
                    failures = 0;
                    continue;
                }
                Err(fault) => fault,
            };
            failures += 1;
            if failures < self.settings.liveness_failures {
                continue;
            }
            return match (fault, path) {
                (Fault::Unwell(last), Some(path)) => {
                    format!("The app failed its health check {failures} times in a row: GET {path} {last}.")
                }
                _ => format!("The app does not take connections on port {} any more.", self.at.port()),
            };
        }
    }
}

/// How a process ended: the shell in front of it turns the signal that ended it into an exit code.
fn how(exit: &Exit) -> Exit {
    match exit {
        Exit::Code(code) if SIGNALS.contains(&(code - BY_SIGNAL)) => Exit::Signal(code - BY_SIGNAL),
        exit => exit.clone(),
    }
}

/// What the last look at a new app showed.
enum Last {
    Silent,
    Unwell(String),
    /// Its port is another program's.
    Foreign,
}

/// Looks until the app answers.
async fn first_answer(pid: u32, port: u16, path: Option<&str>, settings: &Settings, last: &mut Last) -> SocketAddr {
    let mut pause = LOOK_FIRST;
    loop {
        match health::find(port, settings.advertise, path, settings.health_timeout).await {
            Ok(at) if is_own(pid, port).await => return at,
            Ok(_) => *last = Last::Foreign,
            Err(Fault::Silent) => *last = Last::Silent,
            Err(Fault::Unwell(how)) => *last = Last::Unwell(how),
        }
        sleep(pause).await;
        pause = (pause + pause / 2).min(LOOK_MAX);
    }
}

/// Whether it is the app itself that listens on its port: apps share the host's network, and one could lie in
/// wait for the traffic of another. Where the kernel does not let us look, it is believed.
async fn is_own(pid: u32, port: u16) -> bool {
    let listeners = listeners::of(pid).await;
    let own = listeners.ports.contains(&port) || !listeners.complete;
    if !own {
        tracing::warn!(pid, port, "another process listens on the port of a new app");
    }
    own
}

fn spec(sandbox: &Sandbox, settings: &Settings, recipe: &Recipe, port: u16) -> Spec {
    let Recipe { app, image, node } = recipe;
    let (limits, dir) = (&settings.limits, &image.start.working_dir);
    let inside = |path: &str| sandbox.place(&image.root.join(path), &Path::new("/").join(path));
    let cwd = inside(dir);
    // Apps write caches and uploads beside their code; the folder is this deployment's own copy of its image.
    let mut mounts = vec![Mount { source: image.root.join(APP), target: inside(APP), writable: true }];
    mounts.extend(node.mounts.iter().map(|path| Mount { source: path.clone(), target: path.clone(), writable: false }));
    Spec {
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script(&image.start.command)],
        env: environment(app, port, &node.bin, &cwd, settings),
        cwd,
        mounts,
        limits: Limits {
            wall: None,
            memory: limits.memory,
            processes: limits.processes,
            file_size: limits.file_size,
            disk: Some(limits.disk.saturating_add(image.bytes)),
            open_files: limits.open_files,
        },
        network: Network::Host,
    }
}

/// What the shell is given. One command takes the shell's place. In front of more than one the shell stays, and
/// gets SIGTERM with them: it then waits for the command at work, instead of dying at once and taking the sandbox
/// with it, and runs no other.
fn script(command: &str) -> String {
    let command = command.trim();
    let program = command.split_whitespace().next().unwrap_or_default();
    let single = !command.contains([';', '&', '|', '(', ')', '`', '\n']);
    if single && common::shell::is_program(program) {
        format!("exec {command}")
    } else {
        format!("trap 'exit 143' TERM\n{command}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_takes_the_shells_place_and_several_do_not() {
        for one in ["node server.js", "npm start", "node 'dist/my server.js' --port $PORT", "./bin/www"] {
            assert_eq!(script(one), format!("exec {one}"));
        }
        for more in
            ["a && b", "A=1 node server.js", "exec node server.js", "a; b", "node $(cat entry)", "a\nb", "'a' b"]
        {
            assert_eq!(script(more), format!("trap 'exit 143' TERM\n{more}"));
        }
    }

    #[test]
    fn a_shells_exit_codes_for_signals_are_told_as_signals() {
        assert_eq!(how(&Exit::Code(139)).to_string(), "it was ended by signal SIGSEGV");
        assert_eq!(how(&Exit::Code(1)).to_string(), "it ended with exit code 1");
        assert_eq!(how(&Exit::Code(255)).to_string(), "it ended with exit code 255");
    }
}

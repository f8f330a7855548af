//! The life of one app, from its start to its last report.
//!
//! ```text
//! starting ─▶ running ◀─▶ restarting ─┐
//!    │         │   ▲                  │
//!    │         ▼   │ wanted again     │
//!    │       draining ─▶ stopping     │
//!    └─────────┴───────────┴──▶ ended ┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::bus::Topic;
use common::ledger::App;
use common::revision::RevisionStatus;
use common::runtime::{Reporter, StartError};
use common::time::Timestamp;
use logs::{Log, Mask};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::apps::Shared;
use crate::backoff::Pauses;
use crate::ports::Port;
use crate::process::{Process, Recipe};
use crate::tail::Tail;
use crate::wish::{Want, Wishes};

/// How long a stop waits for the control plane to take traffic away, before it goes on all the same.
const TRAFFIC_MOVES: Duration = Duration::from_secs(5);
/// How long the last report may keep a shutdown waiting.
const LAST_REPORT: Duration = Duration::from_secs(1);

/// Where an app is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its first start.
    Starting,
    /// It is healthy at this address, and will be as long as the wish of this number is the newest.
    Running { at: SocketAddr, wish: u64 },
    /// It ended and is started again; so often by now.
    Restarting(u32),
    /// It still answers, and is not wanted any more.
    Draining,
    /// It was told to end.
    Stopping,
    /// Nothing is left of it.
    Ended,
}

impl Stage {
    /// Whether it runs or will do so by itself.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. } | Self::Restarting(_))
    }
}

/// One app.
pub(crate) struct Life {
    shared: Arc<Shared>,
    app: App,
    wishes: Wishes,
    /// Number of the newest wish that was answered.
    answered: u64,
    stage: watch::Sender<Stage>,
    log: Log,
    tail: Arc<Tail>,
    reporter: Reporter,
    recipe: Option<Recipe>,
    port: Option<Port>,
}

/// How a start ended.
enum Up {
    Healthy(Box<Process>, SocketAddr),
    Failed(StartError),
    /// It is not wanted any more; nothing is left of it.
    Unwanted,
}

/// What became of a healthy app.
enum Seen {
    Ended(String),
    Hangs(String),
    Unwanted,
    /// It was unwanted for a moment, too short to notice.
    WantedAgain,
}

impl Life {
    pub(crate) fn new(shared: Arc<Shared>, app: App, wishes: Wishes, stage: watch::Sender<Stage>) -> Self {
        let tail = Tail::new(shared.bus.clone());
        let mask = Mask::new(app.env.values());
        let log = Log::start(tail.clone(), Topic::runtime(app.deployment.clone()), mask, None);
        let reporter = Reporter::start(shared.ledger.clone(), app.deployment.clone());
        Self { shared, app, wishes, answered: 0, stage, log, tail, reporter, recipe: None, port: None }
    }

    /// Lives. `first` is told how the first start ended, at once when it went well, and otherwise when nothing is left.
    pub(crate) async fn run(mut self, first: tokio::sync::oneshot::Sender<Result<SocketAddr, StartError>>) {
        match self.bring_up().await {
            Up::Healthy(process, at) => {
                self.runs(at);
                // Whoever waited may have gone; then it will say whether the app is to stop.
                let _ = first.send(Ok(at));
                self.keep(process, at).await;
                self.close().await;
            }
            Up::Failed(e) => {
                self.log.say(reason(&e)).await;
                self.close().await;
                let _ = first.send(Err(e));
            }
            Up::Unwanted => {
                self.reporter.report(RevisionStatus::Stopped);
                self.close().await;
                let _ = first.send(Err(StartError::Stopped));
            }
        }
    }

    /// Keeps a healthy app running until it is not wanted any more; nothing is left of it then.
    async fn keep(&mut self, mut process: Box<Process>, mut at: SocketAddr) {
        let mut pauses = Pauses::new(self.shared.settings.backoff.clone());
        let mut restarts = 0;
        let mut healthy_since = Instant::now();
        loop {
            let mut why = match self.watch(&mut process, at).await {
                Seen::Ended(why) | Seen::Hangs(why) => why,
                Seen::Unwanted if self.take_down(&mut process).await => return,
                Seen::Unwanted | Seen::WantedAgain => {
                    self.runs(at);
                    continue;
                }
            };
            let mut healthy = healthy_since.elapsed();
            let mut old = Some(process);
            (process, at) = loop {
                restarts += 1;
                let pause = pauses.next(std::mem::take(&mut healthy), rand::random());
                let retry_at = Timestamp::now().after(pause);
                let status = RevisionStatus::Restarting { reason: why.clone(), retry_at, restarts };
                self.reporter.report(status.clone());
                self.stage.send_replace(Stage::Restarting(restarts));
                self.log.say(format!("{why} It is started again in {:.1} s.", pause.as_secs_f32())).await;
                tracing::info!(deployment = %self.app.deployment, restarts, why, "an app is restarted");
                if let Some(mut old) = old.take() {
                    self.end(&mut old).await;
                }
                tokio::select! {
                    () = self.unwanted() => {
                        self.reporter.report(RevisionStatus::Stopped);
                        self.log.say("Not started again: no traffic is meant for it any more.").await;
                        return;
                    }
                    () = sleep(pause) => {}
                }
                // Once more: whoever started it may have reported it as running a moment after it ended.
                self.reporter.report(status);
                match self.bring_up().await {
                    Up::Healthy(process, at) => break (process, at),
                    Up::Failed(e) => why = reason(&e),
                    Up::Unwanted => {
                        self.reporter.report(RevisionStatus::Stopped);
                        return;
                    }
                }
            };
            healthy_since = Instant::now();
            self.reporter.report(RevisionStatus::Running { endpoints: at.into(), restarts });
            self.runs(at);
        }
    }

    /// One start, with what it needs.
    async fn bring_up(&mut self) -> Up {
        let recipe = match self.prepare().await {
            Ok(Some(recipe)) => recipe,
            Ok(None) => return Up::Unwanted,
            Err(e) => return Up::Failed(e),
        };
        let up = self.start(&recipe).await;
        self.recipe = Some(recipe);
        up
    }

    /// The image, unpacked once, and Node; `None` when the app is not wanted any more.
    async fn prepare(&mut self) -> Result<Option<Recipe>, StartError> {
        if let Some(recipe) = self.recipe.take() {
            return Ok(Some(recipe));
        }
        let image = self.shared.images.pull(&self.shared.registry, &self.app).await?;
        tokio::select! {
            () = self.unwanted() => Ok(None),
            node = self.shared.tools.node_exact(&image.start.node) => {
                let node = node.map_err(|e| StartError::ToolUnavailable(e.to_string()))?;
                Ok(Some(Recipe { app: self.app.clone(), image, node }))
            }
        }
    }

    async fn start(&mut self, recipe: &Recipe) -> Up {
        let port = match self.port.take().filter(Port::is_free).map_or_else(|| self.shared.ports.take(), Ok) {
            Ok(port) => port,
            Err(e) => return Up::Failed(StartError::Sandbox(e.to_string())),
        };
        let number = port.number();
        self.port = Some(port);
        let command = &recipe.image.start.command;
        let version = &recipe.node.version;
        self.log.say(format!("Starting `{command}` with Node {version} on port {number}.")).await;
        let begun = Instant::now();
        let (sandbox, settings) = (&self.shared.sandbox, &self.shared.settings);
        let mut process = match Process::spawn(sandbox, settings, recipe, number, &self.log, &self.tail) {
            Ok(process) => process,
            Err(e) => return Up::Failed(e),
        };
        let healthy = tokio::select! {
            biased;
            () = self.unwanted() => None,
            healthy = process.until_healthy() => Some(healthy),
        };
        match healthy {
            Some(Ok(at)) => {
                self.log.say(format!("Healthy after {} ms.", begun.elapsed().as_millis())).await;
                Up::Healthy(Box::new(process), at)
            }
            Some(Err(e)) => Up::Failed(e),
            None => {
                process.kill().await;
                self.log.say("Stopped before it was healthy.").await;
                Up::Unwanted
            }
        }
    }

    /// It is healthy, and told to all who wait for it.
    fn runs(&mut self, at: SocketAddr) {
        self.answered = self.wishes.now().number;
        self.stage.send_replace(Stage::Running { at, wish: self.answered });
    }

    /// Watches a healthy app until something is to be done.
    async fn watch(&self, process: &mut Process, at: SocketAddr) -> Seen {
        let liveness = process.liveness(at);
        tokio::select! {
            biased;
            () = self.unwanted() => Seen::Unwanted,
            () = self.wishes.until(|wish| wish.number != self.answered) => Seen::WantedAgain,
            exit = process.ended() => Seen::Ended(format!("The app ended: {}.", process.how(&exit).await)),
            why = liveness.lost() => Seen::Hangs(why),
        }
    }

    /// Returns once the app is not wanted any more.
    async fn unwanted(&self) {
        tokio::select! {
            () = self.wishes.until(|wish| wish.want != Want::Run) => {}
            () = self.reporter.refused() => {}
        }
    }

    /// Ends a healthy app in an orderly way; `false` when it was wanted again while it still answered.
    async fn take_down(&mut self, process: &mut Process) -> bool {
        self.stage.send_replace(Stage::Draining);
        // First, so that nobody is sent to an app that is ending.
        self.reporter.report(RevisionStatus::Stopped);
        let drain = async {
            let _ = timeout(TRAFFIC_MOVES, self.reporter.delivered()).await;
            sleep(self.shared.settings.drain_delay).await;
        };
        let refused = self.reporter.is_refused();
        let wanted_again = tokio::select! {
            biased;
            _ = process.ended() => false,
            _ = self.wishes.until_end() => false,
            () = self.wishes.until(|wish| wish.want == Want::Run), if !refused => true,
            () = drain => false,
        };
        if wanted_again {
            // Before the start is answered: a late `stopped` would take the traffic away again.
            self.reporter.settle().await;
            if !self.reporter.is_refused() {
                self.log.say("Wanted again before it was stopped.").await;
                return false;
            }
        }
        self.stage.send_replace(Stage::Stopping);
        self.log
            .say(match self.wishes.now().want {
                Want::End(_) => "Stopping: the platform shuts down.",
                _ => "Stopping: no traffic is meant for it any more.",
            })
            .await;
        self.end(process).await;
        self.log.say("Stopped.").await;
        true
    }

    /// SIGTERM, some time, SIGKILL. Nothing is left when this returns.
    async fn end(&self, process: &mut Process) {
        process.terminate();
        let patience = self.wishes.patience(Instant::now() + self.shared.settings.grace);
        tokio::select! {
            biased;
            _ = process.ended() => return,
            () = patience => {}
        }
        process.kill().await;
        self.log.say("It did not end on SIGTERM and was killed.").await;
    }

    /// Leaves nothing behind, and sees to it that the ledger knows.
    async fn close(&mut self) {
        self.stage.send_replace(Stage::Stopping);
        self.shared.images.remove(&self.app);
        let cut_off = async {
            self.wishes.until_end().await;
            sleep(LAST_REPORT).await;
        };
        tokio::select! {
            biased;
            () = self.reporter.delivered() => {}
            () = self.wishes.until(|wish| wish.want == Want::Run) => {}
            () = cut_off => {}
        }
        self.reporter.settle().await;
        self.log.flush().await;
        self.port = None;
        self.shared.forget(&self.app.deployment);
        self.stage.send_replace(Stage::Ended);
    }
}

/// Why an app did not start, without what it said: that is in its log.
fn reason(error: &StartError) -> String {
    match error {
        StartError::Exited { how, .. } => format!("The app ended before it was healthy: {how}."),
        error => error.to_string(),
    }
}

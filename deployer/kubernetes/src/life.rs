//! The life of one app as this deployer has it in hand: from its start, or from taking it over, to its stop.

use std::sync::Arc;
use std::time::Duration;

use common::bus::Topic;
use common::ledger::App;
use common::revision::{Endpoints, RevisionStatus};
use common::runtime::{Reporter, StartError};
use common::time::Timestamp;
use kube::ResourceExt as _;
use logs::{Log, Mask};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::apps::Shared;
use crate::cluster::{ClusterError, patiently};
use crate::follow::Follower;
use crate::judge::{self, Fault, Now, judge};
use crate::names::{self, HELD_BY, HELD_UNTIL};
use crate::objects::{self, Place};
use crate::view::Seen;
use crate::why::Why;

/// How long a stop waits for the control plane to take traffic away, before it goes on all the same.
const TRAFFIC_MOVES: Duration = Duration::from_secs(5);
/// How long a stop goes on trying while the cluster is away. What is left then is found by the sweep.
const STOPPING: Duration = Duration::from_secs(300);
/// How long a deployer is believed to have an app in hand that it says nothing more of.
const HOLD: Duration = Duration::from_secs(15 * 60);
/// How long a cluster may take to take pods that it refuses at first: a new namespace gets its ServiceAccount late.
const SETTLING: Duration = Duration::from_secs(20);
/// Pause before objects are applied again after that failed.
const REPAIR_EVERY: Duration = Duration::from_secs(5);
/// How long a node waits before it starts a container again: so long at first, and twice as long each time.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// The longest it waits.
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// Where an app is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stage {
    Starting,
    Running(Endpoints),
    /// None of its instances answers; why.
    Restarting(String),
    Ended,
}

/// One app.
pub(crate) struct Life {
    shared: Arc<Shared>,
    app: App,
    namespace: String,
    stop: CancellationToken,
    stage: watch::Sender<Stage>,
    log: Log,
    reporter: Reporter,
    /// Generation of its ReplicaSet as it was applied: another one is somebody else's doing.
    generation: Option<i64>,
    /// Until when this deployer has said that it has the app in hand.
    held_until: Timestamp,
}

impl Life {
    pub(crate) fn new(shared: Arc<Shared>, app: App, stop: CancellationToken, stage: watch::Sender<Stage>) -> Self {
        let log =
            Log::start(shared.bus.clone(), Topic::runtime(app.deployment.clone()), Mask::new(app.env.values()), None);
        let reporter = Reporter::start(shared.ledger.clone(), app.deployment.clone());
        let namespace = names::namespace(&shared.settings.namespace_prefix, &app.account);
        Self {
            shared,
            app,
            namespace,
            stop,
            stage,
            log,
            reporter,
            generation: None,
            held_until: Timestamp::now().after(HOLD),
        }
    }

    /// Lives. `first` is told how the start ended.
    pub(crate) async fn run(mut self, first: oneshot::Sender<Result<Endpoints, StartError>>) {
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let up = tokio::select! {
            up = self.bring_up() => up,
            () = stop.cancelled() => Err(StartError::Stopped),
            () = shared.let_go.cancelled() => {
                self.end();
                let _ = first.send(Err(StartError::Stopped));
                return;
            }
        };
        match up {
            Ok(endpoints) => {
                self.stage.send_replace(Stage::Running(endpoints.clone()));
                // Whoever waited may have gone; then it will say whether the app is to stop.
                let _ = first.send(Ok(endpoints.clone()));
                self.keep(endpoints).await;
                self.end();
            }
            Err(e) => {
                match &e {
                    StartError::Stopped => self.reporter.report(RevisionStatus::Stopped),
                    StartError::Exited { how, .. } => {
                        self.log.say(format!("The app ended before it was healthy: {how}.")).await;
                    }
                    e => self.log.say(e.to_string()).await,
                }
                // Its log is followed to its end, and no further.
                self.stop.cancel();
                let deadline = Instant::now() + STOPPING;
                if let Err(e) = patiently(deadline, || self.remove()).await {
                    tracing::error!(deployment = %self.app.deployment, error = %e, "an app's objects stay behind");
                }
                self.log.flush().await;
                self.end();
                let _ = first.send(Err(e));
            }
        }
    }

    fn end(&self) {
        self.shared.forget(&self.app.deployment);
        self.stage.send_replace(Stage::Ended);
    }

    /// Applies everything, and waits until all instances answer or one shows why it does not.
    async fn bring_up(&mut self) -> Result<Endpoints, StartError> {
        let begun = Instant::now();
        let settings = self.shared.settings.clone();
        let room_by = begun + settings.schedule_timeout;
        // What is on the bus of earlier is read before anything can be said anew.
        self.follow().await;
        self.generation = patiently(room_by, || self.apply()).await?;
        let mut changes = self.shared.view.changes();
        let mut healthy_by = None;
        loop {
            changes.borrow_and_update();
            let seen = self.shared.view.of(&self.app.deployment);
            let now = if self.is_current(&seen) { judge(&seen, settings.limits.memory) } else { Now::Waiting(None) };
            let wait_until = match now {
                Now::Ready(endpoints) => return Ok(endpoints),
                Now::Broken(fault) => match self.patience_with(&fault, begun) {
                    Some(until) if Instant::now() < until => until,
                    _ => return Err(self.why().broken(fault).await),
                },
                Now::Starting => {
                    let until = *healthy_by.get_or_insert_with(|| Instant::now() + settings.start_timeout);
                    if Instant::now() >= until {
                        return match Self::some_of(&seen) {
                            Some(endpoints) => Ok(endpoints),
                            None => Err(self.why().unhealthy(&seen.pods, settings.start_timeout).await),
                        };
                    }
                    until
                }
                Now::Waiting(detail) => {
                    if Instant::now() >= room_by {
                        let detail = detail.unwrap_or_else(|| "it says nothing of the app's instances".to_owned());
                        let none = StartError::NoRoom { detail, within: settings.schedule_timeout };
                        return Self::some_of(&seen).ok_or(none);
                    }
                    room_by
                }
                Now::Absent | Now::Stopped => {
                    if Instant::now() >= room_by {
                        let detail = "the app's ReplicaSet was deleted by somebody else while it started".to_owned();
                        return Err(StartError::Cluster(detail));
                    }
                    room_by
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Err(StartError::Stopped) },
                () = sleep_until(wait_until) => {}
            }
        }
    }

    /// Whether what is seen is as new as what was applied, and the cluster's controller knows of it.
    fn is_current(&self, seen: &Seen) -> bool {
        let Some(set) = &seen.set else { return true };
        let observed = set.status.as_ref().and_then(|status| status.observed_generation);
        set.metadata.generation >= self.generation && observed >= self.generation
    }

    /// Until when a fault may pass by itself.
    fn patience_with(&self, fault: &Fault, begun: Instant) -> Option<Instant> {
        match fault {
            Fault::Refused(_) => Some(begun + SETTLING),
            // Instances of before still count until they are gone.
            Fault::Quota(_) => Some(begun + self.shared.settings.drain_delay + self.shared.settings.grace),
            Fault::ImageMissing { .. } | Fault::Image { .. } | Fault::Ended { .. } => None,
        }
    }

    /// Where those instances answer that are healthy when the time is over: an app with some of them is up.
    fn some_of(seen: &Seen) -> Option<Endpoints> {
        Endpoints::of(seen.endpoints.iter().copied())
    }

    fn why(&self) -> Why<'_> {
        Why { cluster: &self.shared.cluster, namespace: &self.namespace, app: &self.app }
    }

    /// Begins to follow its log. It goes on until its last instance is gone, also after the life.
    async fn follow(&self) {
        let shared = &self.shared;
        let follower = Follower::new(
            shared.cluster.clone(),
            shared.view.clone(),
            &self.namespace,
            &self.app,
            self.log.clone(),
            &shared.bus,
            shared.settings.log_lines_per_second,
        );
        let (stop, let_go) = (self.stop.clone(), shared.let_go.clone());
        let follower = follower.await;
        shared.tasks.spawn(async move {
            tokio::select! {
                () = follower.run(stop) => {}
                () = let_go.cancelled() => {}
            }
        });
    }

    /// Keeps an app as it should be until it is not wanted any more, and tells what it does.
    async fn keep(&mut self, endpoints: Endpoints) {
        let (shared, stop) = (self.shared.clone(), self.stop.clone());
        let mut changes = shared.view.changes();
        let restarts = judge::restarts(&shared.view.of(&self.app.deployment));
        let mut told = RevisionStatus::Running { endpoints, restarts };
        let mut resync = Instant::now() + shared.settings.resync;
        let mut repair_from = Instant::now();
        // It may have changed since its start was judged.
        changes.mark_changed();
        loop {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep_until(resync) => {}
                () = stop.cancelled() => return self.take_down().await,
                () = self.reporter.refused() => return self.take_down().await,
                () = shared.let_go.cancelled() => return,
            }
            let seen = shared.view.of(&self.app.deployment);
            let due = Instant::now() >= resync;
            let repairs = (due || self.has_drifted(&seen)) && Instant::now() >= repair_from;
            if repairs && !self.is_anothers(&seen) {
                self.hold_on();
                match self.apply().await {
                    Ok(generation) => self.generation = generation,
                    Err(e) => {
                        tracing::warn!(deployment = %self.app.deployment, error = %e, "an app's objects can't be kept");
                        repair_from = Instant::now() + REPAIR_EVERY;
                    }
                }
            }
            if due {
                resync = Instant::now() + shared.settings.resync;
            }
            self.tell(&seen, &mut told).await;
        }
    }

    /// Says anew that this deployer has the app in hand, in good time.
    fn hold_on(&mut self) {
        let now = Timestamp::now();
        if self.held_until.since(now) < HOLD / 2 {
            self.held_until = now.after(HOLD);
        }
    }

    /// Whether another deployer has taken it over.
    fn is_anothers(&self, seen: &Seen) -> bool {
        let holder = seen.set.as_ref().and_then(|set| set.annotations().get(HELD_BY));
        holder.is_some_and(|holder| *holder != self.shared.deployer)
    }

    /// Whether somebody changed or deleted the ReplicaSet.
    fn has_drifted(&self, seen: &Seen) -> bool {
        match &seen.set {
            Some(set) => set.metadata.generation > self.generation,
            None => self.shared.view.is_complete(),
        }
    }

    /// Reports what the app does when that changed.
    async fn tell(&self, seen: &Seen, told: &mut RevisionStatus) {
        let restarts = judge::restarts(seen);
        let status = match Endpoints::of(seen.endpoints.iter().copied()) {
            Some(endpoints) => {
                self.stage.send_replace(Stage::Running(endpoints.clone()));
                RevisionStatus::Running { endpoints, restarts }
            }
            None => {
                let reason = reason(judge(seen, self.shared.settings.limits.memory));
                let same = matches!(told, RevisionStatus::Restarting { reason: old, .. } if *old == reason);
                if same {
                    return;
                }
                self.stage.send_replace(Stage::Restarting(reason.clone()));
                let retry_at = Timestamp::now().after(backoff(restarts));
                RevisionStatus::Restarting { reason, retry_at, restarts }
            }
        };
        if status != *told {
            if let RevisionStatus::Restarting { reason, .. } = &status {
                self.log.say(reason).await;
            }
            self.reporter.report(status.clone());
            *told = status;
        }
    }

    /// Ends an app: traffic moves away, then its instances are told to end. One that another deployer has
    /// in hand by now goes on as it is.
    async fn take_down(&self) {
        self.stop.cancel();
        let name = names::object(&self.app.deployment);
        let cluster = &self.shared.cluster;
        let deadline = Instant::now() + STOPPING;
        let holder = patiently(deadline, || cluster.holder(&self.namespace, &name)).await;
        if matches!(&holder, Ok(Some(holder)) if *holder != self.shared.deployer) {
            return;
        }
        if !self.reporter.is_refused() {
            self.reporter.report(RevisionStatus::Stopped);
            let _ = timeout(TRAFFIC_MOVES, self.reporter.delivered()).await;
        }
        let now = Timestamp::now().as_millis();
        let stopped = patiently(deadline, || cluster.scale_to_zero(&self.namespace, &name, now)).await;
        if let Err(e) = stopped {
            tracing::error!(deployment = %self.app.deployment, error = %e, "an app could not be stopped");
        }
        self.log.say("Stopped: no traffic is meant for it any more.").await;
    }

    /// Applies what the account needs and then what the app needs; returns the ReplicaSet's generation.
    async fn apply(&self) -> Result<Option<i64>, ClusterError> {
        let shared = &self.shared;
        let versions = shared.cluster.versions().await?;
        account::apply(shared, &self.namespace, &self.app.account).await?;
        let mut generation = None;
        for mut object in objects::objects(&shared.settings, versions, &Place::new(&self.app, &self.namespace)) {
            if object["kind"] == "ReplicaSet" {
                let annotations = &mut object["metadata"]["annotations"];
                annotations[HELD_BY] = json!(shared.deployer);
                annotations[HELD_UNTIL] = json!(self.held_until.as_millis().to_string());
            }
            generation = shared.cluster.apply(&object).await?.metadata.generation;
        }
        Ok(generation)
    }

    /// Deletes everything of an app that did not come up.
    async fn remove(&self) -> Result<(), ClusterError> {
        objects::remove(&self.shared.cluster, &self.namespace, &self.app.deployment).await
    }
}

/// Why no instance answers, in a sentence.
fn reason(now: Now) -> String {
    match now {
        Now::Broken(Fault::Ended { how, .. }) => format!("The app ended: {how}."),
        Now::Broken(Fault::ImageMissing { detail, .. } | Fault::Image { detail, .. }) => {
            format!("Its image can't be pulled: {detail}.")
        }
        Now::Broken(Fault::Quota(detail)) => format!("The account's quota is used up: {detail}."),
        Now::Broken(Fault::Refused(detail)) => format!("The cluster takes no instance of it: {detail}."),
        Now::Starting | Now::Ready(_) => "The app runs, but does not pass its health check.".to_owned(),
        Now::Waiting(Some(detail)) => format!("It waits for a place in the cluster: {detail}."),
        Now::Waiting(None) | Now::Absent | Now::Stopped => "Its instance is being replaced.".to_owned(),
    }
}

/// How long a node waits after so many restarts.
fn backoff(restarts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << restarts.saturating_sub(1).min(5)).min(BACKOFF_MAX)
}

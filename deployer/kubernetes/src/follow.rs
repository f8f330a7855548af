//! The runtime log of an app: what its instances say, followed across restarts, onto the bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::bus::{Bus, StreamName, Topic};
use common::id::DeploymentId;
use common::ledger::App;
use common::time::Timestamp;
use futures::{AsyncBufReadExt as _, AsyncReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use logs::{Log, Mask, Rate};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::judge;
use crate::lines::{self, Position, Told};
use crate::names::CONTAINER;
use crate::view::View;

/// Pause before a log that broke off is read on; it doubles.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Bytes of a line that are passed on, its time with it.
const MAX_LINE: u64 = 8 << 10;

/// Follows the log of one app as long as it runs.
pub(crate) struct Follower {
    pub(crate) cluster: Cluster,
    pub(crate) view: View,
    pub(crate) namespace: String,
    pub(crate) deployment: DeploymentId,
    pub(crate) log: Log,
    pub(crate) mask: Mask,
    pub(crate) rate: u32,
    told: Mutex<Told>,
}

impl Follower {
    /// The follower of an app of which another deployer may have followed the log so far.
    pub(crate) async fn new(
        cluster: Cluster,
        view: View,
        namespace: &str,
        app: &App,
        log: Log,
        bus: &Bus,
        rate: u32,
    ) -> Self {
        let topic = Topic::runtime(app.deployment.clone());
        let told = Told::read(bus, &topic).await.unwrap_or_else(|e| {
            tracing::warn!(deployment = %app.deployment, error = %e, "the log so far can't be read: lines may come twice");
            Told::default()
        });
        Self {
            cluster,
            view,
            namespace: namespace.to_owned(),
            deployment: app.deployment.clone(),
            log,
            mask: Mask::new(app.env.values()),
            rate,
            told: Mutex::new(told),
        }
    }

    /// Follows every instance until `stop`, and then reads what the ending ones still say.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut changes = this.view.changes();
        // Dropped with this, so that nobody follows what another deployer follows by then.
        let mut tasks = JoinSet::new();
        let mut followed: HashMap<String, AbortHandle> = HashMap::new();
        loop {
            changes.borrow_and_update();
            for pod in this.view.of(&this.deployment).pods {
                let (Some(uid), Some(name)) = (pod.metadata.uid.clone(), pod.metadata.name.clone()) else { continue };
                followed.entry(uid.clone()).or_insert_with(|| tasks.spawn(this.clone().pod(uid, name)));
            }
            followed.retain(|_, task| !task.is_finished());
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = stop.cancelled() => break,
            }
        }
        // Each ends with its pod.
        while tasks.join_next().await.is_some() {}
    }

    /// Follows one instance until its pod is gone.
    async fn pod(self: Arc<Self>, uid: String, name: String) {
        let rate = Rate::new(self.rate);
        let telling = async {
            loop {
                rate.dropped_some().await;
                rate.tell(&self.log).await;
            }
        };
        tokio::select! {
            () = self.containers(&uid, &name, &rate) => {}
            () = telling => {}
        }
        rate.tell(&self.log).await;
    }

    async fn containers(&self, uid: &str, name: &str, rate: &Rate) {
        let mut changes = self.view.changes();
        let mut position = Position::default();
        // Which of the pod's containers, one after the other, was read last, and whether to its end.
        let mut read: Option<i32> = None;
        let mut ended = false;
        let mut pause = RETRY_FIRST;
        loop {
            changes.borrow_and_update();
            let pods = self.view.of(&self.deployment).pods;
            let Some(pod) = pods.into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid)) else { return };
            let Some((number, running)) = numbered(&pod) else {
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // The cluster keeps the log of the last container that ended, and no older one.
            if let Some(before) = read.filter(|before| *before < number) {
                if number - before > 1 {
                    self.log.say("Lines may be missing: the app was restarted several times in between.").await;
                }
                if !ended || number - before > 1 {
                    let _ = self.read(name, true, &mut position, rate).await;
                }
                ended = false;
            }
            if read.is_none() && number > 0 {
                let _ = self.read(name, true, &mut position, rate).await;
            }
            if read != Some(number) || !ended {
                read = Some(number);
                match self.read(name, false, &mut position, rate).await {
                    Ok(()) => {
                        // A stream also ends when the API server does.
                        ended = !running || self.has_ended(uid, number);
                        pause = RETRY_FIRST;
                    }
                    Err(e) => tracing::debug!(pod = name, error = %e, "a log broke off and is read on"),
                }
                if !ended {
                    tokio::select! {
                        () = sleep(pause) => pause = (pause * 2).min(RETRY_MAX),
                        changed = changes.changed() => if changed.is_err() { return },
                    }
                }
                continue;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether the container of this number does not run any more, as far as it is known.
    fn has_ended(&self, uid: &str, number: i32) -> bool {
        let pods = self.view.of(&self.deployment).pods;
        let pod = pods.into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
        pod.is_none_or(|pod| numbered(&pod) != Some((number, true)))
    }

    /// Passes on what a container says that was not passed on before, until it ends.
    async fn read(&self, pod: &str, previous: bool, position: &mut Position, rate: &Rate) -> Result<(), String> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &self.namespace);
        let since = position.since().or_else(|| self.with_told(|told| told.since()));
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: !previous,
            previous,
            since_time: since.and_then(|since| k8s_openapi::jiff::Timestamp::from_second(since.as_second()).ok()),
            timestamps: true,
            ..LogParams::default()
        };
        position.rewind();
        let stream = api.log_stream(pod, &params).await.map_err(|e| e.to_string())?;
        let mut stream = std::pin::pin!(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let piece = (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line).await;
            if piece.map_err(|e| e.to_string())? == 0 {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line);
            // What is too long goes on without a time.
            let Some((time, text)) = lines::parse(line.trim_end_matches(['\r', '\n'])) else { continue };
            if !position.advances(time) {
                continue;
            }
            let time = Timestamp::from_millis(time.as_millisecond());
            let masked = self.mask.apply(text);
            if self.with_told(|told| told.is_new(time, &masked)) && rate.admits() {
                self.log.relay(time, StreamName::Stdout, &masked).await;
            }
        }
    }

    /// Held for a look only.
    fn with_told<T>(&self, look: impl FnOnce(&mut Told) -> T) -> T {
        look(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The number of a pod's present container, from 0, and whether it runs; none when none has begun.
fn numbered(pod: &Pod) -> Option<(i32, bool)> {
    let status = judge::container(pod)?;
    let running = judge::runs(&status.state);
    let ended = status.state.as_ref().is_some_and(|state| state.terminated.is_some());
    match (running || ended, status.restart_count) {
        (true, count) => Some((count, running)),
        // It waits to be started again; what there is to read is the log of the one that ended.
        (false, count) if count > 0 || status.last_state.as_ref().is_some_and(|s| s.terminated.is_some()) => {
            Some((count, false))
        }
        (false, _) => None,
    }
}

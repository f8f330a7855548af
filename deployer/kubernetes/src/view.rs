//! What the cluster has of the platform's, followed by watches: each deployment's ReplicaSet, pods and EndpointSlices.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::id::DeploymentId;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_for};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, resource};
use crate::names::{DEPLOYMENT, MANAGED, PORT};
use crate::slices;

/// How long one watch lasts, in seconds: one that is silent for longer is broken, and begun anew.
const WATCH: u32 = 60;
/// Pause before the cluster's versions are asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The view of one process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct View(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Counts what was seen.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    sets: Shelf<ReplicaSet>,
    pods: Shelf<Pod>,
    slices: Shelf<DynamicObject>,
    /// Namespaces whose rules changed since somebody looked.
    touched: HashSet<String>,
}

/// Objects of one kind, by deployment and name.
struct Shelf<K> {
    items: HashMap<DeploymentId, BTreeMap<String, Arc<K>>>,
    /// Those of a list that is not complete yet.
    listing: HashMap<DeploymentId, BTreeMap<String, Arc<K>>>,
    complete: bool,
}

/// What is there of one deployment.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) set: Option<Arc<ReplicaSet>>,
    pub(crate) pods: Vec<Arc<Pod>>,
    /// Where its ready instances answer.
    pub(crate) endpoints: Vec<SocketAddr>,
}

impl View {
    /// Begins to look, as soon as the cluster answers.
    pub(crate) fn start(cluster: Cluster, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let view = Self(Arc::new(Inner { state: Mutex::default(), changes: watch::Sender::new(0) }));
        let (own, stop, watches) = (view.clone(), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let slices = loop {
                match cluster.versions().await {
                    Ok(versions) => break format!("discovery.k8s.io/{}", versions.slices()),
                    Err(e) => tracing::warn!(error = %e, retry_in_s = RETRY.as_secs(), "the cluster can't be watched"),
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => {}
                }
            };
            let client = cluster.client();
            let slices = Api::all_with(client.clone(), &resource(&slices, "EndpointSlice"));
            watches.spawn(own.clone().follow(Api::all(client.clone()), |s| &mut s.sets, stop.clone()));
            watches.spawn(own.clone().follow(Api::all(client.clone()), |s| &mut s.pods, stop.clone()));
            watches.spawn(own.clone().follow(slices, |s| &mut s.slices, stop.clone()));
            watches.spawn(own.follow_rules(Api::all(client), stop));
        });
        view
    }

    async fn follow<K>(self, api: Api<K>, shelf: fn(&mut State) -> &mut Shelf<K>, stop: CancellationToken)
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let mut events = watch_for(api, config()).default_backoff().boxed();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    if shelf(&mut self.lock()).take(event) {
                        self.0.changes.send_modify(|count| *count += 1);
                    }
                }
                Some(Err(e)) => tracing::warn!(error = %e, "a watch of the cluster broke off and is begun anew"),
                None => return,
            }
        }
    }

    /// Rules of who may speak with whom: who changes them is noticed at once.
    async fn follow_rules(self, api: Api<NetworkPolicy>, stop: CancellationToken) {
        let mut events = watch_for(api, config()).default_backoff().boxed();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(Ok(Event::Apply(policy) | Event::Delete(policy))) => {
                    self.lock().touched.extend(policy.namespace());
                    self.0.changes.send_modify(|count| *count += 1);
                }
                Some(Ok(_)) => {}
                Some(Err(e)) => tracing::warn!(error = %e, "a watch of the cluster broke off and is begun anew"),
                None => return,
            }
        }
    }

    /// What is there of a deployment now.
    pub(crate) fn of(&self, deployment: &DeploymentId) -> Seen {
        let state = self.lock();
        let pods: Vec<Arc<Pod>> = state.pods.of(deployment);
        let slices = state.slices.of(deployment);
        Seen { set: state.sets.of(deployment).into_iter().next(), endpoints: endpoints(&pods, &slices), pods }
    }

    /// Whether all ReplicaSets are known: one that is not seen is not there.
    pub(crate) fn is_complete(&self) -> bool {
        self.lock().sets.complete
    }

    /// All deployments that have a ReplicaSet.
    pub(crate) fn sets(&self) -> Vec<(DeploymentId, Arc<ReplicaSet>)> {
        let state = self.lock();
        let first = |(id, sets): (&DeploymentId, &BTreeMap<String, Arc<ReplicaSet>>)| {
            sets.values().next().map(|set| (id.clone(), set.clone()))
        };
        state.sets.items.iter().filter_map(first).collect()
    }

    /// Namespaces whose rules changed since this was asked.
    pub(crate) fn take_touched(&self) -> HashSet<String> {
        std::mem::take(&mut self.lock().touched)
    }

    /// Tells that something changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Held for map operations only.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().labels(MANAGED).timeout(WATCH)
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { items: HashMap::new(), listing: HashMap::new(), complete: false }
    }
}

impl<K: ResourceExt> Shelf<K> {
    /// Whether something changed for those who look.
    fn take(&mut self, event: Event<K>) -> bool {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => put(&mut self.listing, object),
            Event::InitDone => {
                self.items = std::mem::take(&mut self.listing);
                self.complete = true;
                return true;
            }
            Event::Apply(object) => {
                put(&mut self.items, object);
                return true;
            }
            Event::Delete(object) => {
                if let Some((id, name)) = key(&object)
                    && let Some(items) = self.items.get_mut(&id)
                {
                    items.remove(&name);
                    if items.is_empty() {
                        self.items.remove(&id);
                    }
                }
                return true;
            }
        }
        false
    }

    fn of(&self, deployment: &DeploymentId) -> Vec<Arc<K>> {
        self.items.get(deployment).map(|items| items.values().cloned().collect()).unwrap_or_default()
    }
}

fn put<K: ResourceExt>(items: &mut HashMap<DeploymentId, BTreeMap<String, Arc<K>>>, object: K) {
    if let Some((id, name)) = key(&object) {
        items.entry(id).or_default().insert(name, Arc::new(object));
    }
}

fn key<K: ResourceExt>(object: &K) -> Option<(DeploymentId, String)> {
    Some((object.labels().get(DEPLOYMENT)?.parse().ok()?, object.name_any()))
}

/// Where instances answer: those that are ready by their own word and by the EndpointSlices', and are not ending. Of one
/// whose Service somebody deleted there are no slices until it is back; its instances' word counts alone.
fn endpoints(pods: &[Arc<Pod>], slices: &[Arc<DynamicObject>]) -> Vec<SocketAddr> {
    let ready: BTreeSet<SocketAddr> = pods.iter().filter_map(|pod| address(pod)).collect();
    if slices.is_empty() {
        return ready.into_iter().collect();
    }
    let told: BTreeSet<SocketAddr> = slices.iter().flat_map(|slice| slices::ready(slice)).collect();
    ready.intersection(&told).copied().collect()
}

/// Where a pod answers that is ready and not ending.
fn address(pod: &Pod) -> Option<SocketAddr> {
    let status = pod.status.as_ref()?;
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(SocketAddr::new(status.pod_ip.as_ref()?.parse().ok()?, PORT))
}

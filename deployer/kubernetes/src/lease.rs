//! Which one of several deployers acts: the one that holds a Lease (`coordination.k8s.io/v1`).
//!
//! As other holders of Leases do it, a lease counts as run out when it has not changed for its duration by the clock of
//! who looks, so clocks need not agree.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::names::{ASTROCLOUD, MANAGED_BY};

/// How long a lease holds that is not renewed. 15 s, as Kubernetes' own components have it.
const DURATION: Duration = Duration::from_secs(15);
/// How long its holder tries to renew it before it stops acting: shorter, so that never two act.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// A lease that this process may come to hold.
pub struct Lease {
    api: Api<Object>,
    name: String,
    holder: String,
}

/// What a look at a lease has found.
struct Seen {
    /// Its resource version and when it was first seen.
    version: Option<String>,
    since: Instant,
}

impl Lease {
    /// The lease `name`, for `holder`, which no other process is called.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, holder: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), holder: holder.to_owned() }
    }

    /// Runs `act` whenever this process holds the lease, from the start each time, and drops it once the lease is lost.
    /// When `stop` is told the lease is given back, so that the next holder need not wait.
    pub async fn run<F>(&self, stop: &CancellationToken, mut act: impl FnMut() -> F)
    where
        F: Future<Output = ()>,
    {
        let mut seen = Seen { version: None, since: Instant::now() };
        while !stop.is_cancelled() {
            if self.try_to_hold(&mut seen).await {
                tracing::info!(lease = self.name, "this deployer holds the lease");
                tokio::select! {
                    () = self.keep(&mut seen) => tracing::warn!(lease = self.name, "the lease is lost"),
                    () = act() => {}
                    () = stop.cancelled() => {}
                }
                if stop.is_cancelled() {
                    self.give_back().await;
                    return;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Renews until that did not work for too long.
    async fn keep(&self, seen: &mut Seen) {
        let mut held_until = Instant::now() + GIVE_UP;
        loop {
            let next = Instant::now() + EVERY;
            sleep_until(next.min(held_until)).await;
            let renewed = timeout(held_until.saturating_duration_since(Instant::now()), self.try_to_hold(seen)).await;
            match renewed {
                Ok(true) => held_until = Instant::now() + GIVE_UP,
                _ if Instant::now() >= held_until => return,
                Ok(false) if self.is_anothers().await => return,
                _ => {}
            }
        }
    }

    async fn is_anothers(&self) -> bool {
        match self.api.get_opt(&self.name).await {
            Ok(Some(lease)) => holder(&lease).is_some_and(|holder| holder != self.holder),
            _ => false,
        }
    }

    /// Takes or renews the lease, unless another's has not run out.
    async fn try_to_hold(&self, seen: &mut Seen) -> bool {
        match self.hold(seen).await {
            Ok(held) => held,
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => false,
            Err(e) => {
                tracing::warn!(lease = self.name, error = %e, "the lease can't be had now");
                false
            }
        }
    }

    async fn hold(&self, seen: &mut Seen) -> kube::Result<bool> {
        let begun = Instant::now();
        let now = MicroTime(k8s_openapi::jiff::Timestamp::now());
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let labels = [(MANAGED_BY.to_owned(), ASTROCLOUD.to_owned())].into();
            let metadata = ObjectMeta { name: Some(self.name.clone()), labels: Some(labels), ..ObjectMeta::default() };
            let spec = LeaseSpec {
                holder_identity: Some(self.holder.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            };
            self.api.create(&PostParams::default(), &Object { metadata, spec: Some(spec) }).await?;
            return Ok(true);
        };
        if seen.version != lease.resource_version() {
            *seen = Seen { version: lease.resource_version(), since: begun };
        }
        let other = holder(&lease).filter(|holder| *holder != self.holder && !holder.is_empty());
        let spec = lease.spec.as_ref();
        let duration = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
        let runs_out = seen.since + duration.map_or(DURATION, Duration::from_secs);
        if other.is_some() && Instant::now() < runs_out {
            return Ok(false);
        }
        let is_own = holder(&lease).is_some_and(|holder| holder == self.holder);
        let spec = lease.spec.get_or_insert_default();
        if !is_own {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
        }
        spec.holder_identity = Some(self.holder.clone());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        spec.renew_time = Some(now);
        // With its version: who else writes in between makes this fail.
        let held = self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        *seen = Seen { version: held.resource_version(), since: begun };
        Ok(true)
    }

    async fn give_back(&self) {
        let given = async {
            let mut lease = self.api.get(&self.name).await?;
            if holder(&lease).is_some_and(|holder| holder == self.holder) {
                lease.spec.get_or_insert_default().holder_identity = None;
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if !matches!(timeout(EVERY, given).await, Ok(Ok(()))) {
            tracing::info!(lease = self.name, "the lease runs out by itself");
        }
    }
}

fn holder(lease: &Object) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone()
}

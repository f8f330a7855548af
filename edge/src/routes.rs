//! The route table: immutable, replaced whole, read without a lock.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::route::{Route, Snapshot};
use http::HeaderValue;
use tokio::sync::watch;

use crate::wishes::Pace;

pub(crate) mod last_good;

/// Parts of the table. A delta copies only the parts that it touches: with 100,000 hosts, a few hundred
/// pointers.
const SHARDS: usize = 256;

/// A route, with what every answer needs of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) route: Route,
    /// The deployment's id as a header carries it.
    pub(crate) deployment: Option<HeaderValue>,
    /// When the control plane was last told that visitors ask for it.
    pub(crate) wished: Pace,
}

impl From<Route> for Entry {
    fn from(route: Route) -> Self {
        // An id is letters, digits and an underscore, so it always is a header's value.
        let deployment = HeaderValue::from_str(route.deployment.as_str()).ok();
        Self { route, deployment, wished: Pace::default() }
    }
}

type Shard = HashMap<Box<str>, Arc<Entry>>;

/// Every route at one version.
#[derive(Clone)]
pub(crate) struct Table {
    version: u64,
    /// Whether the control plane ever told the routes, in this life or an earlier one.
    known: bool,
    hasher: RandomState,
    shards: Vec<Arc<Shard>>,
}

/// A delta that does not follow the table's version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("version {version} does not follow version {current}")]
pub(crate) struct Gap {
    current: u64,
    version: u64,
}

impl Table {
    /// The table before anything is known.
    pub(crate) fn unknown() -> Self {
        Self { version: 0, known: false, hasher: RandomState::new(), shards: vec![Arc::default(); SHARDS] }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    fn shard_of(&self, host: &str) -> usize {
        // The remainder is below 256.
        (self.hasher.hash_one(host) % SHARDS as u64) as usize
    }

    /// The route of a host in lower case.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Entry>> {
        self.shards[self.shard_of(host)].get(host)
    }

    fn upsert(&mut self, route: Route) {
        let shard = self.shard_of(&route.host);
        Arc::make_mut(&mut self.shards[shard]).insert(route.host.as_str().into(), Arc::new(route.into()));
    }

    /// The table that follows this one.
    pub(crate) fn next(&self, version: u64, upsert: Vec<Route>, remove: &[String]) -> Result<Self, Gap> {
        if version.checked_sub(1) != Some(self.version) {
            return Err(Gap { current: self.version, version });
        }
        let mut next = Self { version, ..self.clone() };
        for host in remove {
            let shard = next.shard_of(host);
            Arc::make_mut(&mut next.shards[shard]).remove(host.as_str());
        }
        for route in upsert {
            next.upsert(route);
        }
        Ok(next)
    }

    /// The whole table as it is stored.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut routes: Vec<Route> =
            self.shards.iter().flat_map(|s| s.values()).map(|entry| entry.route.clone()).collect();
        routes.sort_by(|a, b| a.host.cmp(&b.host));
        Snapshot { version: self.version, routes }
    }
}

impl From<Snapshot> for Table {
    fn from(snapshot: Snapshot) -> Self {
        let mut table = Self { version: snapshot.version, known: true, ..Self::unknown() };
        for route in snapshot.routes {
            table.upsert(route);
        }
        table
    }
}

/// The table in use.
pub(crate) struct Routes {
    table: ArcSwap<Table>,
    changed: watch::Sender<()>,
}

impl Routes {
    pub(crate) fn new(table: Table) -> Self {
        Self { table: ArcSwap::from_pointee(table), changed: watch::channel(()).0 }
    }

    /// The table that requests see now.
    pub(crate) fn now(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Makes requests that arrive from now on see this table.
    pub(crate) fn replace(&self, table: Table) {
        self.table.store(Arc::new(table));
        self.changed.send_replace(());
    }

    /// Sees every change, several at once as one.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::id::DeploymentId;
    use common::route::Target;

    fn route(host: &str) -> Route {
        Route {
            host: host.to_owned(),
            project: "p".to_owned(),
            deployment: DeploymentId::new(),
            production: true,
            target: Target::Static { earlier: Vec::new() },
        }
    }

    #[test]
    fn a_snapshot_and_its_deltas_make_the_table() {
        let hosts: Vec<String> = (0..1000).map(|i| format!("site-{i}.localhost")).collect();
        let snapshot = Snapshot { version: 7, routes: hosts.iter().map(|h| route(h)).collect() };
        let table = Table::from(snapshot);
        let changed = route("site-1.localhost");
        let next = table
            .next(8, vec![changed.clone(), route("new.localhost")], &["site-2.localhost".into(), "never".into()])
            .unwrap();
        assert_eq!(next.find("site-1.localhost").unwrap().route, changed);
        assert!(next.find("new.localhost").is_some() && next.find("site-2.localhost").is_none());
        assert!(hosts.iter().all(|h| table.find(h).is_some()), "the old table is as it was");
        assert_ne!(table.find("site-1.localhost").unwrap().route, changed);
        assert_eq!(next.snapshot().routes.len(), 1000);
        assert_eq!(Table::from(next.snapshot()).snapshot(), next.snapshot());
    }

    #[test]
    fn a_host_that_is_removed_and_added_at_once_is_added() {
        let table = Table::from(Snapshot { version: 1, routes: vec![route("a.localhost")] });
        let next = table.next(2, vec![route("a.localhost")], &["a.localhost".into()]).unwrap();
        assert!(next.find("a.localhost").is_some());
    }

    #[test]
    fn a_delta_out_of_order_is_refused() {
        let table = Table::from(Snapshot { version: 7, routes: Vec::new() });
        for version in [0, 6, 7, 9] {
            assert_eq!(table.next(version, Vec::new(), &[]).err(), Some(Gap { current: 7, version }));
        }
    }
}

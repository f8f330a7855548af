//! The route table: immutable, replaced whole, read without a lock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::certificate::{CertificateRef, Challenge, TicketKey};
use common::policy::Policy;
use common::route::{Change, FeedMessage, Part, Route, Snapshot, parts};
use tokio::sync::watch;

mod entry;
pub(crate) mod last_good;
mod sharded;

pub(crate) use entry::Entry;
use sharded::Sharded;

/// Certificates' ids by name.
pub(crate) type Certificates = Sharded<Arc<str>>;

/// Everything that the control plane tells, at one version.
#[derive(Clone)]
pub(crate) struct Table {
    version: u64,
    /// Whether the control plane ever told the routes, in this life or an earlier one.
    known: bool,
    routes: Sharded<Arc<Entry>>,
    /// Certificates' ids by name.
    certificates: Certificates,
    challenges: Arc<[Challenge]>,
    ticket_keys: Arc<[TicketKey]>,
}

/// Id of the certificate for a host in lower case: the host's own, or that of its wildcard.
pub(crate) fn certificate<'a>(by_name: &'a Certificates, host: &str) -> Option<&'a Arc<str>> {
    by_name.get(host).or_else(|| by_name.get(&wildcard(host)?))
}

/// The wildcard that covers a host: `*.example.com` for `shop.example.com`.
fn wildcard(host: &str) -> Option<String> {
    let (_, domain) = host.split_once('.')?;
    Some(["*.", domain].concat())
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
        Self {
            version: 0,
            known: false,
            routes: Sharded::new(),
            certificates: Sharded::new(),
            challenges: Arc::default(),
            ticket_keys: Arc::default(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Number of hosts.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(crate) fn is_known(&self) -> bool {
        self.known
    }

    /// The route of a host in lower case: its own, or that of the wildcard right above it.
    pub(crate) fn find(&self, host: &str) -> Option<Cow<'_, Arc<Entry>>> {
        if let Some(entry) = self.routes.get(host) {
            return Some(Cow::Borrowed(entry));
        }
        Some(Cow::Owned(self.routes.get(&wildcard(host)?)?.below(host)))
    }

    /// Id of the certificate for a host in lower case: the host's own, or that of its wildcard.
    pub(crate) fn certificate(&self, host: &str) -> Option<&Arc<str>> {
        certificate(&self.certificates, host)
    }

    /// Certificates' ids by name.
    pub(crate) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Proofs of control that are asked for now.
    pub(crate) fn challenges(&self) -> &Arc<[Challenge]> {
        &self.challenges
    }

    /// Keys of session tickets.
    pub(crate) fn ticket_keys(&self) -> &Arc<[TicketKey]> {
        &self.ticket_keys
    }

    /// The table that follows this one.
    pub(crate) fn next(&self, version: u64, change: Change) -> Result<Self, Gap> {
        if version.checked_sub(1) != Some(self.version) {
            return Err(Gap { current: self.version, version });
        }
        let mut next = Self { version, ..self.clone() };
        for host in &change.remove {
            next.routes.remove(host);
        }
        for name in &change.certificates_removed {
            next.certificates.remove(name);
        }
        let mut building = Building { table: next, before: self, shared: HashMap::new() };
        building.add(Part { routes: change.upsert, certificates: change.certificates });
        let mut next = building.table;
        if let Some(challenges) = change.challenges {
            next.challenges = challenges.into();
        }
        if let Some(keys) = change.ticket_keys {
            next.ticket_keys = keys.into();
        }
        Ok(next)
    }

    /// The messages that would tell it: without what is only good for a moment, or kept elsewhere because it is secret.
    pub(crate) fn messages(&self) -> impl Iterator<Item = FeedMessage> {
        let certificate =
            |(name, id): (&Arc<str>, &Arc<str>)| CertificateRef { name: name.to_string(), id: id.to_string() };
        let routes = self.routes.iter().map(|(_, entry)| entry.route.clone());
        let rest = Snapshot { version: self.version, ..Snapshot::default() };
        parts(routes, self.certificates.iter().map(certificate)).chain(std::iter::once(FeedMessage::Snapshot(rest)))
    }
}

/// A table that is being told, part by part.
///
/// What is as it was in the table before stays the same object: its memory is not taken twice, and what was learned of
/// its app is not forgotten.
pub(crate) struct Building<B> {
    table: Table,
    before: B,
    /// Each project's name and its last policy, once for all of its hosts.
    shared: HashMap<Arc<str>, Arc<Policy>>,
}

impl<B: Deref<Target = Table>> Building<B> {
    /// Begins a table that takes the place of another.
    pub(crate) fn after(before: B) -> Self {
        Self { table: Table::unknown(), before, shared: HashMap::new() }
    }

    /// Takes some routes and certificates.
    pub(crate) fn add(&mut self, part: Part) {
        for route in part.routes {
            let entry = match self.before.routes.get(&route.host) {
                Some(known) if known.route == route => Arc::clone(known),
                _ => Arc::new(self.share(route).into()),
            };
            self.table.routes.insert(Arc::clone(&entry.route.host), entry);
        }
        for CertificateRef { name, id } in part.certificates {
            let name = self.table.routes.get(&name).map_or_else(|| name.into(), |entry| Arc::clone(&entry.route.host));
            let known = self.before.certificates.get(&name).filter(|known| ***known == *id).cloned();
            self.table.certificates.insert(name, known.unwrap_or_else(|| id.into()));
        }
    }

    fn share(&mut self, mut route: Route) -> Route {
        if let Some((project, policy)) = self.shared.get_key_value(&route.project) {
            route.project = Arc::clone(project);
            if *policy == route.policy {
                route.policy = Arc::clone(policy);
                return route;
            }
        }
        self.shared.insert(Arc::clone(&route.project), Arc::clone(&route.policy));
        route
    }

    /// The table, when the last part has come.
    pub(crate) fn finish(mut self, snapshot: Snapshot) -> Table {
        self.add(Part { routes: snapshot.routes, certificates: snapshot.certificates });
        Table {
            version: snapshot.version,
            known: true,
            challenges: snapshot.challenges.into(),
            ticket_keys: snapshot.ticket_keys.into(),
            ..self.table
        }
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
    use common::policy::Compression;
    use common::route::{Target, default_policy};

    impl From<Snapshot> for Table {
        fn from(snapshot: Snapshot) -> Self {
            Building::after(&Self::unknown()).finish(snapshot)
        }
    }

    impl Table {
        /// All that is kept of it, in order.
        pub(crate) fn snapshot(&self) -> Snapshot {
            let mut all = Snapshot::default();
            for message in self.messages() {
                match message {
                    FeedMessage::Part(part) => {
                        all.routes.extend(part.routes);
                        all.certificates.extend(part.certificates);
                    }
                    FeedMessage::Snapshot(rest) => all.version = rest.version,
                    FeedMessage::Delta { .. } => unreachable!("a table is no change"),
                }
            }
            all.routes.sort_by(|a, b| a.host.cmp(&b.host));
            all.certificates.sort_by(|a, b| a.name.cmp(&b.name));
            all
        }
    }

    fn snapshot(version: u64, routes: Vec<Route>) -> Snapshot {
        Snapshot { version, routes, ..Snapshot::default() }
    }

    fn route(host: &str) -> Route {
        Route {
            host: host.into(),
            project: "p".into(),
            deployment: DeploymentId::new(),
            production: true,
            target: Target::Static { earlier: Vec::new() },
            policy: default_policy(),
        }
    }

    #[test]
    fn a_snapshot_and_its_deltas_make_the_table() {
        let hosts: Vec<String> = (0..1000).map(|i| format!("site-{i}.localhost")).collect();
        let table = Table::from(snapshot(7, hosts.iter().map(|h| route(h)).collect()));
        let changed = route("site-1.localhost");
        let change = Change {
            upsert: vec![changed.clone(), route("new.localhost")],
            remove: vec!["site-2.localhost".into(), "never".into()],
            ..Change::default()
        };
        let next = table.next(8, change).unwrap();
        assert_eq!(next.find("site-1.localhost").unwrap().route, changed);
        assert!(next.find("new.localhost").is_some() && next.find("site-2.localhost").is_none());
        assert!(hosts.iter().all(|h| table.find(h).is_some()), "the old table is as it was");
        assert_ne!(table.find("site-1.localhost").unwrap().route, changed);
        assert_eq!(next.snapshot().routes.len(), 1000);
        assert_eq!(Table::from(next.snapshot()).snapshot(), next.snapshot());
    }

    #[test]
    fn a_snapshot_that_says_the_same_again_keeps_every_entry() {
        let routes: Vec<Route> = ["a.example", "b.example", "c.example"].map(route).into();
        let table = Table::from(snapshot(7, routes.clone()));
        let mut told = routes;
        told[2].production = false;
        let mut building = Building::after(&table);
        building.add(Part { routes: told.drain(..1).collect(), ..Part::default() });
        let next = building.finish(snapshot(9, told));
        let same = |host| Arc::ptr_eq(&table.find(host).unwrap(), &next.find(host).unwrap());
        assert_eq!(["a.example", "b.example", "c.example"].map(same), [true, true, false]);
        assert_eq!((next.version(), next.len()), (9, 3));
    }

    #[test]
    fn hosts_of_a_project_share_its_name_and_its_policy() {
        let policy = || Arc::new(Policy { compression: Compression::Off, ..Policy::default() });
        let routes = ["a.example", "b.example"].map(|host| Route { policy: policy(), ..route(host) });
        let table = Table::from(snapshot(1, routes.into()));
        let [a, b] = ["a.example", "b.example"].map(|host| table.find(host).unwrap().route.clone());
        assert!(Arc::ptr_eq(&a.policy, &b.policy) && Arc::ptr_eq(&a.project, &b.project));
    }

    #[test]
    fn a_host_that_is_removed_and_added_at_once_is_added() {
        let table = Table::from(snapshot(1, vec![route("a.localhost")]));
        let change =
            Change { upsert: vec![route("a.localhost")], remove: vec!["a.localhost".into()], ..Change::default() };
        let next = table.next(2, change).unwrap();
        assert!(next.find("a.localhost").is_some());
    }

    #[test]
    fn a_host_without_a_route_of_its_own_has_that_of_the_wildcard_right_above_it() {
        let table = Table::from(snapshot(1, ["*.example.com", "shop.example.com"].map(route).into()));
        let found = |host: &str| table.find(host).map(|entry| entry.route.deployment.clone());
        let [wild, shop] = ["*.example.com", "shop.example.com"]
            .map(|name| table.routes.get(name).map(|entry| entry.route.deployment.clone()));
        for (host, expected) in [
            ("shop.example.com", &shop),
            ("blog.example.com", &wild),
            ("a.blog.example.com", &None),
            ("example.com", &None),
            ("*.example.com", &wild),
            ("*.a.example.com", &None),
            ("com", &None),
            ("", &None),
        ] {
            assert_eq!(&found(host), expected, "{host}");
        }
        let blog = table.find("blog.example.com").unwrap();
        assert_eq!(&*blog.route.host, "blog.example.com", "what is kept for it is not another host's");
        assert!(Arc::ptr_eq(&blog, &table.find("blog.example.com").unwrap()), "what was made of it is kept");
        let next = table.next(2, Change { remove: vec!["*.example.com".into()], ..Change::default() }).unwrap();
        assert!(next.find("blog.example.com").is_none());
    }

    #[test]
    fn a_delta_out_of_order_is_refused() {
        let table = Table::from(snapshot(7, Vec::new()));
        for version in [0, 6, 7, 9] {
            assert_eq!(table.next(version, Change::default()).err(), Some(Gap { current: 7, version }));
        }
    }
    #[test]
    fn a_hosts_own_certificate_comes_before_its_wildcards() {
        let named = |name: &str, id: &str| CertificateRef { name: name.to_owned(), id: id.to_owned() };
        let certificates = vec![named("*.example.com", "wild"), named("shop.example.com", "shop")];
        let table = Table::from(Snapshot { version: 1, certificates, ..Snapshot::default() });
        let id = |table: &Table, host: &str| table.certificate(host).map(|id| id.to_string());
        for (host, expected) in [
            ("shop.example.com", Some("shop")),
            ("blog.example.com", Some("wild")),
            ("a.blog.example.com", None),
            ("example.com", None),
            ("com", None),
            ("", None),
        ] {
            assert_eq!(id(&table, host).as_deref(), expected, "{host}");
        }
        let change = Change {
            certificates: vec![named("shop.example.com", "renewed")],
            certificates_removed: vec!["*.example.com".into()],
            ..Change::default()
        };
        let next = table.next(2, change).unwrap();
        assert_eq!(id(&next, "shop.example.com").as_deref(), Some("renewed"));
        assert_eq!(id(&next, "blog.example.com"), None);
        assert_eq!(Table::from(next.snapshot()).snapshot(), next.snapshot());
    }
}

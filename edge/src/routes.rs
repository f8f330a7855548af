//! The route table: immutable, replaced whole, read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use balance::Upstreams;
use common::certificate::{CertificateRef, Challenge, TicketKey};
use common::policy::{Access, Hsts, Limits};
use common::route::{Change, Route, Snapshot};
use guard::Compiled;
use http::HeaderValue;
use tokio::sync::watch;

use crate::wishes::Pace;

pub(crate) mod last_good;
mod sharded;

use sharded::Sharded;

/// Entries that were made so far.
static ENTRIES: AtomicU64 = AtomicU64::new(0);

/// A route, with what every answer needs of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) route: Route,
    /// The deployment's id as a header carries it.
    pub(crate) deployment: Option<HeaderValue>,
    /// When the control plane was last told that visitors ask for it.
    pub(crate) wished: Pace,
    /// Unlike that of any other entry of this process: what is kept under it ends with the entry.
    pub(crate) serial: u64,
    is_plain: bool,
    /// The app's instances, once somebody has asked for it.
    pub(crate) upstreams: OnceLock<Arc<Upstreams>>,
    /// `Strict-Transport-Security`, where the project wishes it. Boxed, because there are many entries and few such.
    pub(crate) hsts: Option<Box<HeaderValue>>,
    /// What the guard makes of the policy, once somebody has asked.
    pub(crate) guard: OnceLock<Compiled>,
}

impl Entry {
    /// Whether nothing needs to be decided for each request anew: nobody is refused, limited or asked for a password.
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }
}

impl From<Route> for Entry {
    fn from(route: Route) -> Self {
        // An id is letters, digits and an underscore, so it always is a header's value.
        let deployment = HeaderValue::from_str(route.deployment.as_str()).ok();
        let policy = &route.policy;
        let is_plain = policy.protection.is_empty()
            && policy.rules.is_empty()
            && policy.access == Access::default()
            && policy.limits == Limits::default();
        let hsts = policy.https.hsts.and_then(|hsts| HeaderValue::try_from(told(hsts)).ok()).map(Box::new);
        let serial = ENTRIES.fetch_add(1, Ordering::Relaxed);
        Self {
            route,
            deployment,
            wished: Pace::default(),
            serial,
            is_plain,
            upstreams: OnceLock::new(),
            hsts,
            guard: OnceLock::new(),
        }
    }
}

/// The value of `Strict-Transport-Security`.
fn told(hsts: Hsts) -> String {
    let with = |flag: bool, text: &'static str| if flag { text } else { "" };
    let (below, preload) = (with(hsts.include_subdomains, "; includeSubDomains"), with(hsts.preload, "; preload"));
    format!("max-age={}{below}{preload}", hsts.max_age_s)
}

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
    by_name.get(host).or_else(|| {
        let (_, domain) = host.split_once('.')?;
        by_name.get(&["*.", domain].concat())
    })
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

    /// The route of a host in lower case.
    pub(crate) fn find(&self, host: &str) -> Option<&Arc<Entry>> {
        self.routes.get(host)
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

    fn add(&mut self, routes: Vec<Route>, certificates: Vec<CertificateRef>) {
        for route in routes {
            let host = route.host.clone();
            self.routes.insert(&host, Arc::new(route.into()));
        }
        for certificate in certificates {
            self.certificates.insert(&certificate.name, certificate.id.into());
        }
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
        next.add(change.upsert, change.certificates);
        if let Some(challenges) = change.challenges {
            next.challenges = challenges.into();
        }
        if let Some(keys) = change.ticket_keys {
            next.ticket_keys = keys.into();
        }
        Ok(next)
    }

    /// The table as it is stored: without what is only good for a moment, or kept elsewhere because it is secret.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut routes: Vec<Route> = self.routes.iter().map(|(_, entry)| entry.route.clone()).collect();
        routes.sort_by(|a, b| a.host.cmp(&b.host));
        let as_told = |(name, id): (&str, &Arc<str>)| CertificateRef { name: name.to_owned(), id: id.to_string() };
        let mut certificates: Vec<CertificateRef> = self.certificates.iter().map(as_told).collect();
        certificates.sort_by(|a, b| a.name.cmp(&b.name));
        Snapshot { version: self.version, routes, certificates, ..Snapshot::default() }
    }
}

impl From<Snapshot> for Table {
    fn from(snapshot: Snapshot) -> Self {
        let mut table = Self {
            version: snapshot.version,
            known: true,
            challenges: snapshot.challenges.into(),
            ticket_keys: snapshot.ticket_keys.into(),
            ..Self::unknown()
        };
        table.add(snapshot.routes, snapshot.certificates);
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
    use common::route::{Target, default_policy};

    fn snapshot(version: u64, routes: Vec<Route>) -> Snapshot {
        Snapshot { version, routes, ..Snapshot::default() }
    }

    fn route(host: &str) -> Route {
        Route {
            host: host.to_owned(),
            project: "p".to_owned(),
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
    fn a_host_that_is_removed_and_added_at_once_is_added() {
        let table = Table::from(snapshot(1, vec![route("a.localhost")]));
        let change =
            Change { upsert: vec![route("a.localhost")], remove: vec!["a.localhost".into()], ..Change::default() };
        let next = table.next(2, change).unwrap();
        assert!(next.find("a.localhost").is_some());
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

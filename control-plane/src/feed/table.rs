//! Everything that edges are told, as it is now.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use common::certificate::{CertificateRef, Challenge, TicketKey};
use common::id::ProjectId;
use common::route::{Change, Route, Snapshot};

/// Everything that edges are told, at one version.
#[derive(Default)]
pub(super) struct Table {
    pub(super) version: u64,
    /// Routes by project, then host.
    projects: HashMap<ProjectId, BTreeMap<String, Route>>,
    /// The version with which each project's routes came to be as they are; none for those that are as they were
    /// loaded.
    told: HashMap<ProjectId, u64>,
    /// Certificates of ACME authorities, by name.
    issued: HashMap<String, String>,
    /// The development authority's, of hosts that have no other.
    development: Certificates,
    challenges: Vec<Challenge>,
    /// Versions from which on challenges up to a change are told, oldest first.
    marks: VecDeque<(u64, i64)>,
    /// Versions from which on routes up to a change are told, oldest first.
    routes: VecDeque<(u64, i64)>,
    pub(super) ticket_keys: Vec<TicketKey>,
}

/// Marks that are kept: an edge that is further behind has not applied any of them.
const MARKS: usize = 64;

/// Which certificate each host has, found from both sides.
#[derive(Default)]
struct Certificates {
    ids: HashMap<String, String>,
    hosts: HashMap<String, String>,
}

impl Certificates {
    /// Whether this is news.
    fn set(&mut self, host: &str, id: &str) -> bool {
        let before = self.ids.insert(host.to_owned(), id.to_owned());
        if before.as_deref() == Some(id) {
            return false;
        }
        if let Some(before) = before {
            self.hosts.remove(&before);
        }
        self.hosts.insert(id.to_owned(), host.to_owned());
        true
    }

    fn remove(&mut self, host: &str) -> bool {
        self.ids.remove(host).is_some_and(|id| self.hosts.remove(&id).is_some())
    }
}

impl Table {
    pub(super) fn snapshot(&self) -> Snapshot {
        let certificate = |(name, id): (&String, &String)| CertificateRef { name: name.clone(), id: id.clone() };
        Snapshot {
            version: self.version,
            routes: self.projects.values().flat_map(|routes| routes.values().cloned()).collect(),
            certificates: self.issued.iter().chain(&self.development.ids).map(certificate).collect(),
            challenges: self.challenges.clone(),
            ticket_keys: self.ticket_keys.clone(),
        }
    }

    /// Replaces a project's routes. Each host has the certificate that `id` names, when it names one.
    pub(super) fn replace(
        &mut self,
        project: &ProjectId,
        new: BTreeMap<String, Route>,
        id: impl Fn(&str) -> Option<String>,
    ) -> Change {
        let old = self.projects.remove(project).unwrap_or_default();
        let mut change = Change {
            upsert: new.values().filter(|route| old.get(&*route.host) != Some(route)).cloned().collect(),
            remove: old.keys().filter(|host| !new.contains_key(*host)).cloned().collect(),
            ..Change::default()
        };
        let gone = change.remove.iter().filter(|host| self.development.remove(host));
        change.certificates_removed = gone.cloned().collect();
        for host in new.keys().filter(|host| !old.contains_key(*host)) {
            change.certificates.extend(self.certify(host, &id));
        }
        if !new.is_empty() {
            self.projects.insert(project.clone(), new);
        }
        change
    }

    /// Gives a host the development authority's certificate that `id` names, if it needs one; something when it had
    /// another one.
    fn certify(&mut self, host: &str, id: impl Fn(&str) -> Option<String>) -> Option<CertificateRef> {
        if self.is_issued_for(host) {
            return None;
        }
        let id = id(host)?;
        self.development.set(host, &id).then(|| CertificateRef { name: host.to_owned(), id })
    }

    /// Whether a host has a certificate of an ACME authority, its own or a wildcard's.
    fn is_issued_for(&self, host: &str) -> bool {
        self.issued.contains_key(host) || wildcard_of(host).is_some_and(|name| self.issued.contains_key(&name))
    }

    /// Gives every host the certificate that `id` names, unless an ACME authority's counts; those that had another one.
    pub(super) fn certify_all(&mut self, id: impl Fn(&str) -> Option<String>) -> Vec<CertificateRef> {
        let hosts: Vec<String> = self.projects.values().flat_map(BTreeMap::keys).cloned().collect();
        hosts.into_iter().filter_map(|host| self.certify(&host, &id)).collect()
    }

    /// Gives names other certificates of ACME authorities, or none. Hosts that lose theirs have the one that `id` names,
    /// and hosts that need it no longer lose that.
    pub(super) fn issue(
        &mut self,
        news: impl IntoIterator<Item = (String, Option<String>)>,
        id: impl Fn(&str) -> Option<String>,
    ) -> Change {
        let mut before: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (name, certificate) in news {
            let mut touched = BTreeSet::from([name.clone()]);
            if name.starts_with("*.") && self.issued.contains_key(&name) != certificate.is_some() {
                let hosts = self.projects.values().flat_map(BTreeMap::keys);
                touched.extend(hosts.filter(|host| wildcard_of(host).as_ref() == Some(&name)).cloned());
            }
            for host in touched {
                before.entry(host).or_insert_with_key(|host| self.certificate_of(host).cloned());
            }
            match certificate {
                Some(certificate) => self.issued.insert(name, certificate),
                None => self.issued.remove(&name),
            };
        }
        let mut change = Change::default();
        for (name, before) in before {
            if self.is_issued_for(&name) {
                self.development.remove(&name);
            } else if self.projects.values().any(|routes| routes.contains_key(&name)) {
                self.certify(&name, &id);
            }
            match self.certificate_of(&name) {
                now if now == before.as_ref() => {}
                Some(id) => change.certificates.push(CertificateRef { id: id.clone(), name }),
                None => change.certificates_removed.push(name),
            }
        }
        change
    }

    /// The certificate that a name itself has.
    fn certificate_of(&self, name: &str) -> Option<&String> {
        self.issued.get(name).or_else(|| self.development.ids.get(name))
    }

    /// The certificate that edges serve for a name: its own, or a wildcard's.
    pub(super) fn served_for(&self, name: &str) -> Option<&String> {
        let wildcard = || self.issued.get(&wildcard_of(name)?);
        self.issued.get(name).or_else(wildcard).or_else(|| self.development.ids.get(name))
    }

    /// The challenges are these from now on; something when that is news.
    pub(super) fn challenge(&mut self, challenges: Vec<Challenge>) -> Option<Vec<Challenge>> {
        if self.challenges == challenges {
            return None;
        }
        self.challenges.clone_from(&challenges);
        Some(challenges)
    }

    /// Notes that from this version on challenges up to a change are told.
    pub(super) fn mark_challenges(&mut self, change: i64) {
        if self.marks.len() == MARKS {
            self.marks.pop_front();
        }
        self.marks.push_back((self.version, change));
    }

    /// The change up to which an edge shows all challenges that has applied a version.
    pub(super) fn challenges_at(&self, version: u64) -> Option<i64> {
        at(&self.marks, version)
    }

    /// Notes that from this version on routes up to a change are told.
    pub(super) fn mark_routes(&mut self, change: i64) {
        if self.routes.len() == MARKS {
            self.routes.pop_front();
        }
        self.routes.push_back((self.version, change));
    }

    /// The change up to which an edge has all routes that has applied a version.
    pub(super) fn routes_at(&self, version: u64) -> Option<i64> {
        at(&self.routes, version)
    }

    /// A version that has all routes up to a change.
    pub(super) fn version_with(&self, change: i64) -> u64 {
        self.routes.iter().find(|(_, told)| *told >= change).map_or(self.version, |(from, _)| *from)
    }

    /// The host that a certificate of the development authority is for now.
    pub(super) fn host_of(&self, certificate: &str) -> Option<&str> {
        self.development.hosts.get(certificate).map(String::as_str)
    }

    /// Every project that has routes.
    pub(super) fn projects(&self) -> impl Iterator<Item = &ProjectId> {
        self.projects.keys()
    }

    /// A project's routes are as they are since this version.
    pub(super) fn set_told(&mut self, project: &ProjectId, version: u64) {
        if self.projects.contains_key(project) {
            self.told.insert(project.clone(), version);
        } else {
            self.told.remove(project);
        }
    }

    /// The version that has a project's routes as they are.
    pub(super) fn told(&self, project: &ProjectId) -> u64 {
        self.told.get(project).copied().unwrap_or(self.version)
    }

    /// Hosts of a project.
    pub(super) fn hosts(&self, project: &ProjectId) -> impl Iterator<Item = &String> {
        self.projects.get(project).into_iter().flat_map(BTreeMap::keys)
    }
}

/// The last mark that a version has.
fn at(marks: &VecDeque<(u64, i64)>, version: u64) -> Option<i64> {
    marks.iter().rev().find(|(from, _)| *from <= version).map(|(_, change)| *change)
}

/// Two changes that follow one another as one. What the first removes, the second may add again.
pub(super) fn joined(mut first: Change, second: Change) -> Change {
    first.upsert.extend(second.upsert);
    first.remove.extend(second.remove);
    first.certificates.extend(second.certificates);
    first.certificates_removed.extend(second.certificates_removed);
    first
}

/// The wildcard that covers a host (RFC 6125 section 6.4.3).
fn wildcard_of(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

#[cfg(test)]
mod tests {
    use common::id::DeploymentId;
    use common::route::{Target, default_policy};

    use super::*;

    fn routes(hosts: &[&str]) -> BTreeMap<String, Route> {
        let route = |host: &&str| {
            let target = Target::Static { earlier: Vec::new() };
            let deployment =
                "dpl_01arz3ndektsv4rrffq69g5fav".parse::<DeploymentId>().unwrap_or_else(|_| unreachable!());
            let project = "p".into();
            let host = (*host).to_owned();
            (
                host.clone(),
                Route { host: host.into(), project, deployment, production: true, target, policy: default_policy() },
            )
        };
        hosts.iter().map(route).collect()
    }

    #[test]
    fn a_host_has_a_certificate_as_long_as_it_has_a_route() {
        let mut table = Table::default();
        let project = ProjectId::new();
        let first = |host: &str| Some(format!("{host}-1"));
        let change = table.replace(&project, routes(&["a", "b"]), first);
        assert_eq!((change.upsert.len(), change.certificates.len()), (2, 2));
        assert_eq!(table.host_of("a-1"), Some("a"));
        let change = table.replace(&project, routes(&["a", "c"]), first);
        assert_eq!(change.upsert.len(), 1);
        assert_eq!(change.certificates, [CertificateRef { name: "c".into(), id: "c-1".into() }]);
        assert_eq!((change.remove, change.certificates_removed), (vec!["b".to_owned()], vec!["b".to_owned()]));
        assert_eq!(table.host_of("b-1"), None);
        assert!(table.certify_all(first).is_empty());
        let renewed = table.certify_all(|host| (host == "a").then(|| "a-2".to_owned()));
        assert_eq!(renewed, [CertificateRef { name: "a".into(), id: "a-2".into() }]);
        assert_eq!((table.host_of("a-1"), table.host_of("a-2")), (None, Some("a")));
        assert_eq!(table.snapshot().certificates.len(), 2);
    }
    fn reference(name: &str, id: &str) -> CertificateRef {
        CertificateRef { name: name.into(), id: id.into() }
    }

    #[test]
    fn an_authoritys_certificate_takes_the_place_of_the_development_authoritys_and_gives_it_back() {
        let mut table = Table::default();
        let own = |host: &str| Some(format!("{host}-own"));
        table.replace(&ProjectId::new(), routes(&["a.example", "b.example"]), own);
        let issue = |table: &mut Table, name: &str, id: Option<&str>| {
            table.issue([(name.to_owned(), id.map(str::to_owned))], own)
        };
        let change = issue(&mut table, "a.example", Some("1"));
        assert_eq!((change.certificates, change.certificates_removed), (vec![reference("a.example", "1")], vec![]));
        assert_eq!(table.host_of("a.example-own"), None, "it is not given out any more");
        assert_eq!(issue(&mut table, "a.example", Some("1")), Change::default());
        assert!(table.certify_all(|host| Some(format!("{host}-new"))).iter().all(|c| c.name == "b.example"));
        let change = issue(&mut table, "a.example", None);
        assert_eq!(change.certificates, [reference("a.example", "a.example-own")]);
        // One for a host without a route.
        assert_eq!(issue(&mut table, "c.example", Some("3")).certificates, [reference("c.example", "3")]);
        assert_eq!(issue(&mut table, "c.example", None).certificates_removed, ["c.example"]);
        assert_eq!(issue(&mut table, "c.example", None), Change::default());
    }

    #[test]
    fn a_wildcard_stands_for_the_hosts_right_below_it_that_have_none_of_their_own() {
        let mut table = Table::default();
        let own = |host: &str| Some(format!("{host}-own"));
        let project = ProjectId::new();
        let hosts = ["a.example", "b.example", "x.a.example", "example"];
        table.replace(&project, routes(&hosts), own);
        table.issue([("b.example".to_owned(), Some("b".to_owned()))], own);
        let change = table.issue([("*.example".to_owned(), Some("w".to_owned()))], own);
        assert_eq!(change.certificates, [reference("*.example", "w")]);
        assert_eq!(change.certificates_removed, ["a.example"]);
        // A new host below it needs none of its own.
        let change = table.replace(&ProjectId::new(), routes(&["d.example"]), own);
        assert_eq!((change.upsert.len(), change.certificates), (1, vec![]));
        // Renewed, only it changes.
        let change = table.issue([("*.example".to_owned(), Some("v".to_owned()))], own);
        assert_eq!((change.certificates, change.certificates_removed), (vec![reference("*.example", "v")], vec![]));
        let change = table.issue([("*.example".to_owned(), None)], own);
        assert_eq!(change.certificates_removed, ["*.example"]);
        let names: Vec<_> = change.certificates.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["a.example", "d.example"]);
    }

    #[test]
    fn an_edge_shows_the_challenges_of_the_version_that_it_applied() {
        let mut table = Table { version: 5, ..Table::default() };
        assert_eq!(table.challenges_at(5), None);
        table.mark_challenges(7);
        table.version = 9;
        table.mark_challenges(8);
        assert_eq!([4, 5, 8, 9, 10].map(|v| table.challenges_at(v)), [None, Some(7), Some(7), Some(8), Some(8)]);
        for change in 0..MARKS {
            table.mark_challenges(100 + i64::try_from(change).unwrap_or(0));
        }
        assert_eq!(table.challenges_at(5), None, "one that is far behind is not known to show any");
    }
}

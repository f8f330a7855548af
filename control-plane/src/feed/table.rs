//! Everything that edges are told, as it is now.

use std::collections::{BTreeMap, HashMap};

use common::certificate::{CertificateRef, Challenge, TicketKey};
use common::id::ProjectId;
use common::route::{Change, Route, Snapshot};

/// Everything that edges are told, at one version.
#[derive(Default)]
pub(super) struct Table {
    pub(super) version: u64,
    /// A version that was taken and not used.
    pub(super) spare_version: Option<u64>,
    /// Routes by project, then host.
    projects: HashMap<ProjectId, BTreeMap<String, Route>>,
    certificates: Certificates,
    pub(super) challenges: Vec<Challenge>,
    pub(super) ticket_keys: Vec<TicketKey>,
}

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
            certificates: self.certificates.ids.iter().map(certificate).collect(),
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
        change.certificates_removed =
            change.remove.iter().filter(|host| self.certificates.remove(host)).cloned().collect();
        for host in new.keys().filter(|host| !old.contains_key(*host)) {
            change.certificates.extend(self.certify(host, id(host)));
        }
        if !new.is_empty() {
            self.projects.insert(project.clone(), new);
        }
        change
    }

    /// Gives a host a certificate; something when it had another one.
    fn certify(&mut self, host: &str, id: Option<String>) -> Option<CertificateRef> {
        let id = id?;
        self.certificates.set(host, &id).then(|| CertificateRef { name: host.to_owned(), id })
    }

    /// Gives every host the certificate that `id` names; those that had another one.
    pub(super) fn certify_all(&mut self, id: impl Fn(&str) -> Option<String>) -> Vec<CertificateRef> {
        let hosts: Vec<String> = self.projects.values().flat_map(BTreeMap::keys).cloned().collect();
        hosts.into_iter().filter_map(|host| self.certify(&host, id(&host))).collect()
    }

    /// The host that a certificate is for now.
    pub(super) fn host_of(&self, certificate: &str) -> Option<&str> {
        self.certificates.hosts.get(certificate).map(String::as_str)
    }

    /// Every project that has routes.
    pub(super) fn projects(&self) -> impl Iterator<Item = &ProjectId> {
        self.projects.keys()
    }

    /// Hosts of a project.
    pub(super) fn hosts(&self, project: &ProjectId) -> impl Iterator<Item = &String> {
        self.projects.get(project).into_iter().flat_map(BTreeMap::keys)
    }
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
}

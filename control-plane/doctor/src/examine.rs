//! An examination from the name to the report.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use jiff::{Timestamp, fmt::serde::unsigned_duration::friendly::compact::required as span};
use lookup::{Lookup, Name, address::is_public, settings::ServerAddress};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;
use url::Url;

use crate::{
    expected::Expected,
    host::Host,
    judge,
    observation::{Observation, text},
    observe::{Directories, Json, Registry, Web, look},
    provider,
    report::{Finding, Health, Report},
};

/// IANA's list of RDAP services (RFC 9224 3).
const RDAP: &str = "https://data.iana.org/rdap/dns.json";
/// Examinations at once; each may cost some hundred queries and a dozen connections. More of them wait.
const PATIENTS_MAX: usize = 16;
/// Addresses of a name that are visited.
pub(crate) const VISITS_MAX: usize = 6;

/// How the doctor looks at things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Resolvers that are asked what visitors still get.
    pub resolvers: Vec<ServerAddress>,
    /// Where the list of registries' RDAP services is (RFC 9224): IANA's.
    pub rdap: String,
    /// How long a registry may take, and an authority to show its directory.
    #[serde(with = "span")]
    pub service_timeout: Duration,
    /// How long an address may take for each step: to connect, to shake hands, to answer.
    #[serde(with = "span")]
    pub visit_timeout: Duration,
    /// Networks that may be visited although they are not of the public Internet; the edges' own addresses may anyway.
    pub inner: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        let resolver = |address: [u8; 4]| ServerAddress((address, 53).into());
        Self {
            resolvers: vec![resolver([1, 1, 1, 1]), resolver([8, 8, 8, 8])],
            rdap: RDAP.to_owned(),
            service_timeout: Duration::from_secs(5),
            visit_timeout: Duration::from_secs(5),
            inner: Vec::new(),
        }
    }
}

/// Where visitors come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For HTTP.
    pub http: u16,
    /// For HTTPS.
    pub https: u16,
}

/// Why there can be no doctor.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The authorities that this machine trusts cannot be read.
    #[error("the certificate authorities that this machine trusts cannot be read ({0}): install ca-certificates")]
    Roots(#[from] rustls::Error),
    /// There is no HTTP client to be had.
    #[error("the client for RDAP cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The list of RDAP services has no address.
    #[error("\"{0}\" is no address of a list of RDAP services ({1}): IANA's is {RDAP}")]
    Services(String, url::ParseError),
}

/// Examines domains.
pub struct Doctor {
    lookup: Lookup,
    registry: Registry,
    directories: Directories,
    pub(crate) web: Web,
    settings: Settings,
    patients: Semaphore,
}

impl Doctor {
    /// `roots` are certificate authorities to trust beside those of the machine: the development CA.
    ///
    /// # Errors
    /// When the machine has no certificate authorities, or one of `roots` is none.
    pub fn new(
        lookup: Lookup,
        settings: Settings,
        ports: Ports,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, SetupError> {
        let services =
            Url::parse(&settings.rdap).map_err(|error| SetupError::Services(settings.rdap.clone(), error))?;
        let json = Json::new(settings.service_timeout)?;
        Ok(Self {
            lookup,
            registry: Registry::new(services, json.clone()),
            directories: Directories::new(json),
            web: Web::new(roots, settings.visit_timeout, ports)?,
            settings,
            patients: Semaphore::new(PATIENTS_MAX),
        })
    }

    /// Looks at a domain and says what is wrong with it. It takes as long as the slowest server is given time.
    pub async fn examine(&self, host: &str, expected: &Expected) -> Report {
        // It is never closed, so nobody is let in without waiting.
        let _turn = self.patients.acquire().await;
        let (host, mut findings) = match Host::read(host) {
            Ok(read) => read,
            Err(finding) => return refused(host, finding),
        };
        let (Some(name), Some(base)) = (host.dns(), Name::from_ascii(format!("{}.", host.base)).ok()) else {
            return report(&host, None, findings);
        };
        let authorities = self.directories.complete(&expected.authorities).await;
        let expected = &Expected { authorities, ..expected.clone() };
        let mut seen = Box::pin(look(&self.lookup, &name, &base, expected, &self.settings.resolvers)).await;
        if judge::doubtful(&host, &seen) {
            seen.registration = Some(self.registry.ask(&host.registrable).await);
        }
        let addresses = seen.addresses().into_iter().filter(|address| self.may_visit(*address, &expected.addresses));
        let visited = host.visited();
        let visits = addresses.take(VISITS_MAX).map(|address| self.web.visit(address, &visited));
        seen.visits = futures::future::join_all(visits).await;
        findings.extend(judge::judge(&host, expected, &seen));
        report(&host, Some(&seen), findings)
    }

    pub(crate) fn may_visit(&self, address: IpAddr, edges: &[IpAddr]) -> bool {
        is_public(address)
            || edges.contains(&address)
            || self.settings.inner.iter().any(|network| network.contains(&address))
    }
}

fn report(host: &Host, seen: Option<&Observation>, findings: Vec<Finding>) -> Report {
    let name_servers = seen.map(Observation::name_servers).unwrap_or_default();
    Report {
        host: host.name(),
        unicode: host
            .unicode
            .as_ref()
            .map(|unicode| if host.wildcard { format!("*.{unicode}") } else { unicode.clone() }),
        health: Health::of(&findings),
        findings,
        zone: seen.and_then(Observation::zone).map(text),
        provider: provider::of(&name_servers),
        name_servers,
        checked_at: seen.map_or_else(Timestamp::now, |seen| seen.at),
    }
}

/// The report on a text that cannot be looked up.
fn refused(host: &str, finding: Finding) -> Report {
    let findings = vec![finding];
    Report { health: Health::of(&findings), findings, ..Report::healthy(host) }
}

//! A host's entry in the table. There are very many and most are not visited, so what only visitors need is made for the
//! first of them.

use std::sync::{Arc, OnceLock};

use balance::Upstreams;
use common::policy::{Access, AppProtocol, Hsts, Limits};
use common::route::{Route, Target};
use guard::Compiled;
use http::HeaderValue;
use moka::sync::Cache;

use crate::wishes::Pace;

/// Hosts below a wildcard whose entries are kept: those that are visited at one time. Others are made anew.
const BELOW: u64 = 1024;

/// A route, with what every answer needs of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) route: Route,
    /// When the control plane was last told that visitors ask for it.
    pub(crate) wished: Pace,
    is_plain: bool,
    made: OnceLock<Box<Made>>,
}

/// What is made once somebody asks.
#[derive(Debug)]
struct Made {
    deployment: Option<HeaderValue>,
    hsts: Option<HeaderValue>,
    upstreams: OnceLock<Arc<Upstreams>>,
    guard: OnceLock<Compiled>,
    /// For a wildcard: the entries of hosts below it.
    below: OnceLock<Cache<String, Arc<Entry>>>,
}

impl Entry {
    /// Whether nothing needs to be decided for each request anew: nobody is refused, limited or asked for a password.
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether its requests are Pingora's, because its app speaks HTTP/2.
    pub(crate) fn is_lent(&self) -> bool {
        let is_app = matches!(self.route.target, Target::App { .. });
        is_app && self.route.policy.app.protocol != AppProtocol::Http1
    }

    /// The deployment's id as a header carries it.
    pub(crate) fn deployment(&self) -> Option<&HeaderValue> {
        self.made().deployment.as_ref()
    }

    /// `Strict-Transport-Security`, where the project wishes it.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.made().hsts.as_ref()
    }

    /// The app's instances.
    pub(crate) fn upstreams(&self) -> &OnceLock<Arc<Upstreams>> {
        &self.made().upstreams
    }

    /// What the guard makes of the policy.
    pub(crate) fn guard(&self) -> &OnceLock<Compiled> {
        &self.made().guard
    }

    /// The entry of a host below this wildcard: as this one, but under the host's own name, by which answers are kept,
    /// logged and led elsewhere.
    pub(crate) fn below(&self, host: &str) -> Arc<Self> {
        let kept = self.made().below.get_or_init(|| Cache::new(BELOW));
        kept.get_with_by_ref(host, || Arc::new(Self::from(Route { host: host.into(), ..self.route.clone() })))
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let hsts = self.route.policy.https.hsts;
            Box::new(Made {
                // An id is letters, digits and an underscore, so it always is a header's value.
                deployment: HeaderValue::from_bytes(self.route.deployment.as_bytes()).ok(),
                hsts: hsts.and_then(|hsts| HeaderValue::try_from(told(hsts)).ok()),
                upstreams: OnceLock::new(),
                guard: OnceLock::new(),
                below: OnceLock::new(),
            })
        })
    }
}

impl From<Route> for Entry {
    fn from(route: Route) -> Self {
        let policy = &route.policy;
        let is_plain = policy.protection.is_empty()
            && policy.rules.is_empty()
            && policy.access == Access::default()
            && policy.limits == Limits::default();
        Self { route, wished: Pace::default(), is_plain, made: OnceLock::new() }
    }
}

/// The value of `Strict-Transport-Security`.
fn told(hsts: Hsts) -> String {
    let with = |flag: bool, text: &'static str| if flag { text } else { "" };
    let (below, preload) = (with(hsts.include_subdomains, "; includeSubDomains"), with(hsts.preload, "; preload"));
    format!("max-age={}{below}{preload}", hsts.max_age_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_nobody_visits_is_small() {
        // With the texts of host and project, the place in the table and what the allocator adds: below 400 bytes.
        assert!(size_of::<Entry>() <= 176, "{}", size_of::<Entry>());
    }
}

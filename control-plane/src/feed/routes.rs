//! The routes of a project, from the rows of its deployments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::deployment::Kind;
use common::policy::Policy;
use common::revision::RevisionStatus;
use common::route::{Earlier, Route, Target};
use common::time::Timestamp;

use crate::store::deployments::DeploymentRow;
use crate::store::domains::DomainRow;

/// How long an earlier deployment's fingerprinted files stay reachable under the project's address: a
/// visitor with the old page open still gets its chunks.
const EARLIER_ASSETS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most earlier deployments a route names; more than one flip an hour for a day.
const MAX_EARLIER: usize = 32;

/// The routes of one project by host: its own address, its domains, and each ready deployment's address.
pub(super) fn routes(
    base_domain: &str,
    ready: &[DeploymentRow],
    domains: &[DomainRow],
    policy: &Arc<Policy>,
) -> BTreeMap<String, Route> {
    let mut routes = BTreeMap::new();
    let now = Timestamp::now();
    for row in ready {
        let mut add = |label: &str, production: bool, target: Target| {
            let host = format!("{label}.{base_domain}");
            let route = Route {
                host: host.as_str().into(),
                project: row.project_name.as_str().into(),
                deployment: row.id.clone(),
                production,
                target,
                policy: Arc::clone(policy),
            };
            routes.insert(host, route);
        };
        match row.kind {
            Some(Kind::Node) => {
                add(&row.label, false, app(row));
                if row.live {
                    add(row.project_name.as_str(), true, app(row));
                }
            }
            _ => {
                add(&row.label, false, Target::Static { earlier: Vec::new() });
                if row.live {
                    add(row.project_name.as_str(), true, Target::Static { earlier: earlier(row, ready, now) });
                }
            }
        }
    }
    if let Some(live) = ready.iter().find(|row| row.live) {
        let own = routes.get(&format!("{}.{base_domain}", live.project_name)).cloned();
        for domain in domains {
            routes.extend(own.as_ref().map(|own| (domain.name.as_str().to_owned(), of_domain(domain, own))));
        }
    }
    routes
}

/// A domain's route, which is the project's own but for what its settings say.
fn of_domain(domain: &DomainRow, own: &Route) -> Route {
    let settings = &domain.settings;
    let mut policy = Arc::clone(&own.policy);
    if settings.https_redirect.is_some() || settings.hsts.is_some() {
        let https = &mut Arc::make_mut(&mut policy).https;
        https.redirect = settings.https_redirect.unwrap_or(https.redirect);
        https.hsts = settings.hsts.or(https.hsts);
    }
    let target = match &settings.redirect {
        None => own.target.clone(),
        Some(redirect) => {
            // Who is led elsewhere logs in there.
            if !policy.protection.is_empty() {
                Arc::make_mut(&mut policy).protection.clear();
            }
            Target::Redirect { to: redirect.to.as_str().to_owned(), status: redirect.status.into() }
        }
    };
    Route { host: domain.name.as_str().into(), target, policy, ..own.clone() }
}

/// Static deployments that were live within the last days, newest first.
fn earlier(live: &DeploymentRow, ready: &[DeploymentRow], now: Timestamp) -> Vec<Earlier> {
    let was_live = |row: &DeploymentRow| {
        let until = row.live_until?.after(EARLIER_ASSETS);
        (row.id != live.id && row.kind == Some(Kind::Static) && until > now)
            .then(|| Earlier { deployment: row.id.clone(), until })
    };
    let mut found: Vec<Earlier> = ready.iter().filter_map(was_live).collect();
    found.sort_by_key(|e| std::cmp::Reverse(e.until));
    found.truncate(MAX_EARLIER);
    found
}

fn app(row: &DeploymentRow) -> Target {
    let (unavailable, wakes) = match &row.revision {
        Some(RevisionStatus::Running { endpoints, .. }) => {
            return Target::App { upstreams: endpoints.iter().collect(), unavailable: None, wakes: false };
        }
        Some(RevisionStatus::Restarting { .. }) => ("The app ended unexpectedly and is being restarted.", false),
        Some(RevisionStatus::Starting | RevisionStatus::Stopped) | None => ("The app is starting.", true),
    };
    Target::App { upstreams: Vec::new(), unavailable: Some(unavailable.to_owned()), wakes }
}

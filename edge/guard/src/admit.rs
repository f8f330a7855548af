//! The decision about one request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use common::policy::{Access, Limits, Policy, Rule};
use http::{HeaderMap, header};

use crate::geo::{Country, Geo};
use crate::keyed::Room;
use crate::overload::{self, Kind, Measures, Overload};
use crate::rate::Nanos;
use crate::rule::{Origin, Ready, Then};
use crate::state::{Bounds, Counted, Project, client_key};
use crate::verdict::{Refusal, Verdict, Why};

/// Largest piece of a paced body in bytes: whoever writes one cuts it so, and waits between pieces.
pub const PACED_PIECE: usize = 64 << 10;
/// When a request beyond a concurrency limit may come again: most requests end within a second.
const CONCURRENT_RETRY: Duration = Duration::from_secs(1);
/// Time between two searches for states that say nothing any more, so that memory follows the traffic.
const SWEEP: Duration = Duration::from_secs(60);
/// Time between two looks at the file of countries.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of a request when its head is read.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// When it came.
    pub at: Instant,
    /// The visitor's address.
    pub client: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The path, percent-decoded.
    pub path: &'a str,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// Whether it is the first request of its connection.
    pub is_first: bool,
}

/// Leave for one request. It counts as concurrent until this is dropped.
#[derive(Debug, Default)]
pub struct Permit(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    started: Instant,
    terms: Arc<Terms>,
    client: Option<Arc<Counted>>,
    in_client: bool,
    in_project: bool,
    rules: Vec<Arc<str>>,
}

impl Permit {
    /// Whether the answer's body is paced: then it is written in pieces of at most [`PACED_PIECE`], with a wait as
    /// long as [`Permit::pace`] says after each.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.terms.is_paced())
    }

    /// Counts bytes of the answer's body that were sent, and says how long the next ones should wait.
    #[must_use]
    pub fn pace(&self, bytes: usize) -> Option<Duration> {
        let held = self.0.as_ref().filter(|held| held.terms.is_paced())?;
        let now = nanos(held.started, tokio::time::Instant::now().into_std());
        let whole = held.terms.project_bounds.and_then(|b| b.bandwidth);
        let whole = whole.map(|bandwidth| held.terms.project.whole.pace(now, bandwidth, bytes));
        let own = held.terms.client_bounds.and_then(|b| b.bandwidth).zip(held.client.as_ref());
        let own = own.map(|(bandwidth, client)| client.pace(now, bandwidth, bytes));
        whole.max(own).filter(|wait| !wait.is_zero())
    }

    /// Names of the rules that matched, in order.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        self.0.as_ref().map_or(&[], |held| &held.rules)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.in_project {
            self.terms.project.whole.leave();
        }
        if let Some(client) = self.client.as_ref().filter(|_| self.in_client) {
            client.leave();
        }
    }
}

/// A policy as far as the guard cares, ready to be looked at. Nothing for policies without limits, lists and rules.
#[derive(Clone, Debug, Default)]
pub struct Compiled(Option<Arc<Terms>>);

impl Compiled {
    /// Whether no request is ever refused because of it, nor counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

#[derive(Debug)]
struct Terms {
    limits: Limits,
    access: Access,
    rules: Vec<Rule>,
    ready: Vec<Ready>,
    client_bounds: Option<Bounds>,
    project_bounds: Option<Bounds>,
    project: Arc<Project>,
}

impl Terms {
    fn says(&self, policy: &Policy) -> bool {
        self.limits == policy.limits && self.access == policy.access && self.rules == policy.rules
    }

    fn is_paced(&self) -> bool {
        [&self.client_bounds, &self.project_bounds].into_iter().flatten().any(|bounds| bounds.bandwidth.is_some())
    }
}

/// What is kept of a project: its counts as long as anything uses them, and its latest terms.
#[derive(Debug, Default)]
struct Known {
    project: Weak<Project>,
    terms: Weak<Terms>,
}

/// Decides about requests. One for an edge.
#[derive(Debug)]
pub struct Guard {
    started: Instant,
    projects: Mutex<HashMap<Box<str>, Known>>,
    room: Room,
    overload: Overload,
    geo: Option<Geo>,
}

impl Guard {
    /// Without a file of countries, conditions on countries match nothing.
    #[must_use]
    pub fn new(geo: Option<Geo>) -> Self {
        Self {
            started: tokio::time::Instant::now().into_std(),
            projects: Mutex::default(),
            room: Room::default(),
            overload: Overload::default(),
            geo,
        }
    }

    /// Makes a policy ready. Routes of one project whose policies are equal share the result, and all counts go on
    /// when a policy changes.
    #[must_use]
    pub fn compile(&self, project: &str, policy: &Policy) -> Compiled {
        if policy.limits == Limits::default() && policy.access == Access::default() && policy.rules.is_empty() {
            return Compiled::default();
        }
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let known = projects.entry(project.into()).or_default();
        if let Some(terms) = known.terms.upgrade().filter(|terms| terms.says(policy)) {
            return Compiled(Some(terms));
        }
        let counts = known.project.upgrade().unwrap_or_else(|| Arc::new(Project::new(&self.room)));
        let ready = |rule: &Rule| {
            let ready = Ready::new(rule, &counts);
            if ready.is_none() {
                tracing::error!(project, rule = rule.name, "a rule can't be read and is left out");
            }
            ready
        };
        let terms = Arc::new(Terms {
            limits: policy.limits,
            access: policy.access.clone(),
            rules: policy.rules.clone(),
            ready: policy.rules.iter().filter_map(ready).collect(),
            client_bounds: Bounds::of(&policy.limits.client),
            project_bounds: Bounds::of(&policy.limits.project),
            project: Arc::clone(&counts),
        });
        *known = Known { project: Arc::downgrade(&counts), terms: Arc::downgrade(&terms) };
        Compiled(Some(terms))
    }

    /// Decides about a request.
    #[must_use]
    pub fn admit(&self, compiled: &Compiled, facts: &Facts<'_>) -> Verdict {
        if self.overload.refuses(|| kind(facts)) {
            return refuse(503, Some(overload::RETRY_AFTER), Why::Overload, Vec::new());
        }
        match &compiled.0 {
            None => Verdict::Admit(Permit::default()),
            Some(terms) => self.judge(terms, &Facts { client: facts.client.to_canonical(), ..*facts }),
        }
    }

    fn judge(&self, terms: &Arc<Terms>, facts: &Facts<'_>) -> Verdict {
        if !terms.access.admits(facts.client) {
            return refuse(403, None, Why::Address, Vec::new());
        }
        let now = nanos(self.started, facts.at);
        let origin = Origin::new(self.geo.as_ref(), facts.client);
        let mut rules = Vec::new();
        for rule in &terms.ready {
            if !rule.matches(facts, &origin) {
                continue;
            }
            match &rule.then {
                Then::Log => rules.push(Arc::clone(&rule.name)),
                Then::Allow => {
                    rules.push(Arc::clone(&rule.name));
                    break;
                }
                Then::Deny(status) => {
                    rules.push(Arc::clone(&rule.name));
                    return refuse(*status, None, Why::Rule, rules);
                }
                Then::Redirect { to, status } => {
                    rules.push(Arc::clone(&rule.name));
                    return Verdict::Redirect { to: Arc::clone(to), status: *status, rules };
                }
                Then::Limit(quota) => {
                    if let Err(wait) = quota.take(now, facts.client, facts.headers) {
                        rules.push(Arc::clone(&rule.name));
                        return refuse(429, Some(wait), Why::Rule, rules);
                    }
                }
            }
        }
        self.count(terms, facts, now, rules)
    }

    /// The visitor's own limits come first, so that who exceeds them takes nothing from the project's.
    fn count(&self, terms: &Arc<Terms>, facts: &Facts<'_>, now: Nanos, rules: Vec<Arc<str>>) -> Verdict {
        let client = terms.client_bounds.map(|_| terms.project.clients.get(client_key(facts.client), now));
        let mut held = Held {
            started: self.started,
            terms: Arc::clone(terms),
            client,
            in_client: false,
            in_project: false,
            rules: Vec::new(),
        };
        if let (Some(bounds), Some(client)) = (terms.client_bounds, &held.client) {
            if let Err(wait) = client.take(now, bounds.rate) {
                return refuse(429, Some(wait), Why::ClientRate, rules);
            }
            if let Some(most) = bounds.concurrent {
                if !client.enter(most) {
                    return refuse(429, Some(CONCURRENT_RETRY), Why::ClientConcurrency, rules);
                }
                held.in_client = true;
            }
        }
        if let Some(bounds) = terms.project_bounds {
            let whole = &terms.project.whole;
            if let Err(wait) = whole.take(now, bounds.rate) {
                return refuse(503, Some(wait), Why::ProjectRate, rules);
            }
            if let Some(most) = bounds.concurrent {
                if !whole.enter(most) {
                    return refuse(503, Some(CONCURRENT_RETRY), Why::ProjectConcurrency, rules);
                }
                held.in_project = true;
            }
        }
        held.rules = rules;
        Verdict::Admit(Permit(Some(Box::new(held))))
    }

    /// The country of an address, if there is a file of countries that knows it.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        self.geo.as_ref()?.country(address)
    }

    /// Whether the edge is overloaded.
    #[must_use]
    pub const fn overload(&self) -> &Overload {
        &self.overload
    }

    /// Measures the edge's load, reads a changed file of countries and forgets what is out of date, for as long as
    /// it is polled. `connections` tells those in use and the most that may be.
    pub async fn tend(self: &Arc<Self>, connections: impl Fn() -> (usize, usize)) {
        let (mut looked, mut swept) = (tokio::time::Instant::now(), tokio::time::Instant::now());
        loop {
            let lag = overload::lag().await;
            let (connections, max_connections) = connections();
            self.overload.observe(&Measures { lag, connections, max_connections });
            if self.geo.is_some() && looked.elapsed() >= LOOK {
                looked = tokio::time::Instant::now();
                let own = Arc::clone(self);
                // Reading a large file would hold up requests.
                match tokio::task::spawn_blocking(move || own.geo.as_ref().map(Geo::refresh)).await {
                    Ok(Some(Ok(true))) => tracing::info!("the file of countries was read again"),
                    Ok(Some(Err(error))) => tracing::warn!(%error, "the file of countries can't be used"),
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, "the file of countries was not looked at"),
                }
            }
            if swept.elapsed() >= SWEEP {
                swept = tokio::time::Instant::now();
                self.sweep(swept.into_std());
            }
        }
    }

    fn sweep(&self, at: Instant) {
        let now = nanos(self.started, at);
        let projects: Vec<Arc<Project>> = {
            let mut known = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, known| known.project.strong_count() > 0);
            known.values().filter_map(|known| known.project.upgrade()).collect()
        };
        for project in projects {
            project.sweep(now);
        }
    }
}

const fn refuse(status: u16, retry_after: Option<Duration>, why: Why, rules: Vec<Arc<str>>) -> Verdict {
    Verdict::Refuse(Refusal { status, retry_after, why, rules })
}

fn kind(facts: &Facts<'_>) -> Kind {
    let is_known = facts.headers.contains_key(header::COOKIE) || facts.headers.contains_key(header::AUTHORIZATION);
    Kind::of(is_known, facts.is_first)
}

/// Time since the guard began, never zero.
fn nanos(started: Instant, at: Instant) -> Nanos {
    u64::try_from(at.saturating_duration_since(started).as_nanos()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests;

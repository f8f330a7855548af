//! Rules, ready to be matched.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;

use common::policy::{Action, Condition, HeaderMatch, Rule};
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::admit::Facts;
use crate::geo::{Country, Geo};
use crate::glob::Glob;
use crate::state::{Project, Quota};

/// A rule.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) name: Arc<str>,
    when: When,
    pub(crate) then: Then,
}

/// What it does.
#[derive(Debug)]
pub(crate) enum Then {
    Allow,
    Deny(u16),
    Limit(Arc<Quota>),
    Redirect { to: Arc<str>, status: u16 },
    Log,
}

#[derive(Debug)]
struct When {
    paths: Vec<Glob>,
    methods: Vec<Box<str>>,
    headers: Vec<Field>,
    addresses: Vec<IpNet>,
    countries: Vec<Country>,
}

#[derive(Debug)]
struct Field {
    name: HeaderName,
    value: Option<Glob>,
    not: bool,
}

/// The country of a request's visitor, looked up at most once.
pub(crate) struct Origin<'a> {
    geo: Option<&'a Geo>,
    client: IpAddr,
    country: OnceCell<Option<Country>>,
}

impl<'a> Origin<'a> {
    pub(crate) const fn new(geo: Option<&'a Geo>, client: IpAddr) -> Self {
        Self { geo, client, country: OnceCell::new() }
    }

    fn country(&self) -> Option<Country> {
        *self.country.get_or_init(|| self.geo?.country(self.client))
    }
}

impl Ready {
    /// `None` when a part can't be read, which [`crate::check`] names: a rule that lost a condition would be for
    /// more requests than its author meant.
    pub(crate) fn new(rule: &Rule, project: &Project) -> Option<Self> {
        let then = match &rule.then {
            Action::Allow => Then::Allow,
            Action::Deny { status } => Then::Deny(*status),
            Action::RateLimit { requests, per_s, by } => Then::Limit(project.quota(&rule.name, *requests, *per_s, by)),
            Action::Redirect { to, status } => Then::Redirect { to: to.as_str().into(), status: *status },
            Action::Log => Then::Log,
        };
        Some(Self { name: rule.name.as_str().into(), when: When::new(&rule.when)?, then })
    }

    pub(crate) fn matches(&self, facts: &Facts<'_>, origin: &Origin<'_>) -> bool {
        let when = &self.when;
        any(&when.methods, |method| **method == *facts.method)
            && any(&when.paths, |path| path.matches(facts.path.as_bytes()))
            && any(&when.addresses, |net| net.contains(&facts.client))
            && when.headers.iter().all(|field| field.matches(facts.headers))
            && any(&when.countries, |country| origin.country() == Some(*country))
    }
}

/// Whether one matches, or there is none.
fn any<T>(list: &[T], matches: impl FnMut(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(matches)
}

impl When {
    fn new(when: &Condition) -> Option<Self> {
        Some(Self {
            paths: when.paths.iter().map(|path| Glob::new(path)).collect(),
            methods: when.methods.iter().map(|method| method.as_str().into()).collect(),
            headers: when.headers.iter().map(Field::new).collect::<Option<_>>()?,
            addresses: when.addresses.clone(),
            countries: when.countries.iter().map(|code| Country::read(code)).collect::<Option<_>>()?,
        })
    }
}

impl Field {
    fn new(field: &HeaderMatch) -> Option<Self> {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        Some(Self { name, value: field.value.as_deref().map(Glob::new), not: field.not })
    }

    fn matches(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(&self.name).iter();
        let found = values.any(|value| self.value.as_ref().is_none_or(|glob| glob.matches(value.as_bytes())));
        found != self.not
    }
}

//! Redirects and rewrites: of those that fit, the first counts.

use common::site_rules::template::{Template, TemplateError};
use common::site_rules::{Expected, Parameter, Redirect, Visitors};

use super::index::Index;
use super::matcher::Caught;
use super::{Ask, Depends, Unusable, scope::Scope, visitors};

/// A site's redirects.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    index: Index,
    rules: Vec<Rule>,
    /// Whether one of them also counts where the site has a file.
    any_forced: bool,
    memory: usize,
}

#[derive(Debug)]
struct Rule {
    scope: Scope,
    query: Vec<Parameter>,
    to: Option<Template>,
    status: u16,
    moves: bool,
    force: bool,
    visitors: Visitors,
}

/// What a redirect makes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The visitor is told to go there.
    Move {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// As it stands in `Location`.
        to: String,
    },
    /// The file at this path is the answer.
    Show {
        /// 200, or an error's.
        status: u16,
        /// Decoded path.
        path: String,
    },
    /// The answer is an error, with the nearest page for what is missing.
    Error {
        /// The error's status.
        status: u16,
    },
}

impl Redirects {
    pub(super) fn new(list: Vec<Redirect>) -> Result<Self, Unusable> {
        let mut all = Self::default();
        for (position, redirect) in list.into_iter().enumerate() {
            all.index.add(position, &redirect.from.path)?;
            let rule = Rule::new(redirect.clone()).map_err(|e| Unusable::new(&redirect.from.path, e))?;
            all.any_forced |= rule.force;
            all.memory += size_of::<Rule>() + redirect.to.as_ref().map_or(0, String::len);
            all.rules.push(rule);
        }
        Ok(all)
    }

    pub(super) const fn memory(&self) -> usize {
        self.memory + self.index.memory()
    }

    /// The redirect for a request whose path has a file.
    pub(crate) fn over_file(&self, ask: &Ask<'_>, depends: &mut Depends) -> Option<Found> {
        if self.any_forced { self.find(ask, true, depends) } else { None }
    }

    /// The redirect for a request whose path has no file.
    pub(crate) fn without_file(&self, ask: &Ask<'_>, depends: &mut Depends) -> Option<Found> {
        self.find(ask, false, depends)
    }

    fn find(&self, ask: &Ask<'_>, only_forced: bool, depends: &mut Depends) -> Option<Found> {
        self.index.fitting(ask.path).find_map(|(at, caught)| {
            let rule = self.rules.get(at).filter(|rule| rule.force || !only_forced)?;
            rule.apply(ask, caught, depends)
        })
    }
}

impl Rule {
    fn new(redirect: Redirect) -> Result<Self, TemplateError> {
        let moves = redirect.moves();
        let to = redirect.to.as_ref().map(|to| Template::parse(to, |name| redirect.catches(name))).transpose()?;
        let scope = Scope::of(&redirect.from);
        let Redirect { query, status, force, visitors, .. } = redirect;
        Ok(Self { scope, query, to, status, moves, force, visitors })
    }

    fn apply<'a>(&'a self, ask: &Ask<'_>, mut caught: Caught<'a>, depends: &mut Depends) -> Option<Found> {
        if !self.scope.includes(ask, depends) {
            return None;
        }
        if !self.query.is_empty() {
            take_parameters(&self.query, ask.query?, &mut caught)?;
        }
        if !visitors::include(&self.visitors, ask, depends) {
            return None;
        }
        let Some(to) = &self.to else { return Some(Found::Error { status: self.status }) };
        if !self.moves {
            return Some(Found::Show { status: self.status, path: to.fill_path(|name| caught.value(name)) });
        }
        let query = match (ask.query, &*self.query) {
            (None, _) => None,
            (Some(query), []) => Some(String::from_utf8_lossy(query).into_owned()),
            (Some(query), taken) => without(query, taken),
        };
        let to = to.fill(|name| caught.value(name), query.as_deref());
        // Whether another host is led to depends on which one was asked for.
        depends.origin |= !to.starts_with('/');
        // A rule that leads back is none: so `/a /a/` adds the slash, and does not do it for ever.
        (!ask.is_at(&to)).then_some(Found::Move { status: self.status, to })
    }
}

/// What the query's parameters must be, and what they give placeholders.
fn take_parameters<'a>(wanted: &'a [Parameter], query: &[u8], caught: &mut Caught<'a>) -> Option<()> {
    for parameter in wanted {
        let mut given = url::form_urlencoded::parse(query).filter(|(name, _)| *name == parameter.name);
        match &parameter.value {
            Expected::Present => drop(given.next()?),
            Expected::Is(value) => drop(given.find(|(_, v)| v == value)?),
            Expected::Named(name) => {
                let (_, value) = given.find(|(_, v)| !v.is_empty() && !v.contains(char::is_control))?;
                caught.add(name, value.into_owned());
            }
        }
    }
    Some(())
}

/// The query without the parameters that a rule has taken, as the visitor wrote it.
fn without(query: &[u8], taken: &[Parameter]) -> Option<String> {
    let is_left = |pair: &&[u8]| {
        url::form_urlencoded::parse(pair).next().is_none_or(|(name, _)| taken.iter().all(|t| t.name != name))
    };
    let left: Vec<&[u8]> = query.split(|b| *b == b'&').filter(is_left).collect();
    if left.is_empty() { None } else { Some(String::from_utf8_lossy(&left.join(&b'&')).into_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{ask, redirect};
    use super::*;

    fn found(rules: &[Redirect], path: &str, query: Option<&str>) -> Option<String> {
        let redirects = Redirects::new(rules.to_vec()).unwrap();
        let mut depends = Depends::default();
        let ask = Ask { query: query.map(str::as_bytes), ..ask(path) };
        redirects.without_file(&ask, &mut depends).map(|found| match found {
            Found::Move { to, .. } => to,
            Found::Show { path, .. } => path,
            Found::Error { status } => status.to_string(),
        })
    }

    #[test]
    fn a_redirect_passes_on_what_it_catches_and_the_query() {
        let rules = [
            redirect("/news/:year/:slug", Some("/blog/:slug?y=:year"), 301),
            redirect("/old/*", Some("/new/:splat"), 302),
            redirect("/gone", None, 410),
            redirect("/app/*", Some("/app/index.html"), 200),
        ];
        for (path, query, to) in [
            ("/news/2026/a b", None, Some("/blog/a%20b?y=2026")),
            ("/news/2026/a", Some("x=1"), Some("/blog/a?y=2026")),
            ("/old/a/b/", Some("x=1&y"), Some("/new/a/b/?x=1&y")),
            ("/old//evil.example", None, Some("/new//evil.example")),
            ("/gone/", None, Some("410")),
            ("/app", None, Some("/app/index.html")),
            ("/other", None, None),
        ] {
            assert_eq!(found(&rules, path, query).as_deref(), to, "{path}");
        }
        let all = [redirect("/*", Some("/:splat"), 301)];
        assert_eq!(found(&all, "//evil.example", None).as_deref(), Some("/evil.example"));
    }

    #[test]
    fn a_redirect_to_where_the_visitor_is_does_nothing() {
        let rules = [redirect("/a", Some("/a/"), 301), redirect("/*", Some("/x"), 301)];
        assert_eq!(found(&rules, "/a", None).as_deref(), Some("/a/"));
        assert_eq!(found(&rules, "/a/", None).as_deref(), Some("/x"), "the next rule counts");
        assert_eq!(found(&rules, "/x", None), None);
        assert_eq!(found(&rules, "/x", Some("q")), None);
        let own = [redirect("/*", Some("http://site.example/:splat"), 301)];
        assert_eq!(found(&own, "/a", None), None);
    }

    #[test]
    fn parameters_of_the_query_choose_the_rule_and_fill_placeholders() {
        let with = |value: Expected, to: &str| {
            let query = vec![Parameter { name: "id".into(), value }];
            Redirect { query, ..redirect("/store", Some(to), 301) }
        };
        let rules = [
            with(Expected::Is("7".into()), "/seven"),
            with(Expected::Named("id".into()), "/item/:id"),
            with(Expected::Present, "/empty"),
            redirect("/store", Some("/all"), 301),
        ];
        for (query, to) in [
            (Some("id=7"), "/seven"),
            (Some("id=a%2Fb"), "/item/a/b"),
            (Some("a=1&id=5&b=2"), "/item/5?a=1&b=2"),
            (Some("id="), "/empty"),
            (Some("id"), "/empty"),
            (Some("x=1"), "/all?x=1"),
            (None, "/all"),
        ] {
            assert_eq!(found(&rules, "/store", query).as_deref(), Some(to), "{query:?}");
        }
    }
}

//! Changes to the fields of answers: all rules that fit count, in order.

use common::site_rules::template::{Piece, Text};
use common::site_rules::{HeaderRule, holds_one_value};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::index::Index;
use super::matcher::Caught;
use super::{Ask, Depends, Unusable, scope::Scope};
use crate::answer;

/// A site's changes to fields.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    index: Index,
    rules: Vec<Rule>,
    memory: usize,
}

#[derive(Debug)]
struct Rule {
    scope: Scope,
    remove: Vec<HeaderName>,
    add: Vec<(HeaderName, Value)>,
}

#[derive(Debug)]
enum Value {
    Fixed(HeaderValue),
    Filled(Text),
}

impl Headers {
    pub(super) fn new(list: Vec<HeaderRule>) -> Result<Self, Unusable> {
        let mut all = Self::default();
        for (position, rule) in list.into_iter().enumerate() {
            all.index.add(position, &rule.on.path)?;
            let name =
                |name: &str| HeaderName::from_bytes(name.as_bytes()).map_err(|e| Unusable::new(&rule.on.path, e));
            let mut compiled = Rule { scope: Scope::of(&rule.on), remove: Vec::new(), add: Vec::new() };
            for removed in &rule.remove {
                compiled.remove.push(name(removed)?);
            }
            for (added, value) in &rule.add {
                let text = Text::parse(value, |name| rule.on.catches(name));
                let value = if text.is_fixed() {
                    Value::Fixed(
                        HeaderValue::from_bytes(value.as_bytes()).map_err(|e| Unusable::new(&rule.on.path, e))?,
                    )
                } else {
                    Value::Filled(text)
                };
                compiled.add.push((name(added)?, value));
            }
            let size: usize = rule.add.iter().map(|(n, v)| n.len() + v.len() + size_of::<(HeaderName, Value)>()).sum();
            all.memory += size_of::<Rule>() + size + rule.remove.len() * size_of::<HeaderName>();
            all.rules.push(compiled);
        }
        Ok(all)
    }

    pub(super) const fn memory(&self) -> usize {
        self.memory + self.index.memory()
    }

    /// Changes an answer's fields as the rules for the request's address say.
    pub(crate) fn apply(&self, ask: &Ask<'_>, is_production: bool, fields: &mut HeaderMap, depends: &mut Depends) {
        // Fields that a rule has set: the next one adds to them, while the first replaces the edge's own.
        let mut set: Vec<&HeaderName> = Vec::new();
        for (at, caught) in self.index.fitting(ask.path) {
            let Some(rule) = self.rules.get(at).filter(|rule| rule.scope.includes(ask, depends)) else { continue };
            // Whether a search engine may list a single deployment is not for the deployment to say.
            let may_change = |name: &HeaderName| is_production || *name != answer::ROBOTS;
            for name in rule.remove.iter().filter(|name| may_change(name)) {
                fields.remove(name);
                set.retain(|s| *s != name);
            }
            for (name, value) in rule.add.iter().filter(|(name, _)| may_change(name)) {
                let Some(value) = value.filled(&caught) else { continue };
                let is_first = !set.contains(&name);
                if is_first {
                    set.push(name);
                }
                write(fields, name, value, is_first);
            }
        }
    }
}

impl Value {
    /// The value; `None` when what was caught can't stand in a field.
    fn filled(&self, caught: &Caught<'_>) -> Option<HeaderValue> {
        let text = match self {
            Self::Fixed(value) => return Some(value.clone()),
            Self::Filled(text) => text,
        };
        let mut value = String::new();
        for piece in text.pieces() {
            match piece {
                Piece::Text(text) => value.push_str(text),
                Piece::Name(name) => value.push_str(caught.value(name)),
            }
        }
        HeaderValue::from_bytes(value.as_bytes()).ok()
    }
}

/// Writes a field. `is_first`: no rule has set it before.
fn write(fields: &mut HeaderMap, name: &HeaderName, value: HeaderValue, is_first: bool) {
    if *name == header::SET_COOKIE {
        fields.append(name, value);
        return;
    }
    // What the edge says of `Vary` is true whatever a rule adds.
    let replaces = (is_first && *name != header::VARY) || holds_one_value(name.as_str());
    let joined = match fields.get(name) {
        Some(known) if !replaces => {
            HeaderValue::from_bytes(&[known.as_bytes(), b", ", value.as_bytes()].concat()).unwrap_or(value)
        }
        _ => value,
    };
    fields.insert(name, joined);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::ask;
    use super::*;
    use common::site_rules::Source;

    fn rule(path: &str, remove: &[&str], add: &[(&str, &str)]) -> HeaderRule {
        HeaderRule {
            on: Source { path: path.into(), ..Source::default() },
            remove: remove.iter().map(|&n| n.to_owned()).collect(),
            add: add.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
        }
    }

    fn applied(rules: Vec<HeaderRule>, path: &str, is_production: bool) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if !is_production {
            fields.insert(answer::ROBOTS, answer::NO_INDEX);
        }
        Headers::new(rules).unwrap().apply(&ask(path), is_production, &mut fields, &mut Depends::default());
        fields
    }

    fn get<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
        fields.get(name).map(|v| v.to_str().unwrap())
    }

    #[test]
    fn lists_are_joined_and_single_values_replaced() {
        let rules = vec![
            rule("/*", &[], &[("link", "</a>"), ("cache-control", "no-cache"), ("x-frame-options", "DENY")]),
            rule("/a", &[], &[("link", "</b>"), ("cache-control", "no-store"), ("vary", "Cookie")]),
        ];
        let fields = applied(rules.clone(), "/a", true);
        assert_eq!(get(&fields, "link"), Some("</a>, </b>"));
        assert_eq!(get(&fields, "cache-control"), Some("no-store"));
        assert_eq!(get(&fields, "vary"), Some("Accept-Encoding, Cookie"));
        assert_eq!(get(&fields, "x-frame-options"), Some("DENY"));
        let fields = applied(rules, "/b", true);
        assert_eq!(get(&fields, "cache-control"), Some("no-cache"));
        assert_eq!(get(&fields, "link"), Some("</a>"));
    }

    #[test]
    fn a_field_is_taken_away_and_may_come_again() {
        let rules = vec![
            rule("/*", &[], &[("link", "</a>"), ("x-b", "1")]),
            rule("/a", &["link", "cache-control", "x-b"], &[("link", "</c>")]),
        ];
        let fields = applied(rules, "/a/", true);
        assert_eq!((get(&fields, "link"), get(&fields, "x-b")), (Some("</c>"), None));
        assert_eq!(get(&fields, "cache-control"), None);
    }

    #[test]
    fn values_may_use_what_the_path_caught() {
        let rules = vec![rule("/movies/:title/*", &[], &[("x-title", "a \":title\" of :splat: :other")])];
        assert_eq!(get(&applied(rules, "/movies/up/x", true), "x-title"), Some("a \"up\" of x: :other"));
    }

    #[test]
    fn single_deployments_stay_out_of_search_engines_whatever_a_site_says() {
        let rules = vec![rule("/*", &["x-robots-tag"], &[("x-robots-tag", "all")])];
        assert_eq!(get(&applied(rules.clone(), "/", false), "x-robots-tag"), Some("noindex"));
        assert_eq!(get(&applied(rules, "/", true), "x-robots-tag"), Some("all"));
    }

    #[test]
    fn cookies_stay_fields_of_their_own() {
        let rules = vec![
            rule("/*", &[], &[("set-cookie", "a=1"), ("set-cookie", "b=2")]),
            rule("/a", &[], &[("set-cookie", "c=3")]),
        ];
        let fields = applied(rules, "/a", true);
        assert_eq!(fields.get_all(header::SET_COOKIE).iter().collect::<Vec<_>>(), ["a=1", "b=2", "c=3"]);
    }
}

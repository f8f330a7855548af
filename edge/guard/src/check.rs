//! Whether a policy makes sense, before it is stored: what is wrong, where, and what would be right.

use std::collections::HashSet;

use common::policy::{
    Access, Action, AppPolicy, Condition, CountBy, HeaderMatch, HttpsPolicy, Limit, Policy, Protection, Rule,
};
use http::{HeaderName, Method};

use crate::geo::Country;

/// Most rules of a project: each is looked at for each of its requests.
const MAX_RULES: usize = 100;
/// Most members of a list.
const MAX_LIST: usize = 1000;
/// Longest name or pattern in bytes.
const MAX_TEXT: usize = 1024;
/// Longest name of a rule in bytes.
const MAX_NAME: usize = 64;
/// Largest number of requests.
const MAX_REQUESTS: u32 = 1_000_000;
/// Longest time in which requests are counted, in seconds: a day.
const MAX_PER_S: u32 = 86_400;
/// Least bandwidth in bytes per second: below, a page takes minutes and only holds a connection.
const MIN_BYTES_PER_S: u64 = 1024;
/// Longest wait for an app in milliseconds: a day.
const MAX_WAIT_MS: u64 = 86_400_000;
/// Least and longest time between two health checks in milliseconds.
const HEALTH_MS: std::ops::RangeInclusive<u64> = 500..=600_000;
/// Least `max-age` with which browsers take a host into their lists, in seconds (hstspreload.org).
const PRELOAD_S: u32 = 31_536_000;

/// Something in a policy that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where, as in `rules[2].then.deny.status`.
    pub path: String,
    /// What is wrong and what would be right, in a sentence.
    pub message: String,
}

/// Checks a whole policy.
///
/// # Errors
/// All problems, in the policy's order.
pub fn check(policy: &Policy) -> Result<(), Vec<Problem>> {
    let mut found = Found(Vec::new());
    https(&mut found, policy.https);
    for (i, protection) in bounded(&mut found, "protection", &policy.protection, MAX_LIST) {
        protected(&mut found, &format!("protection[{i}]"), protection);
    }
    app(&mut found, &policy.app);
    limit(&mut found, "limits.project", &policy.limits.project);
    limit(&mut found, "limits.client", &policy.limits.client);
    access(&mut found, &policy.access);
    let mut names = HashSet::new();
    for (i, rule) in bounded(&mut found, "rules", &policy.rules, MAX_RULES) {
        let path = format!("rules[{i}]");
        if !names.insert(rule.name.as_str()) {
            found.add(format!("{path}.name"), "Another rule has this name; each needs one of its own.");
        }
        one_rule(&mut found, &path, rule);
    }
    if found.0.is_empty() { Ok(()) } else { Err(found.0) }
}

struct Found(Vec<Problem>);

impl Found {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    fn unless(&mut self, right: bool, path: impl Into<String>, message: impl Into<String>) {
        if !right {
            self.add(path, message);
        }
    }
}

/// The members of a list, of which a too long one has none.
fn bounded<'a, T>(
    found: &mut Found,
    path: &str,
    list: &'a [T],
    most: usize,
) -> impl Iterator<Item = (usize, &'a T)> + use<'a, T> {
    let fits = list.len() <= most;
    found.unless(fits, path, format!("There may be at most {most} entries; these are {}.", list.len()));
    list.iter().take(if fits { most } else { 0 }).enumerate()
}

fn https(found: &mut Found, policy: HttpsPolicy) {
    let Some(hsts) = policy.hsts else { return };
    if hsts.preload {
        let right = hsts.include_subdomains && hsts.max_age_s >= PRELOAD_S;
        let message =
            format!("`preload` needs `include_subdomains` and a `max_age_s` of at least {PRELOAD_S} (one year).");
        found.unless(right, "https.hsts.preload", message);
    }
}

fn protected(found: &mut Found, path: &str, protection: &Protection) {
    found.unless(protection.path.starts_with('/'), format!("{path}.path"), "A path begins with `/`.");
    let users = format!("{path}.users");
    found.unless(!protection.users.is_empty(), &*users, "Nobody could pass: name at least one user.");
    for (i, user) in bounded(found, &users, &protection.users, MAX_LIST) {
        let right = !user.user.is_empty()
            && user.user.len() <= MAX_TEXT
            && !user.user.chars().any(|c| c == ':' || c.is_control());
        found.unless(right, format!("{users}[{i}].user"), "A user name is not empty, and has no colon.");
    }
}

fn app(found: &mut Found, app: &AppPolicy) {
    let t = &app.timeouts;
    for (name, wait) in [
        ("connect_ms", t.connect_ms),
        ("first_byte_ms", t.first_byte_ms),
        ("between_bytes_ms", t.between_bytes_ms),
        ("total_ms", t.total_ms),
    ] {
        let right = wait.is_none_or(|ms| (1..=MAX_WAIT_MS).contains(&ms));
        found.unless(right, format!("app.timeouts.{name}"), format!("Between 1 and {MAX_WAIT_MS} milliseconds."));
    }
    if let Some(health) = &app.health {
        found.unless(is_path(&health.path), "app.health.path", "A path begins with `/`, without spaces.");
        let message = format!("Between {} and {} milliseconds.", HEALTH_MS.start(), HEALTH_MS.end());
        found.unless(HEALTH_MS.contains(&health.interval_ms), "app.health.interval_ms", message);
    }
}

fn limit(found: &mut Found, path: &str, limit: &Limit) {
    let requests = limit.requests_per_s.is_none_or(|n| (1..=MAX_REQUESTS).contains(&n));
    found.unless(requests, format!("{path}.requests_per_s"), format!("Between 1 and {MAX_REQUESTS}, or absent."));
    let burst = format!("{path}.burst");
    found.unless(limit.burst.is_none_or(|n| n <= MAX_REQUESTS), &*burst, format!("At most {MAX_REQUESTS}."));
    let alone = limit.burst.is_some() && limit.requests_per_s.is_none();
    found.unless(!alone, &*burst, "A burst is beyond an average: say `requests_per_s` too.");
    let concurrent = limit.concurrent.is_none_or(|n| n >= 1);
    found.unless(concurrent, format!("{path}.concurrent"), "At least 1, or absent for no bound.");
    let bytes = limit.bytes_per_s.is_none_or(|n| n >= MIN_BYTES_PER_S);
    found.unless(bytes, format!("{path}.bytes_per_s"), format!("At least {MIN_BYTES_PER_S}, or absent for no bound."));
}

fn access(found: &mut Found, access: &Access) {
    for (name, nets) in [("allow", &access.allow), ("deny", &access.deny)] {
        let _ = bounded(found, &format!("access.{name}"), nets, MAX_LIST);
    }
    let everybody = access.deny.iter().any(|net| net.prefix_len() == 0);
    found.unless(!everybody, "access.deny", "This denies every address of its kind; deny only some, or allow some.");
}

fn one_rule(found: &mut Found, path: &str, rule: &Rule) {
    let named = (1..=MAX_NAME).contains(&rule.name.len()) && !rule.name.chars().any(char::is_control);
    found.unless(named, format!("{path}.name"), format!("A rule has a name of 1 to {MAX_NAME} bytes."));
    condition(found, &format!("{path}.if"), &rule.when);
    let then = format!("{path}.then");
    match &rule.then {
        Action::Allow | Action::Log => {}
        Action::Deny { status } => {
            found.unless((400..=499).contains(status), format!("{then}.deny.status"), "A status from 400 to 499.");
        }
        Action::RateLimit { requests, per_s, by } => {
            let then = format!("{then}.rate_limit");
            let right = (1..=MAX_REQUESTS).contains(requests);
            found.unless(right, format!("{then}.requests"), format!("Between 1 and {MAX_REQUESTS}."));
            let right = (1..=MAX_PER_S).contains(per_s);
            found.unless(right, format!("{then}.per_s"), format!("Between 1 and {MAX_PER_S} seconds (a day)."));
            if let CountBy::Header(name) = by {
                field_name(found, &format!("{then}.by.header"), name);
            }
        }
        Action::Redirect { to, status } => {
            let statuses = matches!(status, 301 | 302 | 303 | 307 | 308);
            found.unless(statuses, format!("{then}.redirect.status"), "One of 301, 302, 303, 307 and 308.");
            redirect(found, &format!("{then}.redirect.to"), to, &rule.when);
        }
    }
}

fn condition(found: &mut Found, path: &str, when: &Condition) {
    for (i, pattern) in bounded(found, &format!("{path}.paths"), &when.paths, MAX_LIST) {
        let right = pattern.starts_with(['/', '*']) && pattern.len() <= MAX_TEXT;
        let message = format!("A path begins with `/` or `*`, and has at most {MAX_TEXT} bytes.");
        found.unless(right, format!("{path}.paths[{i}]"), message);
        found.unless(!pattern.contains('?'), format!("{path}.paths[{i}]"), "Paths are matched without their query.");
    }
    for (i, method) in bounded(found, &format!("{path}.methods"), &when.methods, MAX_LIST) {
        let path = format!("{path}.methods[{i}]");
        let right = Method::from_bytes(method.as_bytes()).is_ok() && !method.bytes().any(|b| b.is_ascii_lowercase());
        found.unless(right, path, format!("`{method}` is no method; they are written in capitals, as in `POST`."));
    }
    for (i, field) in bounded(found, &format!("{path}.headers"), &when.headers, MAX_LIST) {
        header(found, &format!("{path}.headers[{i}]"), field);
    }
    let _ = bounded(found, &format!("{path}.addresses"), &when.addresses, MAX_LIST);
    for (i, code) in bounded(found, &format!("{path}.countries"), &when.countries, MAX_LIST) {
        let message = format!("`{code}` is no country; they have two letters, as in `CH` (ISO 3166-1 alpha-2).");
        found.unless(Country::read(code).is_some(), format!("{path}.countries[{i}]"), message);
    }
}

fn header(found: &mut Found, path: &str, field: &HeaderMatch) {
    field_name(found, &format!("{path}.name"), &field.name);
    let right = field.value.as_ref().is_none_or(|value| value.len() <= MAX_TEXT);
    found.unless(right, format!("{path}.value"), format!("At most {MAX_TEXT} bytes."));
}

fn field_name(found: &mut Found, path: &str, name: &str) {
    let right = HeaderName::from_bytes(name.as_bytes()).is_ok();
    found.unless(right, path, format!("`{name}` can't be the name of a header field."));
}

fn redirect(found: &mut Found, path: &str, to: &str, when: &Condition) {
    let is_url = to
        .strip_prefix("https://")
        .or_else(|| to.strip_prefix("http://"))
        .is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty());
    let clean = to.len() <= MAX_TEXT && to.bytes().all(|b| b.is_ascii_graphic());
    let message = "A path that begins with one `/`, or a URL that begins with `https://` or `http://`, as a browser sends it (`%20` for a space).";
    found.unless(clean && (is_path(to) || is_url), path, message);
    // A visitor who is sent where the same rule matches is sent again, for ever.
    let only_paths =
        when.methods.is_empty() && when.headers.is_empty() && when.addresses.is_empty() && when.countries.is_empty();
    let target = to.split(['?', '#']).next().unwrap_or_default();
    let again = when.paths.is_empty()
        || when.paths.iter().any(|pattern| crate::glob::Glob::new(pattern).matches(target.as_bytes()));
    let endless = is_path(to) && only_paths && again;
    found.unless(!endless, path, "The rule matches where it leads to: visitors would be sent in a circle.");
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= MAX_TEXT
        && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let policy: Policy = serde_json::from_str(json).unwrap();
        check(&policy).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    }

    #[test]
    fn a_policy_that_makes_sense_has_no_problems() {
        let json = r#"{
            "https": {"redirect": true, "hsts": {"max_age_s": 31536000, "include_subdomains": true, "preload": true}},
            "protection": [{"path": "/", "on": "previews", "users": [{"user": "a", "hash": "x"}]}],
            "app": {"timeouts": {"connect_ms": 500}, "health": {"path": "/healthz", "interval_ms": 5000}},
            "limits": {"client": {"requests_per_s": 10, "burst": 0, "concurrent": 1, "bytes_per_s": 1024}},
            "access": {"allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.0.0.1/32"]},
            "rules": [
                {"name": "a", "if": {"paths": ["/x*"], "countries": ["ch"]}, "then": {"redirect": {"to": "/x/y"}}},
                {"name": "b", "then": {"redirect": {"to": "https://example.com/"}}},
                {"name": "c", "if": {"paths": ["/old"]}, "then": {"redirect": {"to": "/new?from=old", "status": 301}}}]}"#;
        assert_eq!(problems(json), Vec::<String>::new());
        assert_eq!(check(&Policy::default()), Ok(()));
    }

    #[test]
    fn each_problem_is_named_where_it_is() {
        for (json, path) in [
            (r#"{"https": {"hsts": {"max_age_s": 60, "preload": true}}}"#, "https.hsts.preload"),
            (r#"{"protection": [{"path": "x", "users": [{"user": "a", "hash": ""}]}]}"#, "protection[0].path"),
            (r#"{"protection": [{"path": "/", "users": []}]}"#, "protection[0].users"),
            (
                r#"{"protection": [{"path": "/", "users": [{"user": "a:b", "hash": ""}]}]}"#,
                "protection[0].users[0].user",
            ),
            (r#"{"app": {"timeouts": {"total_ms": 0}}}"#, "app.timeouts.total_ms"),
            (r#"{"app": {"health": {"path": "x", "interval_ms": 5000}}}"#, "app.health.path"),
            (r#"{"app": {"health": {"path": "/", "interval_ms": 1}}}"#, "app.health.interval_ms"),
            (r#"{"limits": {"client": {"requests_per_s": 0}}}"#, "limits.client.requests_per_s"),
            (r#"{"limits": {"project": {"burst": 5}}}"#, "limits.project.burst"),
            (r#"{"limits": {"project": {"concurrent": 0}}}"#, "limits.project.concurrent"),
            (r#"{"limits": {"client": {"bytes_per_s": 1023}}}"#, "limits.client.bytes_per_s"),
            (r#"{"access": {"deny": ["0.0.0.0/0"]}}"#, "access.deny"),
            (r#"{"rules": [{"name": "", "then": "log"}]}"#, "rules[0].name"),
            (r#"{"rules": [{"name": "a", "then": "log"}, {"name": "a", "then": "log"}]}"#, "rules[1].name"),
            (r#"{"rules": [{"name": "a", "if": {"paths": ["x"]}, "then": "log"}]}"#, "rules[0].if.paths[0]"),
            (r#"{"rules": [{"name": "a", "if": {"paths": ["/", "/?x"]}, "then": "log"}]}"#, "rules[0].if.paths[1]"),
            (r#"{"rules": [{"name": "a", "if": {"methods": ["get"]}, "then": "log"}]}"#, "rules[0].if.methods[0]"),
            (
                r#"{"rules": [{"name": "a", "if": {"headers": [{"name": "a b"}]}, "then": "log"}]}"#,
                "rules[0].if.headers[0].name",
            ),
            (r#"{"rules": [{"name": "a", "if": {"countries": ["CHE"]}, "then": "log"}]}"#, "rules[0].if.countries[0]"),
            (r#"{"rules": [{"name": "a", "then": {"deny": {"status": 500}}}]}"#, "rules[0].then.deny.status"),
            (
                r#"{"rules": [{"name": "a", "then": {"rate_limit": {"requests": 0, "per_s": 1}}}]}"#,
                "rules[0].then.rate_limit.requests",
            ),
            (
                r#"{"rules": [{"name": "a", "then": {"rate_limit": {"requests": 1, "per_s": 0}}}]}"#,
                "rules[0].then.rate_limit.per_s",
            ),
            (
                r#"{"rules": [{"name": "a", "then": {"rate_limit": {"requests": 1, "per_s": 1, "by": {"header": ""}}}}]}"#,
                "rules[0].then.rate_limit.by.header",
            ),
            (
                r#"{"rules": [{"name": "a", "if": {"paths": ["/a"]}, "then": {"redirect": {"to": "/b", "status": 200}}}]}"#,
                "rules[0].then.redirect.status",
            ),
            (
                r#"{"rules": [{"name": "a", "if": {"paths": ["/a"]}, "then": {"redirect": {"to": "//evil"}}}]}"#,
                "rules[0].then.redirect.to",
            ),
            (
                r#"{"rules": [{"name": "a", "if": {"paths": ["/a"]}, "then": {"redirect": {"to": "/b\r\nx: y"}}}]}"#,
                "rules[0].then.redirect.to",
            ),
            (
                r#"{"rules": [{"name": "a", "if": {"paths": ["/a*"]}, "then": {"redirect": {"to": "/ab?x"}}}]}"#,
                "rules[0].then.redirect.to",
            ),
            (r#"{"rules": [{"name": "a", "then": {"redirect": {"to": "/"}}}]}"#, "rules[0].then.redirect.to"),
        ] {
            assert_eq!(problems(json), [path], "{json}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let rule = |i: usize| format!(r#"{{"name": "r{i}", "then": "log"}}"#);
        let rules: Vec<String> = (0..=MAX_RULES).map(rule).collect();
        assert_eq!(problems(&format!(r#"{{"rules": [{}]}}"#, rules.join(","))), ["rules"]);
    }
}

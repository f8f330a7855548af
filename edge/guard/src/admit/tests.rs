#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use http::HeaderValue;

/// A request that can be changed.
struct Ask {
    at: Instant,
    client: &'static str,
    method: &'static str,
    path: &'static str,
    headers: HeaderMap,
}

impl Ask {
    fn new(guard: &Guard) -> Self {
        Self { at: guard.started, client: "192.0.2.1", method: "GET", path: "/", headers: HeaderMap::new() }
    }

    fn of(&self, guard: &Guard, compiled: &Compiled) -> Verdict {
        let facts = Facts {
            at: self.at,
            client: self.client.parse().unwrap(),
            method: self.method,
            path: self.path,
            headers: &self.headers,
            is_first: true,
        };
        guard.admit(compiled, &facts)
    }

    fn status(&self, guard: &Guard, compiled: &Compiled) -> u16 {
        status(&self.of(guard, compiled))
    }
}

fn status(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Admit(_) => 200,
        Verdict::Refuse(refusal) => refusal.status,
        Verdict::Redirect { status, .. } => *status,
    }
}

fn policy(json: &str) -> Policy {
    let policy = serde_json::from_str(json).unwrap();
    assert_eq!(crate::check(&policy), Ok(()));
    policy
}

#[test]
fn a_policy_without_limits_lists_and_rules_costs_nothing_and_refuses_nobody() {
    let guard = Guard::new(None);
    for json in ["{}", r#"{"https": {"redirect": true}, "cache": {"enabled": true}}"#] {
        let compiled = guard.compile("shop", &policy(json));
        assert!(compiled.is_empty());
        assert_eq!(Ask::new(&guard).status(&guard, &compiled), 200);
    }
    assert!(guard.projects.lock().unwrap().is_empty());
}

#[test]
fn routes_of_a_project_share_what_they_say_alike_and_counts_outlive_a_change() {
    let guard = Guard::new(None);
    let first = guard.compile("shop", &policy(r#"{"limits": {"client": {"requests_per_s": 1, "burst": 0}}}"#));
    let second = guard.compile("shop", &policy(r#"{"limits": {"client": {"requests_per_s": 1, "burst": 0}}}"#));
    assert!(Arc::ptr_eq(first.0.as_ref().unwrap(), second.0.as_ref().unwrap()));
    let ask = Ask::new(&guard);
    assert_eq!((ask.status(&guard, &first), ask.status(&guard, &second)), (200, 429));
    let changed = guard.compile("shop", &policy(r#"{"limits": {"client": {"requests_per_s": 2, "burst": 0}}}"#));
    assert_eq!(ask.status(&guard, &changed), 429);
    let other = guard.compile("blog", &policy(r#"{"limits": {"client": {"requests_per_s": 1, "burst": 0}}}"#));
    assert_eq!(ask.status(&guard, &other), 200, "projects count apart");
    drop((first, second, changed, other));
    guard.sweep(guard.started);
    assert!(guard.projects.lock().unwrap().is_empty(), "what no route uses is forgotten");
}

#[test]
fn a_visitor_who_asks_too_often_is_told_when_to_come_again_and_others_are_unharmed() {
    let guard = Guard::new(None);
    let compiled = guard.compile("shop", &policy(r#"{"limits": {"client": {"requests_per_s": 10, "burst": 4}}}"#));
    let mut ask = Ask::new(&guard);
    let statuses: Vec<u16> = (0..8).map(|_| ask.status(&guard, &compiled)).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429]);
    let Verdict::Refuse(refusal) = ask.of(&guard, &compiled) else { panic!("it was admitted") };
    assert_eq!((refusal.why, refusal.retry_after), (Why::ClientRate, Some(Duration::from_millis(100))));
    assert_eq!(Ask { client: "192.0.2.2", ..Ask::new(&guard) }.status(&guard, &compiled), 200);
    ask.at += Duration::from_millis(100);
    assert_eq!((ask.status(&guard, &compiled), ask.status(&guard, &compiled)), (200, 429));
    // One IPv6 network is one visitor.
    for client in ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"] {
        assert_eq!(Ask { client, ..Ask::new(&guard) }.status(&guard, &compiled), 200);
    }
    assert_eq!(Ask { client: "2001:db8::6", ..Ask::new(&guard) }.status(&guard, &compiled), 429);
    assert_eq!(Ask { client: "2001:db8:0:1::6", ..Ask::new(&guard) }.status(&guard, &compiled), 200);
}

#[test]
fn a_request_counts_as_concurrent_until_its_permit_is_gone() {
    let guard = Guard::new(None);
    let limits = r#"{"limits": {"client": {"concurrent": 2}, "project": {"concurrent": 3}}}"#;
    let compiled = guard.compile("shop", &policy(limits));
    let from = |client| Ask { client, ..Ask::new(&guard) };
    let (one, two) = (from("192.0.2.1"), from("192.0.2.2"));
    let first = one.of(&guard, &compiled);
    let second = one.of(&guard, &compiled);
    assert_eq!(one.status(&guard, &compiled), 429);
    let third = two.of(&guard, &compiled);
    let refused = two.of(&guard, &compiled);
    let Verdict::Refuse(refusal) = &refused else { panic!("it was admitted") };
    assert_eq!((refusal.status, refusal.why), (503, Why::ProjectConcurrency));
    drop(first);
    assert_eq!(two.status(&guard, &compiled), 200, "a refused request does not count");
    drop((second, third));
    let all: Vec<Verdict> = (0..2).map(|_| one.of(&guard, &compiled)).collect();
    assert_eq!(all.iter().map(status).collect::<Vec<_>>(), [200, 200]);
}

#[test]
fn whoever_exceeds_its_own_limit_takes_nothing_from_the_projects() {
    let guard = Guard::new(None);
    let limits = r#"{"limits": {"client": {"requests_per_s": 1, "burst": 0},
                     "project": {"requests_per_s": 1, "burst": 1}}}"#;
    let compiled = guard.compile("shop", &policy(limits));
    let ask = Ask::new(&guard);
    let statuses: Vec<u16> = (0..100).map(|_| ask.status(&guard, &compiled)).collect();
    assert_eq!((statuses[0], statuses[99]), (200, 429));
    assert_eq!(Ask { client: "192.0.2.2", ..Ask::new(&guard) }.status(&guard, &compiled), 200);
    let Verdict::Refuse(refusal) = (Ask { client: "192.0.2.3", ..Ask::new(&guard) }).of(&guard, &compiled) else {
        panic!("it was admitted")
    };
    assert_eq!((refusal.status, refusal.why), (503, Why::ProjectRate));
}

#[test]
fn addresses_that_are_not_served_come_before_every_rule() {
    let guard = Guard::new(None);
    let json = r#"{"access": {"allow": ["192.0.2.0/24"], "deny": ["192.0.2.66/32"]},
                   "rules": [{"name": "all", "then": "allow"}]}"#;
    let compiled = guard.compile("shop", &policy(json));
    for (client, expected) in [("192.0.2.1", 200), ("192.0.2.66", 403), ("::ffff:192.0.2.1", 200), ("::1", 403)] {
        assert_eq!(Ask { client, ..Ask::new(&guard) }.status(&guard, &compiled), expected, "{client}");
    }
}

#[test]
fn the_first_rule_that_ends_a_request_ends_it_and_all_that_matched_are_named() {
    let guard = Guard::new(None);
    let json = r#"{"rules": [
        {"name": "watch", "if": {"paths": ["/admin*"]}, "then": "log"},
        {"name": "office", "if": {"addresses": ["192.0.2.0/28"]}, "then": "allow"},
        {"name": "no-admin", "if": {"paths": ["/admin", "/admin/*"]}, "then": {"deny": {"status": 404}}},
        {"name": "robots", "if": {"headers": [{"name": "user-agent", "value": "*Bot*"}], "methods": ["GET", "HEAD"]},
         "then": {"deny": {}}},
        {"name": "moved", "if": {"paths": ["/old*"]}, "then": {"redirect": {"to": "/new", "status": 308}}},
        {"name": "no-key", "if": {"paths": ["/api/*"], "headers": [{"name": "x-key", "not": true}]},
         "then": {"deny": {"status": 401}}}]}"#;
    let compiled = guard.compile("shop", &policy(json));
    let outside = || Ask { client: "198.51.100.1", ..Ask::new(&guard) };
    let bot = || HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("Bot/1"))]);

    let office = Ask { path: "/admin/x", ..Ask::new(&guard) };
    let Verdict::Admit(permit) = office.of(&guard, &compiled) else { panic!("it was refused") };
    assert_eq!(permit.rules().iter().map(|r| &**r).collect::<Vec<_>>(), ["watch", "office"]);
    let denied = Ask { path: "/admin/x", ..outside() };
    let Verdict::Refuse(refusal) = denied.of(&guard, &compiled) else { panic!("it was admitted") };
    assert_eq!(refusal.rules.iter().map(|r| &**r).collect::<Vec<_>>(), ["watch", "no-admin"]);
    assert_eq!((refusal.status, refusal.why), (404, Why::Rule));
    for (ask, expected) in [
        (Ask { path: "/administration", ..outside() }, 200),
        (Ask { headers: bot(), ..outside() }, 403),
        (Ask { headers: bot(), method: "POST", ..outside() }, 200),
        (Ask { path: "/old/page", ..outside() }, 308),
        (Ask { path: "/api/x", ..outside() }, 401),
        (
            Ask {
                path: "/api/x",
                headers: HeaderMap::from_iter([("x-key".parse().unwrap(), "1".parse().unwrap())]),
                ..outside()
            },
            200,
        ),
    ] {
        assert_eq!(ask.status(&guard, &compiled), expected, "{} {}", ask.method, ask.path);
    }
}

#[test]
fn a_rule_limits_each_visitor_each_value_of_a_field_or_all() {
    for (by, statuses) in [
        (r#""client""#, [200, 200, 429, 200, 200, 429]),
        (r#"{"header": "x-key"}"#, [200, 200, 429, 429, 429, 429]),
        (r#""project""#, [200, 200, 429, 429, 429, 429]),
    ] {
        let guard = Guard::new(None);
        let json = format!(
            r#"{{"rules": [{{"name": "login", "if": {{"methods": ["POST"]}},
                 "then": {{"rate_limit": {{"requests": 2, "per_s": 60, "by": {by}}}}}}}]}}"#
        );
        let compiled = guard.compile("shop", &policy(&json));
        let mut seen = Vec::new();
        for client in ["192.0.2.1", "192.0.2.2"] {
            let headers = HeaderMap::from_iter([("x-key".parse().unwrap(), HeaderValue::from_static("a"))]);
            let ask = Ask { client, method: "POST", headers, ..Ask::new(&guard) };
            seen.extend((0..3).map(|_| ask.status(&guard, &compiled)));
            assert_eq!(Ask { client, ..Ask::new(&guard) }.status(&guard, &compiled), 200, "others do not match");
        }
        assert_eq!(seen, statuses, "{by}");
        let headers = HeaderMap::from_iter([("x-key".parse().unwrap(), HeaderValue::from_static("b"))]);
        let other = Ask { method: "POST", headers, client: "192.0.2.3", ..Ask::new(&guard) };
        let expected = if by.contains("project") { 429 } else { 200 };
        assert_eq!(other.status(&guard, &compiled), expected, "{by}");
        let mut later = Ask { method: "POST", ..Ask::new(&guard) };
        later.at += Duration::from_secs(60);
        assert_eq!(later.status(&guard, &compiled), 200);
    }
}

#[test]
fn countries_match_what_the_file_says_and_nothing_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("countries.mmdb");
    std::fs::write(&path, crate::geo::tests::file(&[(192, "CH"), (198, "DE")])).unwrap();
    let json =
        r#"{"rules": [{"name": "not-us", "if": {"countries": ["CH", "LI"]}, "then": {"deny": {"status": 451}}}]}"#;
    for (guard, here) in [(Guard::new(Some(Geo::open(&path).unwrap())), 451), (Guard::new(None), 200)] {
        let compiled = guard.compile("shop", &policy(json));
        assert_eq!(Ask::new(&guard).status(&guard, &compiled), here);
        assert_eq!(Ask { client: "198.51.100.1", ..Ask::new(&guard) }.status(&guard, &compiled), 200);
        assert_eq!(Ask { client: "203.0.113.1", ..Ask::new(&guard) }.status(&guard, &compiled), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_paced_body_is_as_slow_as_its_project_or_its_visitor_may_be() {
    let guard = Guard::new(None);
    for (json, seconds) in [
        (r#"{"limits": {"client": {"bytes_per_s": 100000}}}"#, 10),
        (r#"{"limits": {"project": {"bytes_per_s": 50000}}}"#, 20),
        (r#"{"limits": {"project": {"bytes_per_s": 50000}, "client": {"bytes_per_s": 100000}}}"#, 20),
    ] {
        // Each begins with a project of its own.
        let compiled = guard.compile(json, &policy(json));
        let Verdict::Admit(permit) = Ask::new(&guard).of(&guard, &compiled) else { panic!("it was refused") };
        assert!(permit.is_paced());
        let began = tokio::time::Instant::now();
        for _ in 0..100 {
            if let Some(wait) = permit.pace(10_000) {
                tokio::time::sleep(wait).await;
            }
        }
        let took = began.elapsed();
        assert!((seconds - 1..=seconds).contains(&took.as_secs()), "{json}: {took:?}");
    }
    let free = guard.compile("free", &policy(r#"{"limits": {"client": {"concurrent": 5}}}"#));
    let Verdict::Admit(permit) = Ask::new(&guard).of(&guard, &free) else { panic!("it was refused") };
    assert!(!permit.is_paced() && permit.pace(1 << 30).is_none());
}

#[test]
fn an_overloaded_edge_refuses_strangers_of_every_project_and_lets_known_visitors_in() {
    let guard = Guard::new(None);
    let late = Measures { lag: Duration::from_secs(1), ..Measures::default() };
    for _ in 0..7 {
        guard.overload().observe(&late);
    }
    let count = |headers: HeaderMap| {
        let ask = Ask { headers, ..Ask::new(&guard) };
        let refused = (0..1000).map(|_| ask.of(&guard, &Compiled::default())).filter(|verdict| {
            let Verdict::Refuse(refusal) = verdict else { return false };
            assert_eq!((refusal.status, refusal.why), (503, Why::Overload));
            assert!(refusal.retry_after.is_some());
            true
        });
        refused.count()
    };
    assert!(count(HeaderMap::new()) > 900);
    assert_eq!(count(HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("session=1"))])), 0);
}

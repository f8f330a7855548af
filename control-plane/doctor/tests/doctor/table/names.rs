//! Registrations, name servers, signatures and records.

use std::time::Duration;

use doctor::{
    Action, Code, Severity,
    host::Host,
    judge::judge,
    observation::{Observation, Registration},
};
use jiff::Timestamp;
use lookup::{
    Existence, Found, Listed, LookupError, RecordType, Server, ServerFault, Trust,
    dnssec::{Bogus, Cause},
};

use super::{APEX, HOST, absent, addresses, at, cname, codes, codes_of, expected, healthy, name, nothing, server};

fn registered(status: &str, expires: &str) -> Option<Registration> {
    let expires = Some(expires.parse().unwrap());
    Some(Registration::Registered {
        status: vec![status.to_owned()],
        expires,
        registrar: Some("Example Inc.".to_owned()),
    })
}

fn bogus(cause: Cause) -> Result<Trust, LookupError> {
    Ok(Trust::Bogus(Bogus { zone: name(APEX), ds: vec![4711], cause }))
}

#[test]
fn a_domain_that_leads_here_has_no_findings() {
    assert_eq!(codes(&healthy()), []);
    assert_eq!(codes(&addresses(&["198.51.100.7"], &[])), []);
}

#[test]
fn registrations_that_keep_a_domain_out_of_the_dns_are_named_and_nothing_after_them() {
    let with = |registration| Observation { registration, ..absent("example") };
    let later = "2030-01-01T00:00:00Z";
    for (registration, code) in [
        (None, Code::NotRegistered),
        (Some(Registration::NotRegistered), Code::NotRegistered),
        (Some(Registration::Unknown("it is closed".to_owned())), Code::NotRegistered),
        (registered("client hold", later), Code::RegistrarHold),
        (registered("server hold", later), Code::RegistrarHold),
        (registered("redemption period", "2026-10-01T00:00:00Z"), Code::RegistrationExpired),
        (registered("pending delete", later), Code::RegistrationExpired),
        (registered("active", "2026-10-01T00:00:00Z"), Code::RegistrationExpired),
        (registered("active", later), Code::NotDelegated),
    ] {
        assert_eq!(codes(&with(registration.clone())), [code], "{registration:?}");
    }
    // A registry of the second level: shop.co.uk is not in co.uk.
    let uk = Observation { registration: None, ..absent("co.uk") };
    assert_eq!(codes_of("www.shop.co.uk", &expected(), &uk), [Code::NotRegistered]);
    let parked = Server { name: name("ns1.pendingrenewaldeletion.com"), ..server("ns1", Listed::Both) };
    let seen = addresses(&["203.0.113.9"], &[]);
    let seen = Observation { each: Ok(vec![(parked, Ok(at(HOST, &["203.0.113.9"])))]), ..seen };
    assert_eq!(codes(&seen), [Code::RegistrationExpired]);
}

#[test]
fn records_that_lead_elsewhere_are_named() {
    let wrong_target = Observation {
        cname: Ok(cname("other.host.example")),
        a: Ok(Found { cnames: vec![name("other.host.example")], ..at("other.host.example", &["203.0.113.9"]) }),
        aaaa: Ok(nothing(Existence::NoData)),
        ..healthy()
    };
    let dangling = Observation {
        a: Ok(Found { cnames: vec![name("other.host.example")], ..nothing(Existence::NoName) }),
        ..wrong_target.clone()
    };
    let cdn_name = Observation {
        cname: Ok(cname("d1.cloudfront.net")),
        a: Ok(Found { cnames: vec![name("d1.cloudfront.net")], ..at("d1.cloudfront.net", &["203.0.113.9"]) }),
        ..wrong_target.clone()
    };
    let circle = LookupError::Loop(vec![name(HOST), name("two.shop.example"), name(HOST)]);
    let circle = Observation { a: Err(circle.clone()), aaaa: Err(circle), ..wrong_target.clone() };
    for (seen, expected) in [
        (absent(APEX), vec![Code::NoSuchName]),
        (addresses(&[], &[]), vec![Code::NoAddress]),
        (wrong_target.clone(), vec![Code::WrongCname]),
        (dangling, vec![Code::WrongCname]),
        (circle, vec![Code::CnameLoop]),
        (addresses(&["203.0.113.9"], &[]), vec![Code::WrongA]),
        (addresses(&["198.51.100.7", "203.0.113.9"], &[]), vec![Code::WrongA]),
        (addresses(&[], &["2001:db8::9"]), vec![Code::WrongA]),
        (addresses(&["198.51.100.7"], &["2001:db8::9"]), vec![Code::StaleAaaa]),
        (addresses(&["203.0.113.9"], &["2001:db8::9"]), vec![Code::WrongA, Code::StaleAaaa]),
        (addresses(&["104.21.3.4"], &["2606:4700::1"]), vec![Code::Proxied]),
        (cdn_name, vec![Code::Proxied]),
        (Observation { beside: vec![RecordType::MX], ..healthy() }, vec![Code::CnameBesideOthers]),
        (Observation { beside: vec![RecordType::MX], ..wrong_target }, vec![Code::CnameBesideOthers, Code::WrongCname]),
    ] {
        assert_eq!(codes(&seen), expected, "{seen:?}");
    }
    assert_eq!(codes_of(APEX, &expected(), &healthy()), [Code::ApexCname]);
}

#[test]
fn a_finding_names_the_exact_records_to_set_and_to_remove() {
    let judged = |host: &str, seen: &Observation| {
        let (host, _) = Host::read(host).unwrap();
        judge(&host, &expected(), seen).remove(0)
    };
    let shown = |finding: &doctor::Finding| {
        let line = |change: &doctor::Change| {
            let word = if change.action == Action::Set { "+" } else { "-" };
            format!("{word} {} {} {}", change.name, change.kind, change.value)
        };
        finding.changes.iter().map(line).collect::<Vec<_>>()
    };
    let missing = judged(HOST, &absent(APEX));
    assert_eq!(shown(&missing), ["+ www.shop.example CNAME shop.apps.example"]);
    assert!(missing.fix.contains("5 min"), "{}", missing.fix);
    let wrong = judged(HOST, &addresses(&["203.0.113.9"], &[]));
    assert_eq!(shown(&wrong), ["- www.shop.example A 203.0.113.9", "+ www.shop.example CNAME shop.apps.example"]);
    let apex = judged(APEX, &addresses(&["203.0.113.9"], &[]));
    assert_eq!(shown(&apex), ["- shop.example A 203.0.113.9", "+ shop.example A 198.51.100.7"]);
    let stale = judged(HOST, &addresses(&["198.51.100.7"], &["2001:db8::9"]));
    assert_eq!(shown(&stale), ["- www.shop.example AAAA 2001:db8::9"]);
    let star = judged("*.shop.example", &absent(APEX));
    assert_eq!(shown(&star), ["+ *.shop.example CNAME shop.apps.example"]);
}

#[test]
fn name_servers_that_fail_or_disagree_are_named_before_what_follows() {
    let other = (server("ns2", Listed::Both), Ok(at(HOST, &["203.0.113.9"])));
    let lame = (server("ns2", Listed::Both), Err(ServerFault::NotAuthoritative));
    let silent = (server("ns2", Listed::Both), Err(ServerFault::Timeout));
    let hidden = (server("ns2", Listed::Zone), Ok(cname("shop.apps.example")));
    for (second, code, severity) in [
        (other, Code::NameServersDisagree, Severity::Error),
        (lame, Code::LameDelegation, Severity::Warning),
        (silent, Code::NameServerUnreachable, Severity::Warning),
        (hidden, Code::DelegationDiffers, Severity::Notice),
    ] {
        let mut seen = healthy();
        seen.each.as_mut().unwrap().push(second);
        let (host, _) = Host::read(HOST).unwrap();
        let findings = judge(&host, &expected(), &seen);
        assert_eq!((findings.len(), findings[0].code, findings[0].severity), (1, code, severity));
    }
    let out = LookupError::Unanswered { zone: name(APEX), faults: Vec::new() };
    let all = Observation {
        cname: Err(out.clone()),
        a: Err(out.clone()),
        aaaa: Err(out.clone()),
        caa: Err(out.clone()),
        each: Ok(vec![(server("ns1", Listed::Parent), Err(ServerFault::NotAuthoritative))]),
        soa: Err(out),
        visits: Vec::new(),
        ..healthy()
    };
    assert_eq!(codes(&all), [Code::LameDelegation]);
    let lost =
        Observation { each: Err(LookupError::Timeout { name: name(HOST), after: Duration::from_secs(20) }), ..all };
    assert_eq!(codes(&lost), [Code::Unanswered]);
}

#[test]
fn signatures_that_do_not_hold_are_named_with_what_to_remove() {
    let end = Timestamp::from_second(1_577_923_200).unwrap();
    for cause in
        [Cause::NoKeys, Cause::OtherKeys, Cause::Unsigned, Cause::Expired(end), Cause::NotYet(end), Cause::Wrong]
    {
        let seen = Observation { trust: bogus(cause), ..healthy() };
        let (host, _) = Host::read(HOST).unwrap();
        let findings = judge(&host, &expected(), &seen);
        assert_eq!((findings.len(), findings[0].code), (1, Code::DnssecBogus), "{cause:?}");
        assert!(matches!(cause, Cause::NotYet(_)) || findings[0].fix.contains("4711"), "{}", findings[0].fix);
    }
}

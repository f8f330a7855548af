//! The judgement by itself: what was seen, and which findings follow, in which order.

use std::time::Duration;

use doctor::{
    Action, Authority, Code, EdgeSigns, Expected, Severity,
    expected::{Proof, ProofKind},
    host::Host,
    judge::judge,
    observation::{Caa, CaaRecord, Certificate, Head, Observation, Registration, Secure, Unreached, Visit},
};
use hickory_proto::rr::rdata::{CNAME, TXT};
use jiff::Timestamp;
use lookup::{
    Existence, Found, Listed, LookupError, Name, RData, Record, RecordType, Remembered, Server, ServerFault, Trust,
    dnssec::{Bogus, Cause},
};

const HOST: &str = "www.shop.example";
const APEX: &str = "shop.example";

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn found(records: Vec<Record>) -> Found {
    let existence = if records.is_empty() { Existence::NoData } else { Existence::Name };
    Found { cnames: Vec::new(), records, existence, zone: name(APEX), ttl: Duration::from_secs(300) }
}

fn at(owner: &str, addresses: &[&str]) -> Found {
    let record = |address: &&str| {
        let data = match address.parse().unwrap() {
            std::net::IpAddr::V4(v4) => RData::A(v4.into()),
            std::net::IpAddr::V6(v6) => RData::AAAA(v6.into()),
        };
        Record::from_rdata(name(owner), 300, data)
    };
    found(addresses.iter().map(record).collect())
}

fn nothing(existence: Existence) -> Found {
    Found { existence, ..found(Vec::new()) }
}

fn cname(target: &str) -> Found {
    found(vec![Record::from_rdata(name(HOST), 300, RData::CNAME(CNAME(name(target))))])
}

fn txt(values: &[&str]) -> Found {
    let record = |value: &&str| {
        let data = RData::TXT(TXT::new(vec![(*value).to_owned()]));
        Record::from_rdata(name("_astrocloud.shop.example"), 300, data)
    };
    found(values.iter().map(record).collect())
}

fn server(label: &str, listed: Listed) -> Server {
    Server { name: name(&format!("{label}.shop.example")), address: Some("198.51.100.1".parse().unwrap()), listed }
}

fn edge() -> EdgeSigns {
    EdgeSigns { server: "AstroCloud".to_owned(), header: "x-astrocloud-deployment".to_owned() }
}

fn head(status: u16, fields: &[(&str, &str)]) -> Head {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Head { status, fields }
}

fn ours() -> Visit {
    let head = head(200, &[("server", "AstroCloud")]);
    let certificate = Certificate { fingerprint: "aa".to_owned(), ..Certificate::default() };
    Visit {
        address: "198.51.100.7".parse().unwrap(),
        plain: Ok(head.clone()),
        secure: Ok(Secure { certificate, head: Ok(head) }),
    }
}

fn expected() -> Expected {
    Expected {
        targets: vec!["shop.apps.example".to_owned()],
        addresses: vec!["198.51.100.7".parse().unwrap()],
        proofs: Vec::new(),
        authorities: vec![Authority {
            name: "Let's Encrypt".to_owned(),
            identities: vec!["letsencrypt.org".to_owned()],
            accounts: vec!["https://acme.example/acct/1".to_owned()],
            methods: vec!["http-01".to_owned(), "tls-alpn-01".to_owned()],
        }],
        edge: Some(edge()),
        certificates: Some(vec!["aa".to_owned()]),
    }
}

/// A name whose CNAME leads here, and all is well.
fn healthy() -> Observation {
    let followed = Found { cnames: vec![name("shop.apps.example")], ..at("shop.apps.example", &["198.51.100.7"]) };
    Observation {
        at: "2026-11-25T12:00:00Z".parse().unwrap(),
        cname: Ok(cname("shop.apps.example")),
        a: Ok(followed.clone()),
        aaaa: Ok(Found { cnames: followed.cnames, ..nothing(Existence::NoData) }),
        beside: Vec::new(),
        each: Ok(vec![(server("ns1", Listed::Both), Ok(cname("shop.apps.example")))]),
        soa: Ok(Vec::new()),
        proofs: Vec::new(),
        caa: Ok(Caa::default()),
        trust: Ok(Trust::Secure),
        remembered: Vec::new(),
        registration: None,
        visits: vec![ours()],
    }
}

/// A name with these addresses and no CNAME.
fn addresses(v4: &[&str], v6: &[&str]) -> Observation {
    let each = vec![(server("ns1", Listed::Both), Ok(at(HOST, v4)))];
    Observation {
        cname: Ok(nothing(Existence::NoData)),
        a: Ok(at(HOST, v4)),
        aaaa: Ok(at(HOST, v6)),
        each: Ok(each),
        ..healthy()
    }
}

fn absent(zone: &str) -> Observation {
    let found = Found { zone: name(zone), ..nothing(Existence::NoName) };
    Observation {
        cname: Ok(found.clone()),
        a: Ok(found.clone()),
        aaaa: Ok(found.clone()),
        each: Ok(vec![(server("ns1", Listed::Both), Ok(found))]),
        visits: Vec::new(),
        ..healthy()
    }
}

fn registered(status: &str, expires: &str) -> Option<Registration> {
    let expires = Some(expires.parse().unwrap());
    Some(Registration::Registered {
        status: vec![status.to_owned()],
        expires,
        registrar: Some("Example Inc.".to_owned()),
    })
}

fn caa(records: &[&str]) -> Result<Caa, LookupError> {
    let record = |text: &&str| {
        let (flags, rest) = text.split_once(' ').unwrap();
        let (tag, value) = rest.split_once(' ').unwrap();
        CaaRecord { critical: flags == "128", tag: tag.to_owned(), value: value.to_owned() }
    };
    Ok(Caa { at: Some(name(APEX)), records: records.iter().map(record).collect() })
}

fn bogus(cause: Cause) -> Result<Trust, LookupError> {
    Ok(Trust::Bogus(Bogus { zone: name(APEX), ds: vec![4711], cause }))
}

fn codes_of(host: &str, expected: &Expected, seen: &Observation) -> Vec<Code> {
    let (host, _) = Host::read(host).unwrap();
    judge(&host, expected, seen).into_iter().map(|finding| finding.code).collect()
}

fn codes(seen: &Observation) -> Vec<Code> {
    codes_of(HOST, &expected(), seen)
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

#[test]
fn caa_records_are_read_as_authorities_read_them() {
    let ours = "https://acme.example/acct/1";
    let account = format!("0 issue letsencrypt.org; accounturi={ours}; validationmethods=http-01,dns-01");
    for (records, wildcard, code) in [
        (vec![], false, None),
        (vec!["0 issue letsencrypt.org"], false, None),
        (vec!["0 issue LetsEncrypt.ORG "], false, None),
        (vec![account.as_str()], false, None),
        (vec!["0 issue other.example", "0 issue letsencrypt.org"], false, None),
        (vec!["0 iodef mailto:a@shop.example"], false, None),
        (vec!["0 issue other.example"], false, Some(Code::CaaForbids)),
        (vec!["0 issue ;"], false, Some(Code::CaaForbids)),
        (vec!["0 issue letsencrypt.org; accounturi=https://acme.example/acct/2"], false, Some(Code::CaaAccount)),
        (vec!["0 issue letsencrypt.org; accounturi=a; accounturi=b"], false, Some(Code::CaaAccount)),
        (vec!["0 issue letsencrypt.org; validationmethods=dns-01"], false, Some(Code::CaaMethods)),
        (
            vec!["0 issue other.example", "0 issue letsencrypt.org; validationmethods=dns-01"],
            false,
            Some(Code::CaaMethods),
        ),
        (vec!["128 tbs unknown", "0 issue letsencrypt.org"], false, Some(Code::CaaForbids)),
        (vec!["0 issue letsencrypt.org", "0 issuewild ;"], false, None),
        (vec!["0 issue letsencrypt.org", "0 issuewild ;"], true, Some(Code::CaaForbids)),
        (vec!["0 issue other.example", "0 issuewild letsencrypt.org"], true, None),
        (vec!["0 issuewild letsencrypt.org", "0 issue other.example"], false, Some(Code::CaaForbids)),
    ] {
        let seen = Observation { caa: caa(&records), ..healthy() };
        let host = if wildcard { "*.www.shop.example" } else { HOST };
        assert_eq!(codes_of(host, &expected(), &seen), code.into_iter().collect::<Vec<_>>(), "{records:?}");
    }
    let silent = LookupError::Unanswered { zone: name(APEX), faults: Vec::new() };
    assert_eq!(codes(&Observation { caa: Err(silent), ..healthy() }), [Code::CaaUnreadable]);
    let mut second = expected();
    second
        .authorities
        .push(Authority { identities: vec!["other.example".to_owned()], ..second.authorities[0].clone() });
    let seen = Observation { caa: caa(&["0 issue other.example"]), ..healthy() };
    assert_eq!(codes_of(HOST, &second, &seen), [], "one authority that may issue is enough");
}

#[test]
fn proofs_are_wanted_with_their_value() {
    let mut wanted = expected();
    wanted.proofs = vec![Proof {
        name: "_astrocloud.shop.example".to_owned(),
        kind: ProofKind::Txt,
        value: "right".to_owned(),
        purpose: "proves that the domain is yours".to_owned(),
    }];
    for (host, answer, code) in [
        (HOST, txt(&["right"]), None),
        (HOST, txt(&["other", "right"]), None),
        (HOST, txt(&["other"]), Some(Code::TxtWrong)),
        (HOST, nothing(Existence::NoName), Some(Code::TxtMissing)),
        ("*.www.shop.example", nothing(Existence::NoName), Some(Code::WildcardTxtMissing)),
    ] {
        let seen = Observation { proofs: vec![Ok(answer)], ..healthy() };
        assert_eq!(codes_of(host, &wanted, &seen), code.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_resolvers_remember_counts_only_where_the_records_are_right_by_now() {
    let old = Remembered {
        cnames: Vec::new(),
        records: at(HOST, &["203.0.113.9"]).records,
        existence: Existence::Name,
        left: Duration::from_secs(250),
    };
    let remembered = vec![("192.0.2.53".to_owned(), Ok(old))];
    let (host, _) = Host::read(HOST).unwrap();
    let findings = judge(&host, &expected(), &Observation { remembered: remembered.clone(), ..healthy() });
    assert_eq!((findings.len(), findings[0].code, findings[0].wait), (1, Code::TtlRunning, Some(250)));
    let wrong = Observation { remembered, ..addresses(&["203.0.113.9"], &[]) };
    assert_eq!(codes(&wrong), [Code::WrongA]);
}

#[test]
fn what_answers_at_the_addresses_is_judged_where_the_records_are_right() {
    let with = |change: &dyn Fn(&mut Visit)| {
        let mut visit = ours();
        change(&mut visit);
        Observation { visits: vec![visit], ..healthy() }
    };
    let nginx =
        || Secure { certificate: ours().secure.unwrap().certificate, head: Ok(head(200, &[("server", "nginx")])) };
    let other_certificate = || {
        let certificate = Certificate { fingerprint: "bb".to_owned(), ..Certificate::default() };
        Secure { certificate, ..ours().secure.unwrap() }
    };
    for (seen, expected) in [
        (with(&|visit| visit.plain = Err(Unreached::Refused)), vec![Code::Port80Closed]),
        (with(&|visit| visit.secure = Err(Unreached::Timeout)), vec![Code::Port443Closed]),
        (with(&|visit| visit.secure = Err(Unreached::Protocol("x".to_owned()))), vec![Code::Port443Other]),
        (with(&|visit| visit.secure = Ok(nginx())), vec![Code::Port443Other]),
        (with(&|visit| visit.secure = Ok(other_certificate())), vec![Code::CertificateOther]),
        (
            with(&|visit| {
                visit.plain = Err(Unreached::Timeout);
                visit.secure = Ok(Secure { head: Ok(head(200, &[])), ..other_certificate() });
            }),
            vec![Code::Port80Closed, Code::Port443Other, Code::CertificateOther],
        ),
    ] {
        assert_eq!(codes(&seen), expected, "{seen:?}");
    }
    let mut young = expected();
    young.certificates = None;
    assert_eq!(codes_of(HOST, &young, &with(&|visit| visit.secure = Ok(other_certificate()))), []);
}

#[test]
fn a_cdn_that_fetches_over_http_is_told_by_its_circle() {
    let circle = head(301, &[("server", "cloudflare"), ("location", "https://www.shop.example/")]);
    let mut visit = ours();
    visit.address = "104.21.3.4".parse().unwrap();
    visit.secure = Ok(Secure { certificate: Certificate::default(), head: Ok(circle) });
    let seen = Observation { visits: vec![visit], ..addresses(&["104.21.3.4"], &[]) };
    assert_eq!(codes(&seen), [Code::Proxied, Code::ProxyRedirectLoop]);
    let (host, _) = Host::read(HOST).unwrap();
    assert!(judge(&host, &expected(), &seen)[1].fix.contains("Full (strict)"));
    let mut through = seen;
    let forwards = head(200, &[("server", "cloudflare"), ("x-astrocloud-deployment", "1")]);
    through.visits[0].secure = Ok(Secure { certificate: Certificate::default(), head: Ok(forwards) });
    let findings = judge(&host, &expected(), &through);
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning));
}

//! Proofs, what resolvers remember, who may issue, and what answers.

use std::time::Duration;

use doctor::{
    Authority, Code, Severity,
    expected::{Proof, ProofKind},
    host::Host,
    judge::judge,
    observation::{Caa, CaaRecord, Certificate, Observation, Secure, Unreached, Visit},
};
use hickory_proto::rr::rdata::TXT;
use lookup::{Existence, Found, LookupError, RData, Record, Remembered};

use super::{APEX, HOST, addresses, at, codes, codes_of, expected, found, head, healthy, name, nothing, ours};

fn caa(records: &[&str]) -> Result<Caa, LookupError> {
    let record = |text: &&str| {
        let (flags, rest) = text.split_once(' ').unwrap();
        let (tag, value) = rest.split_once(' ').unwrap();
        CaaRecord { critical: flags == "128", tag: tag.to_owned(), value: value.to_owned() }
    };
    Ok(Caa { at: Some(name(APEX)), records: records.iter().map(record).collect() })
}

fn txt(values: &[&str]) -> Found {
    let record = |value: &&str| {
        let data = RData::TXT(TXT::new(vec![(*value).to_owned()]));
        Record::from_rdata(name("_astrocloud.shop.example"), 300, data)
    };
    found(values.iter().map(record).collect())
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
        name: name("_astrocloud.shop.example"),
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

//! Whether CAA records let our authorities issue (RFC 8659, RFC 8657).

use crate::{
    expected::{Authority, Expected},
    host::Host,
    observation::{Caa, CaaRecord, Observation, text},
    report::{Change, Code, Finding, Severity},
};

/// Tags that every authority knows; a record with another one that is critical stops all.
const KNOWN: [&str; 5] = ["issue", "issuewild", "issuemail", "iodef", "contactemail"];

pub(super) fn judge(host: &Host, expected: &Expected, seen: &Observation) -> Vec<Finding> {
    let Some(first) = expected.authorities.first() else { return Vec::new() };
    let caa = match &seen.caa {
        Ok(caa) => caa,
        // When nothing answers, the reason is told with the delegation.
        Err(_) if seen.a.is_err() => return Vec::new(),
        Err(error) => {
            return vec![Finding::new(
                Code::CaaUnreadable,
                Severity::Error,
                error.to_string(),
                "an answer to the question for CAA records: without one no authority may issue (RFC 8659 5.6)",
                "Ask the provider of your DNS why its servers do not answer for CAA records.",
            )];
        }
    };
    let Some(at) = caa.at.as_ref().map(text) else { return Vec::new() };
    if let Some(record) = caa.records.iter().find(|record| record.critical && !KNOWN.contains(&record.tag.as_str())) {
        let what = format!("{at} has a critical CAA record with the unknown tag \"{}\"", record.tag);
        let fix = "Remove the record, or the flag 128 from it.";
        let changes = vec![Change::remove(&at, "CAA", shown(record))];
        return vec![
            Finding::new(Code::CaaForbids, Severity::Error, what, "tags that authorities know", fix).with(changes),
        ];
    }
    let verdicts: Vec<Verdict> =
        expected.authorities.iter().map(|authority| verdict(caa, authority, host.wildcard)).collect();
    if verdicts.contains(&Verdict::Allowed) {
        return Vec::new();
    }
    // What comes nearest to being allowed is the least to change.
    let nearest = expected.authorities.iter().zip(verdicts).max_by_key(|(_, verdict)| verdict.nearness());
    let (authority, verdict) = nearest.unwrap_or((first, Verdict::Forbidden));
    vec![finding(host, caa, &at, authority, verdict)]
}

/// What CAA records say of one authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Forbidden,
    OtherAccount,
    OtherMethods,
}

impl Verdict {
    fn nearness(self) -> u8 {
        match self {
            Self::Allowed => 3,
            Self::OtherMethods => 2,
            Self::OtherAccount => 1,
            Self::Forbidden => 0,
        }
    }
}

/// The records that count: `issuewild` for wildcards where there is one (RFC 8659 4.3).
fn counting(caa: &Caa, wildcard: bool) -> (&'static str, Vec<&CaaRecord>) {
    let of = |tag: &str| caa.records.iter().filter(|record| record.tag == tag).collect::<Vec<_>>();
    match of("issuewild") {
        wild if wildcard && !wild.is_empty() => ("issuewild", wild),
        _ => ("issue", of("issue")),
    }
}

fn verdict(caa: &Caa, authority: &Authority, wildcard: bool) -> Verdict {
    let (_, records) = counting(caa, wildcard);
    if records.is_empty() {
        return Verdict::Allowed;
    }
    if authority.identities.is_empty() {
        // What its name is in CAA records is not known.
        return Verdict::Allowed;
    }
    let all = records.iter().map(|record| one(&record.value, authority));
    all.max_by_key(|verdict| verdict.nearness()).unwrap_or(Verdict::Forbidden)
}

fn one(value: &str, authority: &Authority) -> Verdict {
    let (issuer, parameters) = parse(value);
    if !authority.identities.iter().any(|identity| identity.eq_ignore_ascii_case(issuer)) {
        return Verdict::Forbidden;
    }
    let of = |tag: &'static str| {
        parameters.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(tag)).map(|(_, value)| *value)
    };
    // More than one makes the record void (RFC 8657 3).
    let accounts: Vec<&str> = of("accounturi").collect();
    let account = match accounts.as_slice() {
        [] => true,
        [one] => authority.accounts.is_empty() || authority.accounts.iter().any(|account| account == one),
        _ => false,
    };
    if !account {
        return Verdict::OtherAccount;
    }
    let ours = |method: &str| authority.methods.iter().any(|ours| ours.eq_ignore_ascii_case(method.trim()));
    let methods = of("validationmethods").all(|list| list.split(',').any(ours));
    if methods { Verdict::Allowed } else { Verdict::OtherMethods }
}

/// Issuer domain name and parameters (RFC 8659 4.2).
fn parse(value: &str) -> (&str, Vec<(&str, &str)>) {
    let mut parts = value.split(';').map(str::trim);
    let issuer = parts.next().unwrap_or_default();
    let parameters = parts.filter_map(|part| part.split_once('=')).map(|(key, value)| (key.trim(), value.trim()));
    (issuer, parameters.collect())
}

fn finding(host: &Host, caa: &Caa, at: &str, authority: &Authority, verdict: Verdict) -> Finding {
    let (tag, records) = counting(caa, host.wildcard);
    let identity = authority.identities.first().map_or("", String::as_str);
    let there = records.iter().map(|record| shown(record)).collect::<Vec<_>>().join(" and ");
    let own = |record: &&&CaaRecord| one(&record.value, authority) != Verdict::Forbidden;
    let mut changes: Vec<Change> =
        records.iter().filter(own).map(|record| Change::remove(at, "CAA", shown(record))).collect();
    changes.push(Change::set(at, "CAA", format!("0 {tag} \"{identity}\"")));
    let name = &authority.name;
    let (code, expected, fix) = match verdict {
        Verdict::OtherAccount => (
            Code::CaaAccount,
            match authority.accounts.first() {
                Some(account) => format!("no accounturi, or {account}"),
                None => "no accounturi".to_owned(),
            },
            format!("Take accounturi out of the record for {name}, or set it to this platform's account."),
        ),
        Verdict::OtherMethods => (
            Code::CaaMethods,
            format!("no validationmethods, or one of {}", super::list(&authority.methods)),
            format!("Take validationmethods out of the record for {name}, or add a method of this platform."),
        ),
        Verdict::Forbidden | Verdict::Allowed => (
            Code::CaaForbids,
            format!("{name} ({identity}) may issue for {}", host.name()),
            format!("Add a CAA record for {name} beside those that are there, or remove them all."),
        ),
    };
    Finding::new(code, Severity::Error, format!("the CAA records of {at} are {there}"), expected, fix).with(changes)
}

fn shown(record: &CaaRecord) -> String {
    format!("{} {} \"{}\"", if record.critical { 128 } else { 0 }, record.tag, record.value)
}

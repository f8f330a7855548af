//! From what was seen to what is wrong: pure functions, one file for each part of the way.

mod caa;
mod delegation;
mod records;
mod registration;
mod rest;
mod trust;
mod web;

pub(crate) use registration::doubtful;
pub(crate) use web::leads_to_itself;

use std::net::IpAddr;

use lookup::LookupError;

use crate::{
    expected::Expected,
    host::Host,
    observation::{Observation, addresses, text},
    report::{Change, Code, Finding, Severity},
};

/// All findings, a cause before its consequences: the registration, the delegation, signatures, the records, what
/// resolvers remember, who may issue, and what answers.
pub fn judge(host: &Host, expected: &Expected, seen: &Observation) -> Vec<Finding> {
    let registration = registration::judge(host, seen);
    if registration.iter().any(|finding| finding.severity == Severity::Error) {
        // Nothing below a domain that is not in the DNS can be right or wrong.
        return registration;
    }
    let mut findings = registration;
    findings.extend(delegation::judge(seen));
    findings.extend(trust::judge(seen));
    findings.extend(records::judge(host, expected, seen));
    findings.extend(rest::proofs(host, expected, seen));
    findings.extend(rest::remembered(expected, seen));
    findings.extend(caa::judge(host, expected, seen));
    findings.extend(web::judge(host, expected, seen));
    if findings.is_empty()
        && let Err(error) = &seen.a
    {
        findings.push(unanswered(error));
    }
    findings
}

/// The DNS itself is in the way, and it is not known where.
fn unanswered(error: &LookupError) -> Finding {
    Finding::new(
        Code::Unanswered,
        Severity::Error,
        error.to_string(),
        "an answer of the name servers",
        "Check again in a few minutes. If it stays so, ask the provider of your DNS.",
    )
}

/// Where the name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pointing {
    /// Here, and only here.
    Here,
    /// Nowhere: no records, or no such name.
    Nowhere,
    /// To these addresses that are not ours, beside some that are perhaps.
    Elsewhere(Vec<IpAddr>),
}

fn pointing(expected: &Expected, seen: &Observation) -> Pointing {
    let chain = seen.a.iter().chain(&seen.aaaa).flat_map(|found| &found.cnames).map(text);
    if chain.chain(seen.target()).any(|name| expected.targets.contains(&name)) {
        return Pointing::Here;
    }
    points(expected, &seen.addresses())
}

fn points(expected: &Expected, addresses: &[IpAddr]) -> Pointing {
    let strange: Vec<IpAddr> =
        addresses.iter().filter(|address| !expected.addresses.contains(address)).copied().collect();
    match (addresses.is_empty(), strange.is_empty()) {
        (true, _) => Pointing::Nowhere,
        (false, true) => Pointing::Here,
        (false, false) => Pointing::Elsewhere(strange),
    }
}

/// The records that lead here: a CNAME where one may stand, addresses at an apex.
fn right(host: &Host, expected: &Expected, apex: bool) -> Vec<Change> {
    match expected.targets.first() {
        Some(target) if !apex || expected.addresses.is_empty() => {
            vec![Change::set(&host.name(), if apex { "ALIAS" } else { "CNAME" }, target.clone())]
        }
        _ => expected.addresses.iter().map(|address| address_record(host, *address)).collect(),
    }
}

fn address_record(host: &Host, address: IpAddr) -> Change {
    Change::set(&host.name(), family(address), address.to_string())
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "A" } else { "AAAA" }
}

/// Whether the name is the apex of its zone, where no CNAME may stand. Without knowing the zone, a registered domain is.
fn is_apex(host: &Host, seen: &Observation) -> bool {
    match seen.zone() {
        Some(zone) => text(zone) == host.name(),
        None => !host.wildcard && host.base == host.registrable,
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The addresses of a name as each server or resolver gives them, in words.
fn shown(found: &lookup::Found) -> String {
    if let Some(target) = found.cnames.first() {
        return format!("CNAME {}", text(target));
    }
    match (found.records.is_empty(), found.existence) {
        (false, _) => list(addresses(found)),
        (true, lookup::Existence::NoName) => "no such name".to_owned(),
        (true, _) => "no address".to_owned(),
    }
}

//! Whether the zone's name servers serve it, and agree.

use std::collections::BTreeMap;

use lookup::{Found, Listed, RData, Server, ServerFault};

use super::{list, shown};
use crate::{
    observation::{Observation, text},
    report::{Code, Finding, Severity},
};

pub(super) fn judge(seen: &Observation) -> Vec<Finding> {
    let Ok(each) = &seen.each else { return Vec::new() };
    let zone = seen.zone().map_or("the zone".to_owned(), text);
    let (good, bad): (Vec<_>, Vec<_>) = each.iter().partition(|(_, answer)| answer.is_ok());
    let (lame, silent): (Vec<_>, Vec<_>) = bad
        .into_iter()
        .filter_map(|(server, answer)| answer.as_ref().err().map(|fault| (server, fault)))
        .partition(|(_, fault)| matches!(fault, ServerFault::NotAuthoritative | ServerFault::Code(_)));
    let severity = if good.is_empty() { Severity::Error } else { Severity::Warning };
    let mut findings = Vec::new();
    if !lame.is_empty() {
        findings.push(Finding::new(
            Code::LameDelegation,
            severity,
            faults(&lame),
            format!("every name server of {zone} answers for it"),
            "At the registrar, name only servers that hold the zone; or set the zone up on these servers.",
        ));
    }
    if !silent.is_empty() {
        findings.push(Finding::new(
            Code::NameServerUnreachable,
            severity,
            faults(&silent),
            format!("every name server of {zone} can be reached"),
            "Ask the provider of your DNS, or remove these servers at the registrar and from the zone's NS records.",
        ));
    }
    findings.extend(disagreement(seen, &good));
    findings.extend(lists(&zone, &good));
    findings
}

fn faults(servers: &[(&Server, &ServerFault)]) -> String {
    servers.iter().map(|(server, fault)| format!("{}: {fault}", named(server))).collect::<Vec<_>>().join("; ")
}

fn named(server: &Server) -> String {
    match server.address {
        Some(address) => format!("{} ({address})", text(&server.name)),
        None => text(&server.name),
    }
}

type Answered<'a> = &'a (Server, Result<Found, ServerFault>);

fn disagreement(seen: &Observation, good: &[Answered<'_>]) -> Option<Finding> {
    let mut says: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (server, answer) in good {
        if let Ok(found) = answer {
            says.entry(shown(found)).or_default().push(with_serial(seen, server));
        }
    }
    if says.len() < 2 {
        return None;
    }
    let seen = says.iter().map(|(what, servers)| format!("{} from {}", what, list(servers)));
    Some(Finding::new(
        Code::NameServersDisagree,
        Severity::Error,
        seen.collect::<Vec<_>>().join("; "),
        "the same answer from every name server",
        "A change has not reached every server: wait for the provider of your DNS, or set the record at each of them. \
         If the servers belong to two providers, remove one of them at the registrar.",
    ))
}

/// The server with its zone's serial, by which one sees who is behind.
fn with_serial(seen: &Observation, server: &Server) -> String {
    let serial = seen.soa.iter().flatten().find(|(other, _)| other == server).and_then(|(_, answer)| {
        answer.as_ref().ok()?.records.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
    });
    match serial {
        Some(serial) => format!("{} (serial {serial})", text(&server.name)),
        None => text(&server.name),
    }
}

fn lists(zone: &str, good: &[Answered<'_>]) -> Option<Finding> {
    let only = |who: Listed| {
        let mut names: Vec<String> =
            good.iter().filter(|(server, _)| server.listed == who).map(|(server, _)| text(&server.name)).collect();
        names.dedup();
        names
    };
    let (parent, own) = (only(Listed::Parent), only(Listed::Zone));
    let both = good.iter().any(|(server, _)| server.listed == Listed::Both);
    // A zone whose parent lies on the same servers has no list of its parent here.
    if parent.is_empty() && (own.is_empty() || !both) {
        return None;
    }
    let mut seen = Vec::new();
    if !parent.is_empty() {
        seen.push(format!("the registry names {}, the zone does not", list(parent)));
    }
    if !own.is_empty() {
        seen.push(format!("the zone names {}, the registry does not", list(own)));
    }
    Some(Finding::new(
        Code::DelegationDiffers,
        Severity::Notice,
        seen.join("; "),
        format!("the registry and {zone} name the same servers"),
        "Enter at the registrar the servers that the zone's NS records name.",
    ))
}

//! Whether the name's records lead here.

use std::net::IpAddr;

use lookup::{Existence, LookupError};

use super::{Pointing, address_record, family, is_apex, list, pointing, right, unanswered};
use crate::{
    cdn::{self, Cdn},
    expected::Expected,
    host::Host,
    observation::{Observation, text},
    report::{Change, Code, Finding, Severity},
};

pub(super) fn judge(host: &Host, expected: &Expected, seen: &Observation) -> Vec<Finding> {
    let mut findings = Vec::new();
    let apex = is_apex(host, seen);
    if let Some(target) = seen.target() {
        if apex {
            findings.push(apex_cname(host, expected, &target));
        } else if !seen.beside.is_empty() {
            findings.push(beside(host, expected, seen, &target));
        }
    }
    findings.extend(destination(host, expected, seen, apex));
    findings
}

fn apex_cname(host: &Host, expected: &Expected, target: &str) -> Finding {
    let mut changes = vec![Change::remove(&host.name(), "CNAME", target)];
    changes.extend(right(host, expected, true));
    Finding::new(
        Code::ApexCname,
        Severity::Error,
        format!("{} is the top of its zone and has a CNAME to {target}", host.name()),
        "addresses there: a CNAME hides the zone's own SOA and NS records (RFC 1034 3.6.2)",
        "Replace the CNAME by A and AAAA records, or by an ALIAS (ANAME) record if your DNS provider has them.",
    )
    .with(changes)
}

fn beside(host: &Host, expected: &Expected, seen: &Observation, target: &str) -> Finding {
    let leads_here = expected.targets.iter().any(|right| right == target);
    let mut changes = Vec::new();
    if leads_here {
        changes.extend(seen.beside.iter().map(|kind| Change::remove(&host.name(), &kind.to_string(), "")));
    } else {
        changes.push(Change::remove(&host.name(), "CNAME", target));
    }
    Finding::new(
        Code::CnameBesideOthers,
        Severity::Error,
        format!("{} has a CNAME to {target} and beside it {}", host.name(), list(&seen.beside)),
        "a CNAME alone (RFC 1034 3.6.2): resolvers find now the one, now the other",
        if leads_here {
            "Remove the other records of this name, or move them to a name of their own."
        } else {
            "Remove the CNAME, or the other records."
        },
    )
    .with(changes)
}

/// Where the name leads, if not here.
fn destination(host: &Host, expected: &Expected, seen: &Observation, apex: bool) -> Vec<Finding> {
    match (&seen.a, &seen.aaaa) {
        (Err(error @ (LookupError::Loop(_) | LookupError::TooLong { .. })), _) => {
            return vec![circle(host, expected, seen, apex, error)];
        }
        (Err(error), Err(_)) => return unreachable_target(host, expected, seen, error).into_iter().collect(),
        _ => {}
    }
    match pointing(expected, seen) {
        Pointing::Here => Vec::new(),
        Pointing::Nowhere => vec![nowhere(host, expected, seen, apex)],
        Pointing::Elsewhere(strange) => {
            if let Some((cdn, how)) = in_front(seen, &strange) {
                return vec![proxied(host, expected, seen, apex, cdn, &how)];
            }
            match seen.target() {
                // At an apex the CNAME itself is the fault, and is told already.
                Some(_) if apex => Vec::new(),
                Some(target) => vec![wrong_cname(host, expected, seen, &target, &list(&strange))],
                None => wrong_addresses(host, expected, seen, apex, &strange),
            }
        }
    }
}

fn circle(host: &Host, expected: &Expected, seen: &Observation, apex: bool, error: &LookupError) -> Finding {
    let mut changes: Vec<Change> =
        seen.target().map(|target| Change::remove(&host.name(), "CNAME", target)).into_iter().collect();
    changes.extend(right(host, expected, apex));
    Finding::new(
        Code::CnameLoop,
        Severity::Error,
        error.to_string(),
        leads(expected),
        "Let the name lead here directly.",
    )
    .with(changes)
}

/// The name's own servers answer, but not those of what it leads to.
fn unreachable_target(host: &Host, expected: &Expected, seen: &Observation, error: &LookupError) -> Option<Finding> {
    match seen.target() {
        Some(target) if expected.targets.contains(&target) => Some(unanswered(error)),
        Some(target) => Some(wrong_cname(host, expected, seen, &target, &error.to_string())),
        // The name servers' own faults are told with the delegation.
        None => None,
    }
}

fn nowhere(host: &Host, expected: &Expected, seen: &Observation, apex: bool) -> Finding {
    let name = host.name();
    let wait = |found: &lookup::Found| found.ttl.as_secs();
    let negative = seen.a.as_ref().map_or(0, wait);
    if let Some(target) = seen.target() {
        return wrong_cname(host, expected, seen, &target, "has no address");
    }
    let no_name = seen.a.as_ref().is_ok_and(|found| found.existence == Existence::NoName);
    let zone = super::rest::zone_text(seen);
    let (code, what) = if no_name {
        (Code::NoSuchName, format!("there is no {name} in {zone}"))
    } else {
        (Code::NoAddress, format!("{name} exists in {zone}, but has no CNAME and no address"))
    };
    let fix = format!("Set the record. Who asked in vain may remember that for {}.", duration(negative));
    Finding::new(code, Severity::Error, what, leads(expected), fix).with(right(host, expected, apex))
}

fn wrong_cname(host: &Host, expected: &Expected, seen: &Observation, target: &str, which: &str) -> Finding {
    let ttl = seen.cname.as_ref().map_or(0, |found| found.ttl.as_secs());
    let mut changes = vec![Change::remove(&host.name(), "CNAME", target)];
    changes.extend(right(host, expected, false));
    Finding::new(
        Code::WrongCname,
        Severity::Error,
        format!("{} has a CNAME to {target}, which leads elsewhere: {which}", host.name()),
        leads(expected),
        format!("Change the CNAME. Until everybody sees the change it takes at most {}.", duration(ttl)),
    )
    .with(changes)
}

fn wrong_addresses(
    host: &Host,
    expected: &Expected,
    seen: &Observation,
    apex: bool,
    strange: &[IpAddr],
) -> Vec<Finding> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = strange.iter().partition(|address| address.is_ipv4());
    let right_v4 = seen.addresses().iter().any(|address| address.is_ipv4() && expected.addresses.contains(address));
    let remove = |addresses: &[IpAddr]| -> Vec<Change> {
        addresses.iter().map(|address| Change::remove(&host.name(), family(*address), address.to_string())).collect()
    };
    let mut findings = Vec::new();
    if !v4.is_empty() || !right_v4 {
        let wrong = if v4.is_empty() { &v6 } else { &v4 };
        let ttl = seen.a.as_ref().map_or(0, |found| found.ttl.as_secs());
        let mut changes = remove(wrong);
        changes.extend(right(host, expected, apex || right_v4));
        let beside = if right_v4 { " beside the right address" } else { "" };
        findings.push(
            Finding::new(
                Code::WrongA,
                Severity::Error,
                format!("{} leads to {}{beside}", host.name(), list(wrong)),
                leads(expected),
                format!("Replace the record. Until everybody sees the change it takes at most {}.", duration(ttl)),
            )
            .with(changes),
        );
    }
    if !v6.is_empty() && (right_v4 || !v4.is_empty()) {
        let ours: Vec<IpAddr> = expected.addresses.iter().filter(|address| address.is_ipv6()).copied().collect();
        let mut changes = remove(&v6);
        changes.extend(ours.iter().map(|address| address_record(host, *address)));
        findings.push(
            Finding::new(
                Code::StaleAaaa,
                Severity::Error,
                format!("the AAAA record of {} leads to {}", host.name(), list(&v6)),
                if ours.is_empty() { "no AAAA record".to_owned() } else { format!("AAAA {}", list(&ours)) },
                "Remove the AAAA record, or replace it: most visitors, and certificate authorities, prefer IPv6.",
            )
            .with(changes),
        );
    }
    findings
}

/// The CDN that the name leads to, and how one knows.
fn in_front(seen: &Observation, strange: &[IpAddr]) -> Option<(&'static Cdn, String)> {
    let names = seen.a.iter().flat_map(|found| found.cnames.iter().map(text)).chain(seen.target());
    if let Some((cdn, name)) = names.into_iter().find_map(|name| cdn::by_name(&name).map(|cdn| (cdn, name))) {
        return Some((cdn, format!("the CNAME leads to {name}")));
    }
    if let Some((cdn, address)) = strange.iter().find_map(|address| cdn::by_address(*address).map(|cdn| (cdn, address)))
    {
        return Some((cdn, format!("{address} is one of its addresses")));
    }
    let visits = seen.visits.iter().filter(|visit| strange.contains(&visit.address));
    visits
        .flat_map(|visit| visit.secure.iter().filter_map(|secure| secure.head.as_ref().ok()).chain(&visit.plain))
        .find_map(cdn::by_head)
        .map(|cdn| (cdn, "its fields are in the answer".to_owned()))
}

fn proxied(host: &Host, expected: &Expected, seen: &Observation, apex: bool, cdn: &Cdn, how: &str) -> Finding {
    let through = expected.edge.as_ref().is_some_and(|edge| {
        let heads = seen
            .visits
            .iter()
            .flat_map(|visit| visit.secure.iter().filter_map(|secure| secure.head.as_ref().ok()).chain(&visit.plain));
        heads.into_iter().any(|head| head.field(&edge.header).is_some())
    });
    let (severity, seen) = if through {
        (Severity::Warning, format!("{} stands in front of {} ({how}) and forwards to here", cdn.name, host.name()))
    } else {
        (Severity::Error, format!("{} stands in front of {} ({how})", cdn.name, host.name()))
    };
    Finding::new(
        Code::Proxied,
        severity,
        seen,
        leads(expected),
        format!("{} Or keep it, prove by the TXT record that the name is yours, and let it fetch over HTTPS.", cdn.off),
    )
    .with(right(host, expected, apex))
}

fn leads(expected: &Expected) -> String {
    match (expected.targets.first(), expected.addresses.is_empty()) {
        (Some(target), true) => format!("a CNAME to {target}"),
        (Some(target), false) => format!("a CNAME to {target}, or the addresses {}", list(&expected.addresses)),
        (None, _) => format!("the addresses {}", list(&expected.addresses)),
    }
}

/// Seconds in words.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0 => "a moment".to_owned(),
        1..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

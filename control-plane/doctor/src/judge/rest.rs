//! Records that prove something, and what resolvers remember.

use lookup::{RData, Record};

use super::{Pointing, pointing, points, records::duration};
use crate::{
    expected::{Expected, Proof, ProofKind},
    host::Host,
    observation::{Answer, Observation, text},
    report::{Change, Code, Finding, Severity},
};

/// The zone in words.
pub(super) fn zone_text(seen: &Observation) -> String {
    match seen.zone() {
        Some(zone) if zone.is_root() => "the root".to_owned(),
        Some(zone) => text(zone),
        None => "the zone".to_owned(),
    }
}

pub(super) fn proofs(host: &Host, expected: &Expected, seen: &Observation) -> Vec<Finding> {
    expected.proofs.iter().zip(&seen.proofs).filter_map(|(proof, answer)| missing(host, proof, answer)).collect()
}

fn missing(host: &Host, proof: &Proof, answer: &Answer) -> Option<Finding> {
    // Servers that do not answer are told with the delegation.
    let found = answer.as_ref().ok()?;
    let values: Vec<String> = found.records.iter().filter_map(value).collect();
    if values.contains(&proof.value) {
        return None;
    }
    let at = text(&proof.name);
    let kind = match proof.kind {
        ProofKind::Txt => "TXT",
        ProofKind::Cname => "CNAME",
    };
    let (code, what) = match (values.is_empty(), host.wildcard) {
        (true, true) => (Code::WildcardTxtMissing, format!("there is no {kind} record at {at}")),
        (true, false) => (Code::TxtMissing, format!("there is no {kind} record at {at}")),
        (false, _) => (Code::TxtWrong, format!("the {kind} record at {at} is {}", super::list(&values))),
    };
    let fix = if values.is_empty() {
        "Set the record. Many providers add the domain to what you type: enter only the part before it."
    } else {
        "Set the record, beside those that are there."
    };
    let expected = format!("{kind} {}: it {}", proof.value, proof.purpose);
    Some(Finding::new(code, Severity::Error, what, expected, fix).with(vec![Change::set(
        &at,
        kind,
        proof.value.clone(),
    )]))
}

fn value(record: &Record) -> Option<String> {
    match &record.data {
        // One text may come in several strings (RFC 1035 3.3.14).
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        RData::CNAME(target) => Some(text(&target.0)),
        _ => None,
    }
}

/// Only where the records are right: whoever has to change them first is told how long that will take.
pub(super) fn remembered(expected: &Expected, seen: &Observation) -> Option<Finding> {
    if pointing(expected, seen) != Pointing::Here {
        return None;
    }
    let old = seen.remembered.iter().filter_map(|(resolver, answer)| {
        let answer = answer.as_ref().ok()?;
        let addresses: Vec<_> = answer.records.iter().filter_map(|record| record.data.ip_addr()).collect();
        let here = answer.cnames.iter().any(|name| expected.targets.contains(&text(name)))
            || points(expected, &addresses) == Pointing::Here;
        let what = match answer.cnames.first() {
            Some(target) => format!("CNAME {}", text(target)),
            None if addresses.is_empty() => "that there is nothing".to_owned(),
            None => super::list(addresses),
        };
        (!here).then_some((resolver, what, answer.left.as_secs()))
    });
    let old: Vec<_> = old.collect();
    let left = old.iter().map(|(_, _, left)| *left).max()?;
    let seen = old.iter().map(|(resolver, what, left)| format!("{resolver} still remembers {what} for {left} s"));
    let mut finding = Finding::new(
        Code::TtlRunning,
        Severity::Notice,
        seen.collect::<Vec<_>>().join("; "),
        "the records as they are now, which are right",
        format!("Nothing: it passes by itself within {}.", duration(left)),
    );
    finding.wait = Some(left);
    Some(finding)
}

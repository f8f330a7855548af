//! Whether the domain is registered, and its registry lets it into the DNS.

use lookup::Existence;

use crate::{
    host::Host,
    observation::{Observation, Registration, text},
    provider::parked,
    report::{Code, Finding, Severity},
};

/// Status values that keep a domain out of the DNS (RFC 8056).
const HOLD: [&str; 2] = ["client hold", "server hold"];
/// Status values of a domain that ran out.
const GONE: [&str; 4] = ["redemption period", "pending delete", "pending restore", "expired"];

/// Whether the registry's own servers say that there is no such domain.
pub(crate) fn not_in_the_dns(host: &Host, seen: &Observation) -> bool {
    let Ok(found) = &seen.cname else { return false };
    let above = host.registrable.strip_suffix(&text(&found.zone)).is_some_and(|rest| rest.ends_with('.'));
    found.cnames.is_empty() && found.existence == Existence::NoName && (above || found.zone.is_root())
}

/// Whether the DNS gives reason to ask the registry.
pub(crate) fn doubtful(host: &Host, seen: &Observation) -> bool {
    let silent = seen.each.iter().flatten().all(|(_, answer)| answer.is_err());
    not_in_the_dns(host, seen) || silent || seen.name_servers().iter().any(|server| parked(server))
}

pub(super) fn judge(host: &Host, seen: &Observation) -> Vec<Finding> {
    let domain = &host.registrable;
    let error = |code, what: String, fix: &str| {
        vec![Finding::new(code, Severity::Error, what, format!("{domain} is registered and in the DNS"), fix)]
    };
    let absent = not_in_the_dns(host, seen);
    if let Some(Registration::Registered { status, expires, registrar }) = &seen.registration {
        let by = registrar.as_ref().map_or(String::new(), |registrar| format!(" ({registrar})"));
        let has = |values: &[&str]| status.iter().find(|status| values.contains(&status.as_str()));
        if let Some(status) = has(&GONE) {
            let what = format!("the registration of {domain} ran out: its status is \"{status}\"");
            return error(
                Code::RegistrationExpired,
                what,
                &format!("Renew it at the registrar{by} soon: after this it is sold to anybody."),
            );
        }
        if let Some(expires) = expires.filter(|expires| *expires < seen.at) {
            let what = format!("the registration of {domain} ran out on {}", expires.strftime("%Y-%m-%d"));
            return error(Code::RegistrationExpired, what, &format!("Renew it at the registrar{by}."));
        }
        if let Some(status) = has(&HOLD) {
            let what = format!("{domain} is held back: its status is \"{status}\"");
            let fix = format!(
                "Ask the registrar{by} why. Most often an e-mail that confirms the owner's address was not answered, \
                 or a bill is open."
            );
            return error(Code::RegistrarHold, what, &fix);
        }
        if absent {
            let what = format!("{domain} is registered, but its registry names no name servers for it");
            return error(Code::NotDelegated, what, &format!("Enter name servers at the registrar{by}."));
        }
    }
    if absent {
        let unsure = match &seen.registration {
            Some(Registration::Unknown(reason)) => format!(" (the registry could not be asked: {reason})"),
            _ => String::new(),
        };
        let what = format!("{} has no {domain}{unsure}", super::rest::zone_text(seen));
        let fix = "Register it, or correct the name. If it is registered: see at the registrar whether it ran out or \
                   is held back.";
        return error(Code::NotRegistered, what, fix);
    }
    if let Some(server) = seen.name_servers().into_iter().find(|server| parked(server)) {
        let what = format!("{domain} has the name server {server}, which registrars give to domains that ran out");
        return error(Code::RegistrationExpired, what, "Renew the domain at its registrar.");
    }
    Vec::new()
}

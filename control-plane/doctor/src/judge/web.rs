//! What answers at the addresses.

use std::net::IpAddr;

use url::Url;

use super::{Pointing, list, pointing};
use crate::{
    cdn,
    expected::{EdgeSigns, Expected},
    host::Host,
    observation::{Head, Observation, Secure, Unreached, Visit},
    report::{Code, Finding, Severity},
};

pub(super) fn judge(host: &Host, expected: &Expected, seen: &Observation) -> Vec<Finding> {
    let mut findings: Vec<Finding> = redirect_loop(host, seen).into_iter().collect();
    // What answers at an address that is not ours is the wrong record's consequence.
    if pointing(expected, seen) == Pointing::Here {
        findings.extend(closed(&seen.visits, Code::Port80Closed, 80, |visit| visit.plain.as_ref().err()));
        findings.extend(closed(&seen.visits, Code::Port443Closed, 443, |visit| visit.secure.as_ref().err()));
        findings.extend(seen.visits.iter().filter_map(|visit| other(visit, expected.edge.as_ref())));
        findings.extend(certificates(host, expected, seen));
    }
    findings
}

/// A CDN that fetches over HTTP what is told to be fetched over HTTPS: the answer leads to where it came from.
fn redirect_loop(host: &Host, seen: &Observation) -> Option<Finding> {
    let heads =
        seen.visits.iter().filter_map(|visit| visit.secure.as_ref().ok()?.head.as_ref().ok().map(|head| (visit, head)));
    let (visit, head) = heads.into_iter().find(|(_, head)| leads_to_itself(host, head))?;
    let cdn = cdn::by_head(head).or_else(|| cdn::by_address(visit.address));
    let name = cdn.map_or("The server in front", |cdn| cdn.name);
    Some(Finding::new(
        Code::ProxyRedirectLoop,
        Severity::Error,
        format!(
            "https://{0}/ leads to https://{0}/ again and again: {name} fetches from here over HTTP, which is answered \
             by \"use HTTPS\"",
            host.visited()
        ),
        "the CDN fetches over HTTPS",
        cdn.map_or("Let the server in front fetch over HTTPS.", |cdn| cdn.strict),
    ))
}

pub(crate) fn leads_to_itself(host: &Host, head: &Head) -> bool {
    if !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
        return false;
    }
    let Ok(own) = Url::parse(&format!("https://{}/", host.visited())) else { return false };
    head.field("location").and_then(|location| own.join(location).ok()).is_some_and(|to| to == own)
}

fn closed(visits: &[Visit], code: Code, port: u16, fault: impl Fn(&Visit) -> Option<&Unreached>) -> Option<Finding> {
    let mut seen = Vec::new();
    for visit in visits {
        let what = match fault(visit) {
            Some(Unreached::Refused) => "refuses the connection".to_owned(),
            Some(Unreached::Timeout) => "does not answer".to_owned(),
            Some(Unreached::Network(reason)) => format!("cannot be reached: {reason}"),
            Some(Unreached::Protocol(_)) | None => continue,
        };
        seen.push(format!("{} {what}", visit.address));
    }
    (!seen.is_empty()).then(|| {
        Finding::new(
            code,
            Severity::Error,
            format!("port {port} of {}", seen.join("; ")),
            format!("port {port} is open at every address"),
            format!("Open port {port} in the firewall or forwarding that stands before the address."),
        )
    })
}

fn other(visit: &Visit, edge: Option<&EdgeSigns>) -> Option<Finding> {
    let what = match &visit.secure {
        Err(Unreached::Protocol(reason)) => format!("something that is no HTTPS server ({reason})"),
        Ok(Secure { head: Err(reason), .. }) => format!("a TLS server that speaks no HTTP ({reason})"),
        Ok(Secure { head: Ok(head), .. }) => {
            let edge = edge?;
            let server = head.field("server");
            if server == Some(&edge.server) || head.field(&edge.header).is_some() {
                return None;
            }
            match server {
                Some(server) => format!("the server \"{server}\""),
                None => "a server that is not this platform's".to_owned(),
            }
        }
        Err(_) => return None,
    };
    Some(Finding::new(
        Code::Port443Other,
        Severity::Error,
        format!("at port 443 of {} answers {what}", visit.address),
        "this platform answers there",
        "Look for another server, a port forwarding or a load balancer at this address, and take it out of the way.",
    ))
}

/// Browsers' reasons count only when the platform has a certificate that it could serve.
fn certificates(host: &Host, expected: &Expected, seen: &Observation) -> Option<Finding> {
    let right = expected.certificates.as_ref()?;
    let wrong = seen.visits.iter().filter_map(|visit| {
        let certificate = &visit.secure.as_ref().ok()?.certificate;
        (!right.contains(&certificate.fingerprint)).then_some((visit.address, certificate))
    });
    let wrong: Vec<(IpAddr, _)> = wrong.collect();
    let (address, certificate) = wrong.first()?;
    let ends = certificate.ends.map_or(String::new(), |ends| format!(", until {}", ends.strftime("%Y-%m-%d")));
    let refused =
        certificate.refused.as_ref().map_or(String::new(), |reason| format!(". Browsers refuse it: {reason}"));
    let fix = if wrong.len() < seen.visits.len() {
        "One address serves an old certificate: if it stays so for some minutes, tell the platform's operator."
    } else {
        "Something before this platform ends TLS with a certificate of its own: take it out of the way, or let it pass \
         TLS through."
    };
    Some(Finding::new(
        Code::CertificateOther,
        Severity::Error,
        format!(
            "{address} serves a certificate for {} by {}{ends}{refused}",
            list(&certificate.names),
            certificate.issuer
        ),
        format!("the certificate that this platform has for {}", host.name()),
        fix,
    ))
}

//! Domains for people.

use common::domain::api::Domain;
use common::domain::{Hostname, Record};
use common::name::ProjectName;
use common::time::Timestamp;

use crate::output::{self, Format};

/// Domains as a table.
pub fn list(project: &ProjectName, domains: Vec<Domain>, format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(&domains);
    }
    if domains.is_empty() {
        output::say(&format!("The project {project} has no domain: `astrocloud domains add NAME` attaches one"));
        return Ok(());
    }
    let row = |domain: Domain| {
        let leads = domain.settings.redirect.as_ref().map_or_else(String::new, |redirect| format!("→ {}", redirect.to));
        [
            both(&domain),
            domain.hostname.as_str().to_owned(),
            domain.certificate.as_str().to_owned(),
            leads,
            output::ago(domain.created_at),
        ]
    };
    let rows: Vec<_> = domains.into_iter().map(row).collect();
    Ok(output::table(["DOMAIN", "HOST NAME", "CERTIFICATE", "LEADS TO", "ATTACHED"], &rows)?)
}

/// A domain with its records and why it is where it is.
pub fn one(domain: &Domain, format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(domain);
    }
    for (name, value) in facts(domain) {
        output::line(&format!("{name:<14}{value}"))?;
    }
    for record in &records(domain) {
        output::line(record)?;
    }
    Ok(())
}

/// Says which records are to be set.
pub fn say_records(domain: &Domain) {
    output::say(&both(domain));
    records(domain).iter().for_each(|line| output::say(line));
}

/// The name as people read it, and as the DNS has it where that differs.
pub fn both(domain: &Domain) -> String {
    match domain.unicode == domain.name.as_str() {
        true => domain.unicode.clone(),
        false => format!("{} ({})", domain.unicode, domain.name),
    }
}

fn facts(domain: &Domain) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("domain", both(domain)),
        ("project", domain.project.to_string()),
        ("host name", domain.hostname.as_str().to_owned()),
    ];
    facts.extend(domain.hostname.cause().map(|cause| ("", cause.message.clone())));
    if let Hostname::Moved { stops_at, .. } = &domain.hostname {
        facts.push(("stops", format!("{stops_at}, unless it leads here again")));
    }
    let seen = domain.hostname.waiting().map(|waiting| waiting.seen.as_slice()).unwrap_or_default();
    facts.extend(seen.iter().map(|record| ("seen", told(record))));
    facts.extend(domain.hostname.next_check().map(|at| ("next look", soon(at))));
    facts.push(("certificate", domain.certificate.as_str().to_owned()));
    if let Some((cause, next)) = domain.certificate.waits().filter(|(cause, _)| domain.hostname.cause() != Some(cause))
    {
        facts.push(("", cause.message.clone()));
        facts.extend(next.map(|at| ("next try", soon(at))));
    }
    let settings = &domain.settings;
    facts.extend(settings.redirect.as_ref().map(|to| ("leads to", format!("{} ({})", to.to, u16::from(to.status)))));
    facts.extend(settings.https_redirect.map(|is_on| ("to HTTPS", if is_on { "on" } else { "off" }.to_owned())));
    facts.extend(settings.hsts.map(|hsts| ("HSTS", format!("{} s", hsts.max_age_s))));
    facts
}

/// The records that are to be set, as long as they are not seen.
fn records(domain: &Domain) -> Vec<String> {
    if matches!(domain.hostname, Hostname::Active { .. } | Hostname::Suspended { .. } | Hostname::Removed { .. }) {
        return Vec::new();
    }
    let records = &domain.records;
    let mut lines = vec!["set these records where the domain's DNS is:".to_owned()];
    lines.extend(records.point.iter().map(|record| format!("  {}", told(record))));
    if let Some(prove) = &records.prove {
        lines.push(match records.prove_required {
            true => "and this one, which shows whose the name is:".to_owned(),
            false => "or this one first, to show whose the name is while it still leads elsewhere:".to_owned(),
        });
        lines.push(format!("  {}", told(prove)));
    }
    lines
}

fn told(record: &Record) -> String {
    format!("{}  {}  {}", record.name, record.kind.as_str(), record.value)
}

/// How long it is until a time.
fn soon(at: Timestamp) -> String {
    let left = at.since(Timestamp::now());
    if left.is_zero() { "now".to_owned() } else { format!("in {}", output::duration(left)) }
}

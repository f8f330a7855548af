//! `astrocloud domains check`.

use common::domain::{DomainName, Hostname};
use doctor::{Action, Finding, Health, Report, Severity};

use super::show;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

/// Has the domain looked at, so that it goes on at once when all is well, and shows what is wrong with it.
pub(super) async fn run(client: &Client, name: &DomainName, format: Format) -> anyhow::Result<u8> {
    let domain = client.domain(name).await?;
    // Suspended and removed ones are not looked at by themselves; what is wrong with them can be asked all the same.
    let domain = match domain.hostname {
        Hostname::Suspended { .. } | Hostname::Removed { .. } => domain,
        _ => client.check_domain(name).await?,
    };
    output::say(&format!("{} is {}", show::both(&domain), domain.hostname.as_str()));
    let report = client.examine_domain(name).await?;
    if format.json {
        output::json(&report)?;
    } else {
        for line in lines(&report) {
            output::line(&line)?;
        }
    }
    Ok(if report.health == Health::Broken { exit::FAILED } else { exit::DONE })
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(zone) = &report.zone {
        lines.push(row("zone", zone));
        lines.push(row("name servers", &report.name_servers.join(", ")));
    }
    if let Some(provider) = &report.provider {
        lines.push(row("provider", &format!("{}. {}", provider.name, provider.hint)));
    }
    if report.findings.is_empty() {
        lines.push("All is well.".to_owned());
    }
    for finding in &report.findings {
        lines.push(String::new());
        lines.extend(told(finding));
    }
    lines
}

fn told(finding: &Finding) -> Vec<String> {
    let word = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Notice => "notice",
    };
    let mut lines = vec![row(word, &finding.seen), row("expected", &finding.expected), row("what to do", &finding.fix)];
    lines.extend(finding.changes.iter().map(|change| {
        let word = match change.action {
            Action::Set => "set",
            Action::Remove => "remove",
        };
        row(word, &format!("{}  {}  {}", change.name, change.kind, change.value))
    }));
    lines
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<14}{value}")
}

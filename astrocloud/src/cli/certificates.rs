//! `astrocloud certificates`.

use clap::{Args, Subcommand};
use common::api::HostCertificate;

use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud certificates list
  astrocloud certificates show shop.example.com
  astrocloud certificates retry shop.example.com
  astrocloud certificates replace shop.example.com";
const LIST_EXAMPLES: &str = "\
Examples:
  astrocloud certificates list
  astrocloud certificates list --json | jq -r '.[] | select(.state != \"active\") | .name'";
const SHOW_EXAMPLES: &str = "\
Examples:
  astrocloud certificates show shop.example.com
  astrocloud certificates show '*.apps.example.com' --json";
const RETRY_EXAMPLES: &str = "\
Examples:
  astrocloud certificates retry shop.example.com

For when you mended what it waits for. Otherwise it is tried again by itself.";

const REPLACE_EXAMPLES: &str = "\
Examples:
  astrocloud certificates replace shop.example.com

For when its private key may be known to others. The name is served with the old one until the new one is there; then
the old one is revoked, with the reason keyCompromise. What belongs to a domain that is removed is revoked by itself.";

/// What to do with certificates of authorities.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Certificates {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List certificates and how they stand
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show a certificate, and why it waits
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// The host, or `*.` and a domain
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Try at once what waits
    #[command(after_help = RETRY_EXAMPLES)]
    Retry {
        /// The host, or `*.` and a domain
        name: String,
        #[command(flatten)]
        format: Format,
    },
    /// Replace a certificate now, and have the old one revoked
    #[command(after_help = REPLACE_EXAMPLES)]
    Replace {
        /// The host, or `*.` and a domain
        name: String,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it.
pub async fn run(certificates: Certificates, client: &Client) -> anyhow::Result<u8> {
    match certificates.action {
        Action::List { format } => list(format, client).await,
        Action::Show { name, format } => show(&client.certificate(&name).await?, format),
        Action::Retry { name, format } => {
            begun(&client.retry_certificate(&name).await?, &format!("{name} is tried again now"), format)
        }
        Action::Replace { name, format } => {
            begun(&client.replace_certificate(&name).await?, &format!("{name} gets another certificate now"), format)
        }
    }
}

/// Says that something goes on by itself.
fn begun(certificate: &HostCertificate, what: &str, format: Format) -> anyhow::Result<u8> {
    if format.json {
        output::json(certificate)?;
    }
    output::say(&format!("{what}; `astrocloud certificates show {}` tells how it goes", certificate.name));
    Ok(exit::DONE)
}

async fn list(format: Format, client: &Client) -> anyhow::Result<u8> {
    let certificates = client.certificates().await?;
    if format.json {
        output::json(&certificates)?;
    } else if certificates.is_empty() {
        output::say("No certificate is wanted from an authority: sites have those of the development CA");
    } else {
        let nothing = || "-".to_owned();
        let row = |c: HostCertificate| {
            [
                c.name,
                c.state.as_str().to_owned(),
                c.authority.unwrap_or_else(nothing),
                c.not_after.map_or_else(nothing, |at| at.to_string()),
                c.next.map_or_else(nothing, |at| at.to_string()),
            ]
        };
        let rows: Vec<_> = certificates.into_iter().map(row).collect();
        output::table(["NAME", "STATE", "AUTHORITY", "ENDS", "NEXT"], &rows)?;
    }
    Ok(exit::DONE)
}

fn show(certificate: &HostCertificate, format: Format) -> anyhow::Result<u8> {
    if format.json {
        output::json(certificate)?;
        return Ok(exit::DONE);
    }
    let rows = [
        ("name", Some(certificate.name.clone())),
        ("state", Some(certificate.state.as_str().to_owned())),
        ("cause", certificate.cause.clone()),
        ("next", certificate.next.map(|at| at.to_string())),
        ("authority", certificate.authority.clone()),
        ("ends", certificate.not_after.map(|at| at.to_string())),
        ("serial", certificate.serial.clone()),
    ];
    output::facts(rows.into_iter().filter_map(|(name, value)| Some((name, value?))))?;
    let passed = certificate.passed_over.iter();
    output::facts(passed.map(|passed| ("not from", format!("{}: {}", passed.authority, passed.cause))))?;
    Ok(exit::DONE)
}

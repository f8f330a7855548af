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
  astrocloud certificates retry shop.example.com";
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
}

/// Does it.
pub async fn run(certificates: Certificates, client: &Client) -> anyhow::Result<u8> {
    match certificates.action {
        Action::List { format } => list(format, client).await,
        Action::Show { name, format } => show(&client.certificate(&name).await?, format),
        Action::Retry { name, format } => {
            let certificate = client.retry_certificate(&name).await?;
            if format.json {
                output::json(&certificate)?;
            }
            output::say(&format!("{name} is tried again now; `astrocloud certificates show {name}` tells how it goes"));
            Ok(exit::DONE)
        }
    }
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
    for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        output::line(&format!("{name:<12}{value}"))?;
    }
    for passed in &certificate.passed_over {
        output::line(&format!("{:<12}{}: {}", "not from", passed.authority, passed.cause))?;
    }
    Ok(exit::DONE)
}

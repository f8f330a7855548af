//! `astrocloud trust`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::client;
use crate::config;
use crate::exit::{self, Usage};
use crate::output::{self, Format};
use crate::trust::{self, Authority, Done, Stores};

const EXAMPLES: &str = "\
Examples:
  astrocloud trust
  sudo astrocloud trust --system --certificate data/ca/ca.pem
  astrocloud trust --browsers
  astrocloud trust --remove

Makes this machine trust the development CA of the platform, so that browsers and tools take its sites for what they
are. Where only root may change a store, the command for that is shown. Only the CA's certificate is used, never its key.
Start browsers anew afterwards.";

/// Whom to trust, and where.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Trust {
    /// Trust it no longer
    #[arg(long)]
    remove: bool,
    /// Only the system's store
    #[arg(long)]
    system: bool,
    /// Only the stores of Chromium and Firefox
    #[arg(long)]
    browsers: bool,
    /// The CA's certificate, PEM; by default the platform is asked for it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

/// Has the stores trust it, or no longer.
pub async fn run(trust: Trust) -> anyhow::Result<u8> {
    let pem = match &trust.certificate {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?,
        None => {
            let api = config::api()?;
            if !config::is_local(&api) && api.scheme() != "https" {
                return Err(Usage::new(format!(
                    "whom to trust can't be asked for over plain http from {api}: copy the file data/ca/ca.pem from there \
                     and name it with --certificate"
                ))
                .into());
            }
            client::authority_pem(&api).await?
        }
    };
    let folder = tempfile::tempdir()?;
    let authority = Authority::new(pem, folder.path())?;
    let both = trust.system == trust.browsers;
    let stores = Stores { system: both || trust.system, browsers: both || trust.browsers };
    let outcomes = trust::change(&authority, stores, trust.remove).await?;
    let needs_file = outcomes.iter().any(|o| matches!(&o.done, Done::NeedsRoot { .. } if !trust.remove));
    if trust.format.json {
        output::json(&outcomes)?;
    }
    let mut is_done = true;
    for outcome in &outcomes {
        let store = &outcome.store;
        match &outcome.done {
            Done::Trusted => output::say(&format!("{store}: trusts {}", authority.label)),
            Done::Removed => output::say(&format!("{store}: trusts {} no longer", authority.label)),
            Done::Absent => output::say(&format!("{store}: did not have it")),
            Done::NeedsRoot { command } => {
                is_done = false;
                output::warning(&format!("{store}: only root may change it. Run:\n  sudo sh -c '{command}'"));
            }
            Done::Failed { reason } => {
                is_done = false;
                output::warning(&format!("{store}: {reason}"));
            }
        }
    }
    if needs_file {
        // The command names it.
        let _ = folder.keep();
    }
    Ok(if is_done { exit::DONE } else { exit::FAILED })
}

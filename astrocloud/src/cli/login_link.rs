//! `astrocloud login-link`.

use clap::Args;

use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud login-link
  xdg-open \"$(astrocloud login-link)\"

The link works once, within 15 minutes.";

/// How to show it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct LoginLink {
    #[command(flatten)]
    format: Format,
}

/// Prints a new link.
pub async fn run(wanted: &LoginLink, client: &Client) -> anyhow::Result<u8> {
    let link = client.login_link().await?;
    if wanted.format.json {
        output::json(&link)?;
    } else {
        output::line(link.url.as_str())?;
    }
    Ok(exit::DONE)
}

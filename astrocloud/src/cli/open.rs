//! `astrocloud open`.

use std::io::IsTerminal as _;
use std::process::Stdio;

use clap::Args;
use serde_json::json;
use url::Url;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud open --project shop
  curl $(astrocloud open --project shop)    where there is no terminal, the address is only printed";
/// What opens an address where people sit, by system.
const OPENER: &str = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };

/// Whose site.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Open {
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    format: Format,
}

/// Prints the address, and opens it where there is a person with a browser.
pub async fn run(open: Open, client: &Client) -> anyhow::Result<u8> {
    let name = open.project.name(client).await?;
    let project = client.project(&name).await?;
    if project.live_deployment.is_none() {
        output::warning(&format!("nothing of {name} is live yet: the address answers after the first deployment"));
    }
    if open.format.json {
        output::json(&json!({ "project": name, "url": project.url }))?;
    } else {
        output::line(project.url.as_str())?;
        if std::io::stdout().is_terminal() {
            browse(&project.url);
        }
    }
    Ok(exit::DONE)
}

/// The address has been printed: that no browser opens needs no word.
fn browse(url: &Url) {
    let screen =
        cfg!(target_os = "macos") || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|v| std::env::var_os(v).is_some());
    if screen {
        let quiet = || Stdio::null();
        let mut command = std::process::Command::new(OPENER);
        let _ = command.arg(url.as_str()).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    }
}

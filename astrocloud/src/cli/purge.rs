//! `astrocloud purge`.

use clap::Args;
use common::api::PurgeRequest;
use url::Url;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud purge --everything --project shop
  astrocloud purge --url https://shop.example.com/prices?page=2 --project shop
  astrocloud purge --tag prices --project shop        answers whose Cache-Tag names it

The edges forget kept answers of the project's app. The command returns when they have.";

/// What to forget.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Purge {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// All of the project's
    #[arg(long)]
    everything: bool,
    /// Those of one of the project's hosts
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// That of one address, with its query
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Those whose Cache-Tag names this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// Makes the edges forget it.
pub async fn run(purge: Purge, client: &Client) -> anyhow::Result<u8> {
    let project = purge.project.name(client).await?;
    let What { everything, host, url, tag } = purge.what;
    let result = client.purge(&project, &PurgeRequest { everything, host, url, tag }).await?;
    if purge.format.json {
        output::json(&result)?;
    }
    match result.edges {
        0 => output::warning("no edge is connected: nothing was forgotten"),
        1 => output::say("One edge has forgotten it"),
        edges => output::say(&format!("{edges} edges have forgotten it")),
    }
    if result.late > 0 {
        output::warning(&format!(
            "{} more did not answer in time; they will forget it when they are back",
            result.late
        ));
    }
    Ok(exit::DONE)
}

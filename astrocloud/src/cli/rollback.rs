//! `astrocloud rollback`.

use std::time::Instant;

use clap::Args;
use common::id::DeploymentId;

use super::project::ProjectArg;
use super::watch::Summary;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud rollback --project shop                                     the deployment before the live one
  astrocloud rollback dpl_01arz3ndektsv4rrffq69g5fav --project shop      that one, earlier or later

Nothing is built again. The command returns when visitors get it.";

/// To which deployment.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Rollback {
    /// The deployment to make live; by default the one before the live one
    deployment: Option<DeploymentId>,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    format: Format,
}

/// Makes it live.
pub async fn run(rollback: Rollback, client: &Client) -> anyhow::Result<u8> {
    let begun = Instant::now();
    let project = rollback.project.name(client).await?;
    let live = client.rollback(&project, rollback.deployment).await?;
    if rollback.format.json {
        output::json(&Summary::new(&live, begun))?;
    } else {
        output::say(&format!("{} is {}", live.id, output::good().apply_to("live")));
        output::line(live.url.as_str())?;
    }
    Ok(exit::DONE)
}

//! `astrocloud redeploy`.

use std::time::Instant;

use clap::Args;
use common::id::DeploymentId;

use super::project::{ProjectArg, newest};
use super::watch;
use crate::client::Client;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  astrocloud redeploy --project shop                    the newest deployment's source, as of now
  astrocloud redeploy dpl_01arz3ndektsv4rrffq69g5fav    that deployment's

Exit codes are those of `astrocloud deploy`.";

/// Which deployment's source.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Redeploy {
    /// The deployment whose source is built again; by default the newest
    deployment: Option<DeploymentId>,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    format: Format,
}

/// Deploys it and follows it to its end.
pub async fn run(redeploy: Redeploy, client: &Client) -> anyhow::Result<u8> {
    let begun = Instant::now();
    let id = match redeploy.deployment {
        Some(id) => id,
        None => newest(&redeploy.project.name(client).await?, client).await?.id,
    };
    let deployment = client.redeploy(&id).await?;
    watch::to_end(client, deployment, begun, redeploy.format).await
}

//! `astrocloud cancel`.

use clap::Args;
use common::api::DeploymentStatus;
use common::id::DeploymentId;

use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud cancel dpl_01arz3ndektsv4rrffq69g5fav

Every process of its build is killed. Exit code 1 when it had ended already.";

/// Which deployment.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Cancel {
    /// The deployment
    deployment: DeploymentId,
    #[command(flatten)]
    format: Format,
}

/// Cancels it.
pub async fn run(cancel: &Cancel, client: &Client) -> anyhow::Result<u8> {
    let deployment = client.cancel(&cancel.deployment).await?;
    if cancel.format.json {
        output::json(&deployment)?;
    }
    if deployment.status == DeploymentStatus::Canceled {
        output::say(&format!("{} is canceled", deployment.id));
        Ok(exit::DONE)
    } else {
        output::error(&format!("{} had ended already: it is {}", deployment.id, deployment.status.as_str()));
        Ok(exit::FAILED)
    }
}

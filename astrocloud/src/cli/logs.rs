//! `astrocloud logs`.

use clap::Args;
use common::api::LogKind;
use common::bus::Record;
use common::id::DeploymentId;

use super::project::{ProjectArg, newest};
use crate::client::{Client, Follower, News};
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud logs                                   the newest build of this folder's project
  astrocloud logs -f --runtime --project shop       what its app says, as it says it
  astrocloud logs dpl_01arz3ndektsv4rrffq69g5fav    the build of one deployment
  astrocloud logs --json | jq -r .text              one record a line";

/// Which log.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Logs {
    /// The deployment; by default the newest, or with --runtime the live one
    deployment: Option<DeploymentId>,
    #[command(flatten)]
    project: ProjectArg,
    /// Go on with new lines as they come
    #[arg(long, short)]
    follow: bool,
    /// What the running app says, instead of the build
    #[arg(long)]
    runtime: bool,
    /// Begin every line with its time
    #[arg(long, short)]
    timestamps: bool,
    #[command(flatten)]
    format: Format,
}

/// Shows the log.
pub async fn run(logs: Logs, client: &Client) -> anyhow::Result<u8> {
    let kind = if logs.runtime { LogKind::Runtime } else { LogKind::Build };
    let id = match logs.deployment {
        Some(id) => id,
        None => {
            let project = logs.project.name(client).await?;
            let live = if logs.runtime { client.project(&project).await?.live_deployment } else { None };
            match live {
                Some(live) => live,
                None => newest(&project, client).await?.id,
            }
        }
    };
    let show = |records: &[Record]| -> anyhow::Result<()> {
        for record in records {
            let text = if logs.format.json {
                serde_json::to_string(record)?
            } else {
                output::record(record, logs.timestamps, false)
            };
            output::line(&text)?;
        }
        Ok(())
    };
    if logs.follow {
        let mut follower = Follower::new(client.clone(), id, kind, 0);
        loop {
            let news = tokio::select! {
                news = follower.next() => news?,
                _ = tokio::signal::ctrl_c() => return Ok(exit::INTERRUPTED),
            };
            match news {
                Some(News::Records(records)) => show(&records)?,
                Some(News::Deployment(_)) => {}
                None => return Ok(exit::DONE),
            }
        }
    }
    let mut after = 0;
    loop {
        let page = client.logs(&id, kind, after).await?;
        show(&page.records)?;
        match page.records.last() {
            Some(last) if !page.finished => after = last.seq,
            _ => return Ok(exit::DONE),
        }
    }
}

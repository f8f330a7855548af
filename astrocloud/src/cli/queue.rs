//! `astrocloud queue`.

use clap::{Args, Subcommand};
use common::api::{Deployment, QueueStatus};
use common::id::DeploymentId;

use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud queue status
  astrocloud queue dead --limit 5
  astrocloud queue replay dpl_01arz3ndektsv4rrffq69g5fav

A deployment is given up when its deployer was lost three times while it worked on it. `replay` asks for it again, with
the project's present settings and variables.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Show what waits, what is worked on, and whether the queue answers
    Status(Status),
    /// List deployments that were given up
    Dead(Dead),
    /// Ask again for a deployment that was given up
    Replay(Replay),
}

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[allow(missing_docs)]
pub struct Status {
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[allow(missing_docs)]
pub struct Dead {
    /// Most deployments to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
#[allow(missing_docs)]
pub struct Replay {
    /// Which
    #[arg(value_name = "DEPLOYMENT")]
    deployment: DeploymentId,
    #[command(flatten)]
    format: Format,
}

/// Does it.
pub async fn run(queue: Queue, client: &Client) -> anyhow::Result<u8> {
    match queue {
        Queue::Status(status) => {
            let found = client.queue().await?;
            if status.format.json {
                output::json(&found)?;
            } else {
                show(&found)?;
            }
            Ok(if found.away.is_none() { exit::DONE } else { exit::FAILED })
        }
        Queue::Dead(dead) => {
            let found = client.dead(dead.limit).await?;
            if dead.format.json {
                output::json(&found)?;
            } else if found.is_empty() {
                output::say("No deployment was given up");
            } else {
                output::table(["DEPLOYMENT", "PROJECT", "MADE", "WHY"], &found.iter().map(row).collect::<Vec<_>>())?;
            }
            Ok(exit::DONE)
        }
        Queue::Replay(replay) => {
            let again = client.replay(&replay.deployment).await?;
            if replay.format.json {
                output::json(&again)?;
            } else {
                output::say(&format!("Asked again, as {}", again.id));
            }
            Ok(exit::DONE)
        }
    }
}

fn show(status: &QueueStatus) -> anyhow::Result<()> {
    if let Some(away) = &status.away {
        output::say(&format!(
            "The queue is away since {}: {}. It is tried again at {}; deployments are kept meanwhile.",
            away.since, away.reason, away.retry_at
        ));
    }
    let mut rows = Vec::new();
    if let Some(jobs) = &status.jobs {
        rows.push(["waiting".to_owned(), jobs.waiting.to_string()]);
        rows.push(["worked on".to_owned(), jobs.leased.to_string()]);
        rows.push(["projects whose next one is delayed".to_owned(), jobs.delayed.to_string()]);
        rows.push(["age of the oldest".to_owned(), format!("{} s", jobs.oldest_ms / 1000)]);
    }
    rows.push(["given up".to_owned(), status.dead.to_string()]);
    output::table(["DEPLOYMENTS", "NUMBER"], &rows)?;
    Ok(())
}

fn row(deployment: &Deployment) -> [String; 4] {
    [
        deployment.id.to_string(),
        deployment.project.to_string(),
        output::ago(deployment.created_at),
        deployment.reason.as_ref().map(|why| why.message.clone()).unwrap_or_default(),
    ]
}

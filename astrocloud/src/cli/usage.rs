//! `astrocloud usage`.

use std::time::Duration;

use clap::Args;
use common::time::Timestamp;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud usage --project shop
  astrocloud usage --hours 720 --project shop --json | jq '[.hours[].requests] | add'

Counts of visitors' requests by hour, in UTC. They are kept for 90 days.";

/// Of which time.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Usage {
    /// How many hours to look back
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=24 * 90))]
    hours: u32,
    #[command(flatten)]
    project: ProjectArg,
    #[command(flatten)]
    format: Format,
}

/// Shows it.
pub async fn run(usage: Usage, client: &Client) -> anyhow::Result<u8> {
    let project = usage.project.name(client).await?;
    let from = Timestamp::now().before(Duration::from_secs(3600) * usage.hours);
    let report = client.usage(&project, from).await?;
    if usage.format.json {
        output::json(&report)?;
    } else if report.hours.is_empty() {
        output::say(&format!("Nobody has visited {project} in this time"));
    } else {
        let rows: Vec<_> = report
            .hours
            .iter()
            .map(|hour| {
                let of = &hour.usage;
                let [_, _, _, refused, failed] = of.statuses;
                [
                    hour.hour.to_string().chars().take("2026-01-01T00:00".len()).collect::<String>().replace('T', " "),
                    of.requests.to_string(),
                    refused.to_string(),
                    failed.to_string(),
                    output::size(of.bytes_out),
                    of.cache_hits.to_string(),
                ]
            })
            .collect();
        output::table(["HOUR", "REQUESTS", "4XX", "5XX", "SENT", "CACHE HITS"], &rows)?;
    }
    Ok(exit::DONE)
}

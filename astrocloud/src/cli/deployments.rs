//! `astrocloud deployments`.

use clap::Args;
use common::api::Deployment;
use common::source::Source;

use super::project::ProjectArg;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud deployments
  astrocloud deployments --project shop --limit 5
  astrocloud deployments --json | jq -r '.[] | select(.status == \"live\") | .id'";
/// Characters of a commit that are shown.
const COMMIT_CHARS: usize = 8;

/// Whose deployments.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Deployments {
    #[command(flatten)]
    project: ProjectArg,
    /// Most deployments to list
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    format: Format,
}

/// Lists them.
pub async fn run(list: Deployments, client: &Client) -> anyhow::Result<u8> {
    let project = list.project.name(client).await?;
    let deployments = client.deployments(&project, list.limit).await?;
    if list.format.json {
        output::json(&deployments)?;
    } else if deployments.is_empty() {
        output::say(&format!("The project {project} has no deployment yet"));
    } else {
        let heading = ["DEPLOYMENT", "STATUS", "MADE", "WHAT", "SOURCE", "ADDRESS"];
        output::table(heading, &deployments.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(exit::DONE)
}

fn row(deployment: &Deployment) -> [String; 6] {
    [
        deployment.id.to_string(),
        deployment.status.as_str().to_owned(),
        output::ago(deployment.created_at),
        deployment.framework.clone().unwrap_or_default(),
        source(&deployment.source),
        deployment.deployment_url.to_string(),
    ]
}

fn source(source: &Source) -> String {
    match source {
        Source::Upload { label, .. } => label.clone().unwrap_or_else(|| "upload".to_owned()),
        Source::Git { url, branch, commit } => {
            let repository = url.path_segments().and_then(|mut s| s.rfind(|s| !s.is_empty())).unwrap_or_default();
            let branch = branch.as_ref().map(|b| format!(" {b}")).unwrap_or_default();
            let commit = commit.as_ref().map(|c| format!(" {}", c.chars().take(COMMIT_CHARS).collect::<String>()));
            format!("{}{branch}{}", repository.trim_end_matches(".git"), commit.unwrap_or_default())
        }
    }
}

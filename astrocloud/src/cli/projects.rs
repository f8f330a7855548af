//! `astrocloud projects`.

use clap::{Args, Subcommand};
use common::name::ProjectName;

use super::project;
use super::removal::{self, Removal};
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud projects ls
  astrocloud projects rm shop";
const LS_EXAMPLES: &str = "\
Examples:
  astrocloud projects ls
  astrocloud projects ls --json | jq -r '.[].name'";
const SHOW_EXAMPLES: &str = "\
Examples:
  astrocloud projects show shop";
const RM_EXAMPLES: &str = "\
Examples:
  astrocloud projects rm shop
  astrocloud projects rm shop --yes

The project's addresses stop answering at once, and its deployments and logs are deleted.";

/// What to do with projects.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Projects {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List projects
    #[command(after_help = LS_EXAMPLES)]
    Ls {
        #[command(flatten)]
        format: Format,
    },
    /// Show a project and its settings
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its name; by default the one that is named like the current folder
        name: Option<ProjectName>,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a project with all its deployments
    #[command(after_help = RM_EXAMPLES)]
    Rm {
        /// Its name
        name: ProjectName,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it.
pub async fn run(projects: Projects, client: &Client) -> anyhow::Result<u8> {
    match projects.action {
        Action::Ls { format } => list(format, client).await,
        Action::Show { name, format } => show(name, format, client).await,
        Action::Rm { name, yes, format } => remove(&name, yes, format, client).await,
    }
}

async fn list(format: Format, client: &Client) -> anyhow::Result<u8> {
    let projects = client.projects().await?;
    if format.json {
        output::json(&projects)?;
    } else if projects.is_empty() {
        output::say("There is no project yet: `astrocloud deploy` makes one");
    } else {
        let rows: Vec<_> = projects
            .into_iter()
            .map(|p| {
                let live = p.live_deployment.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
                [p.name.to_string(), p.url.to_string(), live, output::ago(p.created_at)]
            })
            .collect();
        output::table(["PROJECT", "ADDRESS", "LIVE", "MADE"], &rows)?;
    }
    Ok(exit::DONE)
}

async fn show(name: Option<ProjectName>, format: Format, client: &Client) -> anyhow::Result<u8> {
    let name = project::choose(name, client).await?;
    let project = client.project(&name).await?;
    if format.json {
        output::json(&project)?;
        return Ok(exit::DONE);
    }
    let live = project.live_deployment.map_or_else(|| "nothing yet".to_owned(), |id| id.to_string());
    let mut rows = vec![
        ("name", project.name.to_string()),
        ("id", project.id.to_string()),
        ("address", project.url.to_string()),
        ("live", live),
        ("made", project.created_at.to_string()),
    ];
    let settings = project.settings;
    let detected = "(detected)".to_owned();
    rows.extend([
        ("type", settings.kind.map_or(detected.clone(), |kind| kind.as_str().to_owned())),
        ("root dir", settings.root_dir.unwrap_or_else(|| ".".to_owned())),
        ("install", settings.install_command.unwrap_or_else(|| detected.clone())),
        ("build", settings.build_command.unwrap_or_else(|| detected.clone())),
        ("start", settings.start_command.unwrap_or_else(|| detected.clone())),
        ("output dir", settings.output_dir.unwrap_or(detected)),
        ("branch", settings.branch.unwrap_or_else(|| "(default)".to_owned())),
        ("health path", settings.health_path.unwrap_or_else(|| "(TCP connect)".to_owned())),
    ]);
    output::facts(rows)?;
    Ok(exit::DONE)
}

async fn remove(name: &ProjectName, yes: bool, format: Format, client: &Client) -> anyhow::Result<u8> {
    client.project(name).await?;
    let meant = Removal { kind: "project", name: name.as_str(), with: "all its deployments", yes };
    removal::carry_out(meant, format, async || Ok(client.remove_project(name).await?)).await
}

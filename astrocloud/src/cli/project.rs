//! Which project and deployment a command means.

use clap::Args;
use common::api::Deployment;
use common::name::ProjectName;

use crate::client::Client;
use crate::exit::Usage;

/// Chooses a project.
#[derive(Args, Clone, Debug)]
pub struct ProjectArg {
    /// Name of the project; by default the one that is named like the current folder
    #[arg(long, short, value_name = "NAME")]
    project: Option<ProjectName>,
}

impl ProjectArg {
    /// The project's name. One that was not given is looked for.
    pub async fn name(self, client: &Client) -> anyhow::Result<ProjectName> {
        choose(self.project, client).await
    }
}

/// The given project, or the one that is named like the current folder.
pub async fn choose(given: Option<ProjectName>, client: &Client) -> anyhow::Result<ProjectName> {
    if let Some(name) = given {
        return Ok(name);
    }
    let folder = std::env::current_dir()?;
    let name = folder.file_name().and_then(|name| ProjectName::nearest(&name.to_string_lossy()));
    let Some(name) = name else { return Err(Usage::new("say which project, with --project NAME").into()) };
    match client.project(&name).await {
        Ok(_) => Ok(name),
        Err(e) if e.is_not_found() => {
            let message = format!(
                "say which project, with --project NAME: there is none that is named like this folder, `{name}`; \
                 `astrocloud projects ls` lists them"
            );
            Err(Usage::new(message).into())
        }
        Err(e) => Err(e.into()),
    }
}

/// A project's newest deployment.
pub async fn newest(project: &ProjectName, client: &Client) -> anyhow::Result<Deployment> {
    let newest = client.deployments(project, 1).await?.pop();
    newest
        .ok_or_else(|| anyhow::anyhow!("the project `{project}` has no deployment yet: `astrocloud deploy` makes one"))
}
